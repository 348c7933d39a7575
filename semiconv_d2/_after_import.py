"""Runs an action after a module is imported, without importing the module."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec


def after_import(module: str, action: Callable[[], object]) -> None:
    """Runs an action after a module is imported.

    If the module is imported already, the action runs now; otherwise at the end of its first
    import. If the module is never imported, the action never runs.

    Example:
        >>> after_import("sys", lambda: print("sys is there"))
        sys is there
    """
    loaded = sys.modules.get(module)
    if loaded is not None and not getattr(loaded.__spec__, "_initializing", False):
        action()
    else:
        sys.meta_path.insert(0, _Finder(module, action))


class _Finder(MetaPathFinder):
    """Finds one module as the other finders do, and makes its loader run the action at the end."""

    def __init__(self, module: str, action: Callable[[], object]):
        self._module, self._action = module, action

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != self._module:
            return None
        sys.meta_path.remove(self)  # the other finders find the module; the action runs once
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_act(module) -> None:
            load(module)
            self._action()

        spec.loader.exec_module = load_and_act  # type: ignore[method-assign]
        return spec
