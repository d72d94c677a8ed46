"""``fusionbench list``: what can be named in a benchmark.

Two ways to the same lines. :func:`all_lines` asks the plugin manager. :func:`quick_lines` reads what installers wrote, by the
plain rules of these files and importing nothing: ``importlib.metadata`` alone takes four times as long to import as Python to
start. Whatever is not entirely plain (a list that cannot be read, a name offered twice, an egg) it leaves to the other.
Nothing is kept between calls, so that nothing can be out of date.
"""

from __future__ import annotations

import os
import sys

from fusionbench.commands.first_sentence import sentence_of
from fusionbench.contract.kinds import KINDS

TYPE_CHECKING = False  # as in typing, whose import takes as long as Python to start
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fusionbench.plugins.catalogue import Plugins

GROUP = "fusionbench"


def all_lines(
    kind: str | None, extra: Sequence[str], blocked: Sequence[str], *, broken: bool = False
) -> tuple[list[str], int]:
    """Return the lines of a listing and the exit code.

    Args:
        kind: Of these only.
        extra: What was given with ``-p``.
        blocked: What was given with ``--no-plugin``.
        broken: Load every plugin, and list what fails.

    Raises:
        ConfigError: There is no such kind, or nobody is called as what is blocked.
    """
    from fusionbench.errors import ConfigError, did_you_mean
    from fusionbench.plugins.catalogue import Plugins

    if kind is not None and kind not in KINDS:
        raise ConfigError(f"no kind '{kind}'{did_you_mean(kind, KINDS)}\n  kinds: {', '.join(KINDS)}")
    plugins = Plugins(extra, blocked)
    if broken:
        plugins.load_all()
        found = _failures(plugins)
        return found or ["every plugin loads"], 1 if found else 0
    lines = [_line(e.kind, e.name, e.distribution, e.version, sentence_of(e.module)) for e in plugins.catalogue(kind)]
    for a_kind, name in plugins.taken_twice(kind):
        lines.append(f"{a_kind:<13} {name:<20} REFUSED: {plugins.problem_with(a_kind, name)}")
    return [*lines, *_failures(plugins)], 0


def _failures(plugins: Plugins) -> list[str]:
    return [f"{'broken':<13} {f.label:<20} {f.distribution}: {f.reason}" for f in plugins.failures]


def _line(kind: str, name: str, distribution: str, version: str, sentence: str) -> str:
    whose = f"{distribution} {version}".rstrip()
    return f"{kind:<13} {name:<20} {whose:<24} {sentence}".rstrip()


class _NotPlainError(Exception):
    """Something that only the plugin manager can judge."""


def _require(plain: bool) -> None:
    if not plain:
        raise _NotPlainError


def quick_lines(kind: str | None) -> list[str] | None:
    """Return the lines of a listing without ``-p`` and ``--no-plugin``; None where the plugin manager has to be asked."""
    if kind is not None and kind not in KINDS:
        return None
    try:
        found = _entries()
    except (_NotPlainError, OSError, UnicodeError):
        return None
    order = list(KINDS)
    chosen = sorted((order.index(k), name, whose) for (k, name), whose in found.items() if kind in (None, k))
    return [_line(order[i], name, *whose, sentence_of(module)) for i, name, (whose, module) in chosen]


def _entries() -> dict[tuple[str, str], tuple[tuple[str, str], str]]:
    """Return distribution and version, and the module, by kind and name."""
    found: dict[tuple[str, str], tuple[tuple[str, str], str]] = {}
    for folder in _distributions():
        points = _points(_content(f"{folder}/entry_points.txt"))
        if not points:
            continue
        _require(folder.endswith(".dist-info"))
        whose = _name_and_version(_content(f"{folder}/METADATA"))
        for kind, name, module in points:
            _require((kind, name) not in found)  # offered twice
            found[kind, name] = whose, module
    return found


def _distributions() -> Iterator[str]:
    """Yield the folders of installed distributions; of one that is on the path twice the first, which is imported."""
    for finder in sys.meta_path:
        of_python = getattr(finder, "__module__", "") in ("_frozen_importlib", "_frozen_importlib_external")
        _require(of_python or not hasattr(finder, "find_distributions"))
    seen: set[str] = set()
    for place in sys.path:
        _require(not place.lower().rstrip("/\\").endswith(".egg"))
        try:
            names = os.listdir(place or ".")  # noqa: PTH208 - pathlib takes longer to import than Python to start
        except FileNotFoundError:
            continue
        here: set[str] = set()
        for name in names:
            stem, _, ending = name.rpartition(".")
            if ending.lower() not in ("dist-info", "egg-info", "egg"):
                continue
            _require(ending in ("dist-info", "egg-info"))
            called = stem.partition("-")[0].lower().replace("-", "_").replace(".", "_")
            _require(bool(called) and "__" not in called and called not in here)  # what is left of another version
            here.add(called)
            if called not in seen:
                yield f"{place or '.'}/{name}"
        seen |= here


def _content(path: str) -> str:
    """Return a file's text, empty where there is none."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            return file.read().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _points(text: str) -> list[tuple[str, str, str]]:
    """Return kind, name and module of what a list of entry points offers here; any line that is not plain is an error."""
    found, section = [], ""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            _require(bool(section) and not section.startswith("[") and not section.endswith("]"))
            continue
        label, _, value = (part.strip() for part in line.partition("="))
        _require(bool(section and label and value))
        if section == GROUP:
            kind, _, name = label.partition(".")
            _require(kind in KINDS and bool(name) and name.isascii() and f"x{name}".replace("-", "x").isidentifier())
            _require(value.isascii() and all(part.isidentifier() for part in value.split(".")))
            found.append((kind, name, value))
    return found


def _name_and_version(metadata: str) -> tuple[str, str]:
    """Return what the head of a file of metadata says."""
    said: dict[str, str] = {}
    key = ""
    for line in metadata.splitlines():
        if not line:
            break
        if line[0].isspace():  # the line before goes on
            _require(key not in ("name", "version"))
            continue
        key, colon, value = line.partition(":")
        key = key.lower()
        _require(bool(colon) and key not in said)
        if key in ("name", "version"):
            said[key] = value.removeprefix(" ")
    _require(len(said) == 2 and all(v.isascii() and v.isprintable() and v and " " not in v for v in said.values()))
    return said["name"], said["version"]
