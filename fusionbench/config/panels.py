"""One file, several benchmarks: ``panels`` and ``grid``.

The keys of the file are common to all panels. Each panel is laid over them, and is a benchmark of its own then, named
``<file's name>-<panel>``. A grid makes panels of the values of one key or several.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final, NamedTuple

from fusionbench.config.document import Location, Places, assign, parse_assignment
from fusionbench.config.layers import Layer, lay
from fusionbench.errors import ConfigError, did_you_mean

ONLY_AT_THE_TOP: Final = ("panels", "grid")
_OF_THE_FILE: Final = (*ONLY_AT_THE_TOP, "name", "title", "question")
"""What ``--set`` changes in the file as a whole; everything else it changes in every panel."""
MOST_PANELS: Final = 300
_NAMED: Final = 10
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)

KeepsNull = Callable[[Location], bool | None]
Settle = Callable[[Layer, list[str]], Layer]


@dataclass(frozen=True)
class Suite:
    """A benchmark file as a whole.

    Args:
        name: Of the file.
        title: Of the file; empty: it has none.
        question: The same.
        panels: Names of all its panels; none: the file is one benchmark.
        layers: The documents to read, by name of a panel; by an empty name where there are none.
        assignments: What ``--set`` changes in each of them.
        problems: What is wrong with the panels themselves.
        grid: By panel, what a grid sets in it: values by the short name of their key; empty where panels are made otherwise too.
    """

    name: str
    title: str
    question: str
    panels: tuple[str, ...]
    layers: Mapping[str, Layer]
    assignments: Sequence[str]
    problems: list[str] = field(default_factory=list)
    grid: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def benchmark(self, panel: str) -> str:
        """Return the name of a panel's benchmark."""
        return f"{self.name}-{panel}" if panel else self.name


def suite_of(
    files: Sequence[Layer], assignments: Sequence[str], wanted: Sequence[str], keeps_null: KeepsNull, settle: Settle
) -> Suite:
    """Return what a benchmark file is made of.

    Args:
        files: The documents as they were read: the file, and before it what it extends.
        assignments: From ``--set``.
        wanted: Names of panels; none: all.
        keeps_null: See :func:`fusionbench.config.layers.lay`.
        settle: Lays the ``demo`` block of a document over it where it is for now, and adds what is wrong to a list.

    Raises:
        ConfigError: A panel that is wanted is not there.
    """
    problems: list[str] = []
    making = _Making(files, keeps_null, settle, problems)
    if not any(map(_has_panels, files)):
        if wanted:
            raise ConfigError(f"--panel {wanted[0]}: this file has no panels; leave --panel out")
        return _suite(files, (), {"": making.whole("")}, assignments, problems)
    of_file = [a for a in assignments if _first_key(a) in _OF_THE_FILE]
    problems += _assigned(files, of_file)
    names = making.find_panels()
    unknown = [name for name in wanted if name not in names]
    problems += [_unknown(name, names) for name in unknown if names]
    if unknown or not names:
        raise ConfigError(problems)
    layers = {name: _named(making.whole(name), name) for name in names if not wanted or name in wanted}
    rest = [a for a in assignments if a not in of_file]
    found = _suite(files, tuple(names), layers, rest, list(dict.fromkeys(problems)))
    with_panels = [file for file in files if _has_panels(file)]
    only_grid = len(with_panels) == 1 and "panels" not in with_panels[0].document
    return replace(found, grid={point.name: point.values for point in _grid(with_panels[0], [])} if only_grid else {})


def _has_panels(file: Layer) -> bool:
    return any(key in file.document for key in ONLY_AT_THE_TOP)


