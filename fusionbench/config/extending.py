"""``extends: FILE``: a benchmark file that says only what differs from another one.

A file has one parent, which may have one itself. Each file is whole before the next is laid over it: its common keys, its
panel, its ``demo`` block where that is for now. So what a child says holds in the demo too, unless its own ``demo`` block
says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fusionbench.config.document import read_document
from fusionbench.config.layers import Layer
from fusionbench.errors import ConfigError

KEY: Final = "extends"
NOT_INHERITED: Final = ("expect",)
"""What is said of one run, and not of another."""
MOST_PARENTS: Final = 16


@dataclass(frozen=True)
class Lineage:
    """A benchmark file, and the files that it extends.

    Args:
        files: The oldest first, the file itself last; none has the key ``extends`` any more.
        problems: What is wrong between them, with the files read nevertheless.
    """

    files: Sequence[Layer]
    problems: list[str]


def read_lineage(path: Path) -> Lineage:
    """Read a benchmark file and everything that it extends.

    Raises:
        ConfigError: One of them is not there, is no mapping in YAML, or they extend one another in a circle.
    """
    files: list[Layer] = []
    seen: dict[Path, Path] = {}
    here, through = path, ""
    while True:
        file = _read(here, through)
        seen[here.resolve()] = here
        files.insert(0, file.without(KEY))
        if KEY not in file.document:
            break
        place = file.places.given((KEY,))[0]
        parent = _parent(file, here)
        _refuse_a_circle(parent, list(seen.values()), file.places.at((KEY,)))
        here, through = parent, place
    return Lineage([*map(_without_what_is_said_of_it, files[:-1]), files[-1]], list(_of_its_own(path, files)))


def _read(path: Path, through: str) -> Layer:
    """Read one file; ``through``: where it is extended, which stands beside its own places in messages."""
    try:
        document, places = read_document(path)
    except ConfigError as problem:
        raise ConfigError([f"{p} ({_extended(through)})" if through else p for p in problem.problems]) from None
    return Layer(document, places.with_a_word(f" ({_extended(through)})") if through else places)


def _extended(through: str) -> str:
    return f"extended by {through.partition(' (')[0]}"


def _parent(file: Layer, path: Path) -> Path:
    """The file that another one extends."""
    value, place = file.document[KEY], file.places.at((KEY,))
    if not isinstance(value, str) or not value.strip():
        one = " A file has one parent, which may have one itself." if isinstance(value, list) else ""
        raise ConfigError(
            f"{place}expected the path of another benchmark file, for example ../mimic_ihm.yaml; it begins at the folder of "
            f"this file.{one}"
        )
    parent = path.parent / Path(value).expanduser()
    if parent.is_dir():
        raise ConfigError(f"{place}{value!r} is a folder; name a benchmark file in it")
    return parent


def _refuse_a_circle(parent: Path, seen: Sequence[Path], place: str) -> None:
    resolved = [path.resolve() for path in seen]
    if parent.resolve() in resolved:
        circle = [*seen[resolved.index(parent.resolve()) :], parent]
        raise ConfigError(f"{place}a circle: {' extends '.join(path.name for path in circle)}; one of them must stop")
    if len(seen) > MOST_PARENTS:
        raise ConfigError(f"{place}more than {MOST_PARENTS} files extend one another; put some of them together")


def _without_what_is_said_of_it(file: Layer) -> Layer:
    """A parent without the expectations of its own run, at the top and in panels."""
    panels = file.document.get("panels")
    kept: dict[str, Any] = {k: v for k, v in file.document.items() if k not in NOT_INHERITED}
    if isinstance(panels, dict):
        kept["panels"] = {
            name: {k: v for k, v in panel.items() if k not in NOT_INHERITED} if isinstance(panel, dict) else panel
            for name, panel in panels.items()
        }
    return Layer(kept, file.places)


def _of_its_own(path: Path, files: Sequence[Layer]) -> Iterator[str]:
    """Yield what a file that extends another must say itself."""
    own = files[-1]
    if len(files) > 1 and "name" not in own.document:
        named = files[-2].document.get("name")
        said = f", whose name is {named!r}" if isinstance(named, str) else ""
        yield (
            f"{own.places.at(())}'name' is missing: {path.name} extends another file{said}, and under the same name one report "
            "would replace the other"
        )
