"""A benchmark file: YAML in, frozen models out, every problem reported at once with its line.

Order of work: read the file and what it extends, keep the line of every key, lay each panel over the common keys, lay the
``demo`` block over that where its variable is unset (file by file, the oldest first), apply ``--set``, fill in
``${VARIABLES}``, validate. The result is what is hashed and logged.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from fusionbench.config.alternatives import changed, flaws, origin
from fusionbench.config.document import Location, Places, assign, fill_in, merge_keys, parse_assignment
from fusionbench.config.expectations import misfits
from fusionbench.config.extending import KEY as EXTENDS
from fusionbench.config.extending import read_lineage
from fusionbench.config.layers import Layer
from fusionbench.config.panels import ONLY_AT_THE_TOP, Suite, some_of, suite_of
from fusionbench.config.sections import Benchmark
from fusionbench.errors import ConfigError, did_you_mean


def load_benchmark(path: Path, assignments: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Benchmark:
    """Read and validate a benchmark file; see :func:`read_benchmark`."""
    return read_benchmark(path, assignments, environ)[0]


@dataclass(frozen=True)
class Reading:
    """A benchmark file with all that is wrong with it.

    Args:
        benchmark: What the file says; where there are problems, what is left without the faulty keys, and None where that is
            no benchmark. Good for looking at the names in it, never for a run.
        places: Where each key was given.
        problems: One sentence each.
        document: What was validated, as plain data: the file with all that is laid over it.
    """

    benchmark: Benchmark | None
    places: Places
    problems: list[str]
    document: Mapping[str, Any] = field(default_factory=dict)


def read_benchmark(
    path: Path, assignments: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> tuple[Benchmark, Places]:
    """Read and validate a benchmark file; return it with the place of every key, for later messages.

    Args:
        path: The YAML file.
        assignments: ``a.b=value`` from ``--set``; the value is YAML.
        environ: Where ``${VARIABLES}`` are looked up; the process environment by default.

    Raises:
        ConfigError: With every problem found, each with file and line where it has one.
    """
    reading = read_all(path, assignments, environ)
    if reading.problems or reading.benchmark is None:
        raise ConfigError(reading.problems)
    return reading.benchmark, reading.places


def read_all(path: Path, assignments: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Reading:
    """Read a benchmark file as :func:`read_benchmark` does, and return what is wrong with it beside what is left of it.

    Raises:
        ConfigError: It is no mapping in YAML, or has panels, and so is several benchmarks.
    """
    found = read_panels(path, assignments, environ)
    if found.suite.panels:
        raise ConfigError(f"{path}: has panels ({some_of(found.suite.panels)}): name one of them with --panel")
    return replace(found.readings[""], problems=found.problems)


@dataclass(frozen=True)
class PanelReadings:
    """A benchmark file with panels, or without.

    Args:
        suite: The file as a whole; a file without panels is one of none.
        readings: By name of a panel; by an empty name where the file has none.
        problems: Everything that is wrong, once each.
    """

    suite: Suite
    readings: Mapping[str, Reading]
    problems: list[str]


def read_panels(
    path: Path,
    assignments: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    wanted: Sequence[str] = (),
) -> PanelReadings:
    """Read a benchmark file, every panel of it.

    Args:
        path: The YAML file.
        assignments: ``a.b=value`` from ``--set``, for every panel; ``panels.lazy.a.b=value`` for one.
        environ: Where ``${VARIABLES}`` are looked up; the process environment by default.
        wanted: Names of the panels to read; none: all of them.

    Raises:
        ConfigError: It is no mapping in YAML, or a panel that is wanted is not there.
    """
    environ = os.environ if environ is None else environ
    lineage = read_lineage(path)

    def settle(layer: Layer, problems: list[str]) -> Layer:
        return _settled(layer, environ, problems)

    suite = suite_of(lineage.files, assignments, wanted, keeps_null, settle)
    readings = {name: _read(layer, suite.assignments, environ) for name, layer in suite.layers.items()}
    suite = replace(suite, problems=[*lineage.problems, *suite.problems])
    problems = [*suite.problems, *once({name: reading.problems for name, reading in readings.items()})]
    return PanelReadings(suite, readings, problems)


def once(problems: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the problems of all panels, once each; what only some of them have names these.

    Args:
        problems: By name of the panel.
    """
    found: dict[str, list[str]] = {}
    for name, mine in problems.items():
        for problem in dict.fromkeys(mine):
            found.setdefault(problem, []).append(name)
    for problem, names in found.items():
        named = len(names) == len(problems) or all(f"panels.{name}" in problem for name in names)
        first, *rest = problem.split("\n", 1)
        yield problem if named else "\n".join([f"{first} (in panel {', '.join(names)})", *rest])