class _Making:
    """A benchmark file under way, with the files that it extends.

    Args:
        files: Their documents, the oldest first.
        keeps_null: See :func:`fusionbench.config.layers.lay`.
        settle: Lays the ``demo`` block over a document.
        problems: Where what is wrong is added.
    """

    def __init__(self, files: Sequence[Layer], keeps_null: KeepsNull, settle: Settle, problems: list[str]) -> None:
        self._files, self._keeps_null, self._settle, self._problems = files, keeps_null, settle, problems
        self._overlays: list[Mapping[str, Sequence[Layer]]] = [{} for _ in files]

    def find_panels(self) -> list[str]:
        """Return the names of all panels: those of the oldest file first."""
        before = False
        for i, file in enumerate(self._files):
            if before and "grid" in file.document:
                self._problems.append(
                    f"{file.places.at(('grid',))}the file that is extended has panels already; change those under 'panels'"
                )
            elif _has_panels(file):
                self._overlays[i], before = dict(_overlays(file, self._problems)), True
        return list(dict.fromkeys(name for overlays in self._overlays for name in overlays))

    def whole(self, panel: str) -> Layer:
        """Return the document of a panel: every file with its panel and its demo, one laid over the other."""
        dropped = (*ONLY_AT_THE_TOP, "title") if panel else ()
        whole = self._files[0].without(*dropped)
        for i, (file, overlays) in enumerate(zip(self._files, self._overlays, strict=True)):
            parts = [*([file.without(*dropped)] if i else []), *overlays.get(panel, ())]
            for part in parts:
                whole = lay(whole, part, self._keeps_null)
            whole = self._settle(whole, self._problems)
        return whole


def _suite(
    files: Sequence[Layer],
    panels: tuple[str, ...],
    layers: Mapping[str, Layer],
    rest: Sequence[str],
    problems: Sequence[str],
) -> Suite:
    """A suite with the words of the file, or of what it extends where it is silent."""

    def said(key: str) -> str:
        return next((str(file.document[key]) for file in reversed(files) if file.document.get(key)), "")

    return Suite(said("name"), said("title"), said("question"), panels, layers, rest, list(problems))


def _assigned(files: Sequence[Layer], assignments: Sequence[str]) -> Iterator[str]:
    """Apply ``--set`` to the newest file that has the key, and yield what is wrong with it."""
    for assignment in assignments:
        has_it = [file for file in files if _first_key(assignment) in file.document]
        file = has_it[-1] if has_it else files[-1]
        try:
            assign(file.document, file.places, assignment)
        except ConfigError as problem:
            yield from problem.problems


def _unknown(name: str, panels: Sequence[str]) -> str:
    return f"--panel {name}: this file has no such panel{did_you_mean(name, panels)}\n  panels: {some_of(panels)}"


def some_of(panels: Sequence[str]) -> str:
    """Name panels in a message: all of a few, the first of many."""
    more = f" and {len(panels) - _NAMED} more" if len(panels) > _NAMED else ""
    return ", ".join(panels[:_NAMED]) + more


def _first_key(assignment: str) -> str:
    return parse_assignment(assignment)[0][0]


def _named(whole: Layer, panel: str) -> Layer:
    """The document of a panel under the name of its benchmark."""
    name = whole.document.get("name")
    return replace(whole, document={**whole.document, "name": f"{name}-{panel}"}) if isinstance(name, str) else whole


def _overlays(file: Layer, problems: list[str]) -> Iterator[tuple[str, list[Layer]]]:
    """Yield each panel's name, and what is laid over the common keys for it, in order."""
    given = dict(_given_panels(file, problems)) if "panels" in file.document else {"": []}
    points = list(_grid(file, problems)) if "grid" in file.document else [_Point("", None, {})]
    if len(given) * len(points) > MOST_PANELS:
        problems.append(f"{file.places.at(('grid',))}makes {len(given) * len(points)} panels; {MOST_PANELS} at most")
        return
    seen = set[str]()
    for (panel, layers), point in product(given.items(), points):
        name = "-".join(filter(None, [panel, point.name]))
        if name.casefold() in seen:  # folders of one name where letters' case makes no difference
            problems.append(f"{file.places.at(('panels', panel))}two panels would be called '{name}'; rename one")
        seen.add(name.casefold())
        yield name, [*layers, *([point.layer] if point.layer else [])]


# --------------------------------------------------------------------------------------------
# panels


