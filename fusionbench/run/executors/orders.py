"""What a worker is told of a run, as plain data: the benchmark, its plugins, and what the place must be like.

A worker looks at all of it before it trains anything. Where it has another version of a plugin, of fusionbench or of torch, its
numbers would be stored under keys that promise others; so it refuses, and says what is here and what is there.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fusionbench
from fusionbench.errors import ConfigError
from fusionbench.keys import PROTOCOL_VERSION

if TYPE_CHECKING:
    from fusionbench.plan.parts import Part, Resolved

LIBRARIES: Final = ("torch", "numpy", "optuna")
"""Whose versions decide numbers."""


@dataclass(frozen=True)
class Order:
    """A run, as its workers are told of it.

    Args:
        benchmark: The configuration as plain data.
        plugins: Files and modules given with ``-p``.
        blocked: What is left out.
        places: By location of a plugin in the benchmark file, where that stands, for messages.
        alike: What a place must have, by what it is: versions, and hashes of sources.
        prepared: Name of the folder of prepared data.
        precision: What is computed in: of products, of recurrent layers, and how features are held.
        key: Name of it all.
    """

    benchmark: Mapping[str, Any]
    plugins: tuple[str, ...]
    blocked: tuple[str, ...]
    places: Mapping[str, str]
    alike: Mapping[str, str]
    prepared: str
    precision: tuple[str, str, str]
    key: str


def facts_of(resolved: Resolved) -> dict[str, str]:
    """Return what every place must have in common: versions of what computes, and the source of every plugin of the run."""
    from importlib.metadata import version

    found = {"fusionbench": f"{fusionbench.__version__}, protocol {PROTOCOL_VERSION}, source {core_source()}"}
    found |= {name: version(name) for name in LIBRARIES}
    found["Python"] = ".".join(platform.python_version_tuple()[:2])
    for part in _parts(resolved):
        known = part.registration
        found[known.title] = f"source {known.source_digest[:12]}"
    return found


def _parts(resolved: Resolved) -> list[Part]:
    """Every plugin that works on models; observers and papers stay where the run is."""
    arms = [part for arm in resolved.arms for part in (arm.strategy, arm.imputer, *arm.regularisers)]
    return [*resolved.encoders.values(), *arms, resolved.mechanism]


@cache
def core_source() -> str:
    """Return the hash of this package's own source."""
    hashed = hashlib.sha256()
    folder = Path(str(fusionbench.__file__)).parent
    for path in sorted(folder.rglob("*.py")):
        hashed.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()[:12]


def check_alike(wanted: Mapping[str, str], here: Mapping[str, str], worker: str) -> None:
    """Compare a place with the one that a run was started in.

    Raises:
        ConfigError: With everything that differs, and both sides of it.
    """
    names = list(dict.fromkeys([*wanted, *here]))
    differing = [
        f"  {name}: {wanted.get(name, 'not there')} where the run was started, {here.get(name, 'not there')} on {worker}"
        for name in names
        if wanted.get(name) != here.get(name)
    ]
    if differing:
        raise ConfigError(
            f"{worker} would compute other numbers than the run was started with:\n"
            + "\n".join(differing)
            + "\n  install the same versions in both places, and give both the same plugin files; nothing was trained there"
        )
