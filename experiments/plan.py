"""A plan of experiments: the variants of a config to train, listed in a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from semiconv_d2.config import read_preset
from semiconv_d2.errors import ConfigError

# Keys of a plan: their type, and its name in messages.
_KEYS = {
    "about": (str, "text"),
    "config": (str, "text"),
    "against": (str, "text"),
    "random_seeds": (list, "a list"),
    "repeated": (list, "a list"),
    "keys": (dict, "a mapping"),
    "variants": (dict, "a mapping"),
}


@dataclass(frozen=True)
class Plan:
    """A plan: the variants of a config to train."""

    name: str
    about: str
    config: str
    """Path of the config that the variants change."""
    against: str
    """Name of the variant that the others are compared with, for the same random seed."""
    random_seeds: Sequence[int]
    repeated: Sequence[str]
    """Names of the variants to train with all random seeds, not only with the first."""
    keys: Mapping[str, object]
    """Config keys for all variants."""
    variants: Mapping[str, Mapping[str, object]]
    """Config keys of each variant, by its name."""

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Variant and random seed of all runs, in the order of training."""
        first, *others = self.random_seeds
        return [(name, first) for name in self.variants] + [
            (name, seed) for seed in others for name in self.repeated
        ]

    def overrides(self, name: str) -> list[str]:
        """The overrides of a variant: KEY VALUE …"""
        return [str(x) for pair in (self.keys | self.variants[name]).items() for x in pair]


def read_plan(path: Path) -> Plan:
    """Reads a plan from YAML.

    Raises:
        ConfigError: the file is missing or broken.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or set(content) != set(_KEYS):
        found = sorted(map(str, content)) if isinstance(content, dict) else "no mapping"
        raise ConfigError(f"{path} needs the keys {', '.join(sorted(_KEYS))}; it has {found}")
    content = content | {"repeated": content["repeated"] or [], "keys": content["keys"] or {}}
    for key, (kind, what) in _KEYS.items():
        if not isinstance(content[key], kind):
            raise ConfigError(f"{path}: {key} is {content[key]!r}; it must be {what}")
    variants = {name: {} if v is None else v for name, v in content["variants"].items()}
    try:
        _check_variants(variants)
        variants = {name: _with_preset(keys) for name, keys in variants.items()}
        _check_random_seeds(content["random_seeds"])
        for name in (content["against"], *content["repeated"]):
            if name not in list(variants):
                raise ConfigError(f"{name!r} is not a variant")
        for key in ("random_seeds", "repeated"):
            if len(set(content[key])) < len(content[key]):
                raise ConfigError(f"{key} is {content[key]}: name each only once")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return Plan(path.stem, **content | {"variants": variants})


def _check_variants(variants: Mapping[object, object]) -> None:
    folders: dict[str, str] = {}
    for name, keys in variants.items():
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(
                f"the name of a variant is {name!r}; it must be text: put it in quotes"
            )
        if not isinstance(keys, dict):
            raise ConfigError(f"the variant {name!r} is {keys!r}; it must be a mapping")
        folder = folder_name(name)
        if folder in (".", "..") or set(folder) & set("/\\"):
            raise ConfigError(
                f"the variant {name!r} gives its folder the name {folder!r}: rename it"
            )
        if folder in folders:
            raise ConfigError(
                f"the variants {folders[folder]!r} and {name!r} have the same folder, {folder}: "
                "rename one of them"
            )
        folders[folder] = name


def _with_preset(keys: Mapping[str, object]) -> dict[str, object]:
    """The keys of a variant, on top of those of the preset that it names."""
    keys = dict(keys)
    name = keys.pop("preset", None)
    try:
        return (read_preset(name) if name else {}) | keys
    except ValueError as error:
        raise ConfigError(f"preset {name!r}: {error}") from error


def _check_random_seeds(seeds: Sequence[object]) -> None:
    if not seeds:
        raise ConfigError("random_seeds is empty")
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ConfigError(f"random_seeds has {seed!r}; it must have whole numbers from 0 on")


def folder_name(variant: str) -> str:
    """The name of the folder with the runs of a variant."""
    return variant.replace(" ", "_")