def _settled(layer: Layer, environ: Mapping[str, str], problems: list[str]) -> Layer:
    """Lay the ``demo`` block over a document where it is for now; of the block, its variable is left for who extends it."""
    demo = layer.document.get("demo")
    if demo is None or not _is_for_now(demo, environ, layer.places, problems):
        return layer if demo is None else _without_demo(layer, demo)
    layer.places.lay_over(("demo",))
    given = {k: v for k, v in demo.items() if k != "unless_set"}
    rest = {k: v for k, v in layer.document.items() if k != "demo"}
    return _without_demo(Layer(merge_keys(rest, given), layer.places, is_demo=True), demo)


def _without_demo(layer: Layer, demo: Any) -> Layer:
    variable = demo.get("unless_set") if isinstance(demo, dict) else None
    return Layer(
        {**layer.without("demo").document, **({"demo": {"unless_set": variable}} if isinstance(variable, str) else {})},
        layer.places,
        layer.is_demo,
    )


def _read(layer: Layer, assignments: Sequence[str], environ: Mapping[str, str]) -> Reading:
    """Make one benchmark of a document."""
    document, places = layer.without("demo").document, layer.places
    problems: list[str] = []
    for assignment in assignments:
        try:
            _refuse_what_comes_too_late(assignment)
            assign(document, places, assignment)
        except ConfigError as problem:
            problems += problem.problems
    document = fill_in(document, environ, places, problems)
    if "is_demo" in document:
        problems.append(f"{places.at(('is_demo',))}this is not set by hand: a 'demo' block sets it")
    document = {**document, "is_demo": layer.is_demo}
    benchmark: Benchmark | None = None
    try:
        benchmark = Benchmark.model_validate(document)
    except ValidationError as error:
        problems += [_sentence(places, dict(e)) for e in error.errors()]
        benchmark = _what_is_left(document)
    if benchmark is not None:
        problems += _of_alternatives(benchmark, places)
        wrong = misfits(benchmark.expect, benchmark.line_names, benchmark.missingness)
        problems += [f"{places.at(location)}{text}" for location, text in wrong]
    return Reading(benchmark, places, problems, document)


def _refuse_what_comes_too_late(assignment: str) -> None:
    """Refuse ``--set`` of what was read before it."""
    key = parse_assignment(assignment)[0][0]
    if key in (EXTENDS, "demo"):
        raise ConfigError(f"--set {assignment}: '{key}' is read before --set; write it into the file")


def _of_alternatives(benchmark: Benchmark, places: Places) -> Iterator[str]:
    """Yield what is wrong with ``robustness``: each alternative is a whole benchmark of its own."""
    for i, alternative in enumerate(benchmark.robustness):
        here: Location = ("robustness", i, "set")
        wrong = list(flaws(alternative))
        yield from (f"{places.at((*here, *given))}{text}" for given, text in wrong)
        if wrong:
            continue
        try:
            changed(benchmark, alternative)
        except ValidationError as error:
            for found in error.errors():
                given = origin(alternative, tuple(found["loc"]))
                place = places.at((*here, *given) if given else here[:2])
                said = _sentence(places, dict(found)).removeprefix(places.at(tuple(found["loc"])))
                yield f"{place}{'' if given else f'under {alternative.name!r}: '}{said}"


STAND_IN: Final = "(missing)"
"""Stands for the name of a plugin that a faulty file does not give."""
_NEEDED: Final[Mapping[str, Any]] = {
    "name": "unnamed",
    "task": STAND_IN,
    "encoders": {STAND_IN: STAND_IN},
    "strategies": [STAND_IN],
}