def _given_panels(file: Layer, problems: list[str]) -> Iterator[tuple[str, list[Layer]]]:
    panels = file.document["panels"]
    if not isinstance(panels, dict) or not panels:
        problems.append(
            f"{file.places.at(('panels',))}expected a mapping of names to what is different in each panel, "
            "for example {plain: {}, noisy: {task: {noise: 2}}}"
        )
        return
    whole = file.below("panels")
    for name, value in panels.items():
        place = file.places.at(("panels", name))
        if not _NAME.fullmatch(name):
            problems.append(
                f"{place}a panel's name begins with a letter or digit and holds letters, digits, '_', '.' and '-'"
            )
        elif value is not None and not isinstance(value, dict):
            problems.append(f"{place}expected a mapping with the keys that differ in this panel; found {value!r:.60}")
        else:
            layer = whole.below(name)
            problems.extend(_not_of_a_panel(layer))
            yield name, [layer.without(*ONLY_AT_THE_TOP, "name")]


def _not_of_a_panel(layer: Layer) -> Iterator[str]:
    if "name" in layer.document:
        yield f"{layer.places.at(('name',))}a panel is named by its own key; leave 'name' out"
    for key in ONLY_AT_THE_TOP:
        if key in layer.document:
            yield f"{layer.places.at((key,))}'{key}' stands at the top of the file only"


# --------------------------------------------------------------------------------------------
# grid


class _Point(NamedTuple):
    """One combination of a grid's values: its name, what it sets, and the values by short names."""

    name: str
    layer: Layer | None
    values: Mapping[str, Any]


def _grid(file: Layer, problems: list[str]) -> Iterator[_Point]:
    grid, before = file.document["grid"], len(problems)
    if not isinstance(grid, dict) or not grid:
        problems.append(
            f"{file.places.at(('grid',))}expected a mapping of keys to lists of values, for example "
            "{task.rows: [500, 2000]}"
        )
        return
    for key, values in grid.items():
        problems.extend(f"{file.places.at(('grid', key))}{text}" for text in _wrong(key, values))
    if len(problems) > before:
        return
    short = _short_names(list(grid))
    for chosen in product(*([*enumerate(values)] for values in grid.values())):
        document: dict[str, Any] = {}
        places = Places({(): file.places.given(("grid",))[0]})
        for key, (i, value) in zip(grid, chosen, strict=True):
            _set(document, places, key.split("."), value, file.places.given(("grid", key, i))[0])
        values = [value for _, value in chosen]
        named = {short[key]: value for key, value in zip(grid, values, strict=True)}
        yield _Point("-".join(f"{key}_{value}" for key, value in named.items()), Layer(document, places), named)


def _wrong(key: str, values: Any) -> Iterator[str]:
    parts = key.split(".")
    if not all(parts) or parts[0] in _OF_THE_FILE:
        yield "expected a key of the benchmark with dots, for example task.rows or training.learning_rate"
    if not isinstance(values, list) or not values:
        yield "expected a list of values, for example [0, 0.5, 1]"
        return
    names = [str(v) for v in values]
    if not all(isinstance(v, str | int | float) and _NAME.fullmatch(f"x{v}") for v in values):
        yield "values are numbers, true, false or plain words: they name the panels; for others write panels"
    elif twice := [name for name, count in Counter(names).items() if count > 1]:
        yield f"{', '.join(twice)} is given twice"


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key; as much of it as tells the keys apart."""
    for parts in range(1, 1 + max(key.count(".") + 1 for key in keys)):
        found = {key: ".".join(key.split(".")[-parts:]) for key in keys}
        if len(set(found.values())) == len(keys):
            break
    return found


def _set(document: dict[str, Any], places: Places, path: Sequence[str], value: Any, place: str) -> None:
    inner = document
    for i, part in enumerate(path[:-1]):
        inner = inner.setdefault(part, {})
        places.mark(tuple(path[: i + 1]), inner, place)
    inner[path[-1]] = value
    places.mark(tuple(path), value, place)
