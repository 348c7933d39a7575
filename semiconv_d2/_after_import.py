"""Something to do once a module is imported, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec


def after_import(module: str, action: Callable[[], object]) -> None:
    """Does something after a module has been imported: now, if it has been, or at the end of its
    first import, or never.

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
    """Finds one module where the others do, and has its loader do something more at the end."""

    def __init__(self, module: str, action: Callable[[], object]):
        self._module, self._action = module, action

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != self._module:
            return None
        sys.meta_path.remove(self)  # so that the others are asked, and once only
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_act(module) -> None:
            load(module)
            self._action()

        spec.loader.exec_module = load_and_act  # type: ignore[method-assign]
        return spec