def _what_is_left(document: Mapping[str, Any]) -> Benchmark | None:
    """Return a faulty benchmark without its faulty keys, so that its names can be looked at in the same round."""
    left: dict[str, Any] = copy.deepcopy(dict(document))
    for _ in range(3):  # what was wrong may have hidden something else
        try:
            return Benchmark.model_validate({**_NEEDED, **left})
        except ValidationError as error:
            for found in error.errors():
                _take_out(left, tuple(found["loc"]))
    return None


def _take_out(document: dict[str, Any], location: Location) -> None:
    """Remove the innermost key of a mapping on the way to a location; entries of lists keep their places."""
    if not location:  # sections that do not go together
        for key in set(document) - {*_NEEDED, "imputers"}:
            del document[key]
        return
    inner: Any = document
    owner, last = document, location[0]
    for part in location:
        if isinstance(inner, dict) and part in inner:
            owner, last, inner = inner, part, inner[part]
        elif isinstance(inner, list) and isinstance(part, int) and part < len(inner):
            inner = inner[part]
        else:
            break
    owner.pop(str(last), None)


def _is_for_now(demo: Any, environ: Mapping[str, str], places: Places, problems: list[str]) -> bool:
    """Whether the demo block is to be laid over the benchmark."""
    if not isinstance(demo, dict) or not isinstance(demo.get("unless_set"), str):
        problems.append(f"{places.at(('demo',))}needs 'unless_set: VARIABLE' and the keys that it lays over the others")
        return False
    accepted = _fields_at(())
    unknown = [key for key in demo if key not in ("unless_set", *accepted)]  # also where the block is not used today
    problems += [_unknown_key(places, ("demo", key), ["unless_set", *accepted]) for key in unknown]
    return not environ.get(demo["unless_set"])


_MORE_AT_THE_TOP: Final = ["demo", EXTENDS, *ONLY_AT_THE_TOP]
_NAMED: Final = re.compile(r"([a-z_]+(?:\.[a-z_]+)+): ")
_EXPECTED = {
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "string_type": "expected text in quotes",
    "too_short": "must not be empty",
    "tuple_type": "expected a list",
}


def _sentence(places: Places, error: Mapping[str, Any]) -> str:
    location: Location = tuple(error["loc"])
    kind, found = error["type"], error.get("input")
    if kind == "missing":
        return f"{places.at(location[:-1])}'{location[-1]}' is missing"
    if kind == "extra_forbidden":
        more = _MORE_AT_THE_TOP if places.given(location)[1] == location else ["demo"]  # nothing of the file in a panel
        return _unknown_key(places, location, _fields_at(location[:-1]) + more * (len(location) == 1))
    if location[-1:] == ("[key]",):
        return _unknown_key(places, location[:-1], re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    message = _EXPECTED.get(kind) or error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if kind == "model_type" and error["ctx"]["class_name"].endswith("Choice"):
        message = "expected the name of a plugin, or a mapping with 'name' and its options"
    if not location and (named := _NAMED.match(message)):  # sections that do not go together, and the key that says so
        location, message = tuple(named[1].split(".")), message[named.end() :]
    shown = "" if isinstance(found, dict | list | tuple) or kind == "value_error" else f", found {_shown(found)}"
    return f"{places.at(location)}{message}{shown}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{value!r:.60}"


def _unknown_key(places: Places, location: Location, accepted: Sequence[str]) -> str:
    hint = did_you_mean(str(location[-1]), accepted)
    return f"{places.at(location)}unknown key{hint}\n  accepted: {', '.join(accepted)}"


def _fields_at(location: Location) -> list[str]:
    """Field names of the section at a location; positions in lists and free keys are stepped over."""
    model: Any = Benchmark
    for part in location:
        if isinstance(part, int):
            continue
        fields = getattr(model, "model_fields", {})
        if part in fields:
            model = _section_in(fields[part].annotation)
    names: list[str] = list(getattr(model, "model_fields", {}))
    return [n for n in names if n != "is_demo"]


def keeps_null(location: Location) -> bool | None:
    """Say whether ``null`` is a value of its own at a location; None: it is an option of a plugin, or a name."""
    model: Any = Benchmark
    annotation: Any = None
    for part in location[1:] if location[:1] == ("demo",) else location:
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return None
        annotation = fields[part].annotation
        model = _section_in(annotation)
    return type(None) in getattr(annotation, "__args__", ())


def _section_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        section = _section_in(argument)
        if section is not None:
            return section
    return None
