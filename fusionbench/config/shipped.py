"""Benchmark files that come with an installation, by name: ``fusionbench run mimic_ihm`` needs no checkout.

A distribution offers a folder of them by an entry point of the group :data:`GROUP`, whose value is a function that returns the
folder. ``mimic_ihm`` is the file ``mimic_ihm.yaml`` in such a folder, ``omnifuse/table1`` the one in its folder ``omnifuse``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from fusionbench.errors import ConfigError, did_you_mean

GROUP: Final = "fusionbench.benchmarks"
SUFFIXES: Final = (".yaml", ".yml")
_PARENTS: Final = ("common",)  # files that others extend, and that ask nothing themselves


class Shipped(NamedTuple):
    """A benchmark file of an installed distribution.

    Args:
        name: What ``run`` takes.
        path: Where it lies.
        distribution: Who ships it.
    """

    name: str
    path: Path
    distribution: str


def shipped_files() -> list[Shipped]:
    """Return every benchmark file that comes with an installed distribution, those of the folders themselves first.

    Raises:
        ConfigError: A distribution's folder cannot be found.
    """
    found = sorted(_offered(), key=lambda s: (s.name.count("/"), s.name, s.distribution))
    return list({file.name: file for file in reversed(found)}.values())[::-1]


def _offered() -> Iterator[Shipped]:
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP):
        try:
            folder = Path(point.load()())
        except Exception as problem:
            raise ConfigError(
                f"entry point {point.name!r} of {GROUP} ({point.value}) gives no folder of benchmark files: {problem}"
            ) from problem
        for path in folder.rglob("*.yaml"):
            if path.stem not in _PARENTS:
                yield Shipped(path.relative_to(folder).with_suffix("").as_posix(), path, point.name)


def file_of(given: Path | str) -> Path:
    """Return the benchmark file that is meant: a path, or the name of one that is shipped.

    What is there as a file, and what ends as one does, is a path; anything else is a name.

    Raises:
        ConfigError: No file is shipped under the name.
    """
    path = Path(given)
    if path.is_file() or path.suffix in SUFFIXES:
        return path
    known = {file.name: file.path for file in shipped_files()}
    name = Path(given).as_posix()
    if name not in known:
        raise ConfigError(
            f"'{given}' is neither a file nor the name of a benchmark{did_you_mean(name, known)}\n"
            "  'fusionbench benchmarks' shows all of them"
        )
    return known[name]
