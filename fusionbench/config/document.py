"""A YAML document as plain data, with the place where each value was given.

Everything that happens to a benchmark file before it is validated: reading, laying one mapping over another,
``--set``, ``${VARIABLES}``. Only text, numbers, true and false, null, lists and mappings come out of it.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from fusionbench.errors import ConfigError, did_you_mean

Location = tuple[str | int, ...]

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 100_000  # aliases of aliases grow without end
MAX_INTEGER: Final = 2**63
"""Whole numbers are smaller: larger ones fit into no table, no seed and no hash of the libraries below."""


class Places:
    """Where each value was given: ``file:line``, or the ``--set`` that gave it.

    Args:
        places: By location.
        names: What a location is called where that is not its own name: a key of a panel, say.
    """

    def __init__(self, places: Mapping[Location, str], names: Mapping[Location, Location] | None = None) -> None:
        self._places = dict(places)
        self._names = dict(names or {})

    def at(self, location: Location) -> str:
        """Return ``file:line: key: ``, as problems begin; what was not given lies where its parent was."""
        place, name = self.given(location)
        dotted = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in name).lstrip(".")
        return f"{place}: {dotted}: " if dotted else f"{place}: "

    def given(self, location: Location) -> tuple[str, Location]:
        """Return the place of a value, and what its location is called."""
        known = location
        while known not in self._places:
            known = known[:-1]
        return self._places[known], (*self._names.get(known, known), *location[len(known) :])

    def mark(self, location: Location, value: Any, place: str) -> None:
        """Remember that ``value`` and all in it were given at ``place``."""
        self._places[location] = place
        self._names.pop(location, None)
        for key, inner in entries(value):
            self.mark((*location, key), inner, place)

    def with_a_word(self, word: str) -> Places:
        """Return the same places with a word behind each."""
        return Places({location: place + word for location, place in self._places.items()}, self._names)

    def lay_over(self, source: Location) -> None:
        """Let what was given below ``source`` count as given at the top."""
        below = {k: v for k, v in self._places.items() if k[: len(source)] == source and k != source}
        for location, place in below.items():
            here = location[len(source) :]
            self._places[here] = place
            self._names.pop(here, None)
            if location in self._names:
                self._names[here] = self._names[location]


def entries(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield what lies in a mapping or a list, with its key."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


# --------------------------------------------------------------------------------------------
# reading


class _Loader(yaml.SafeLoader):
    """Plain values only, and numbers as people write them: ``1e-3`` is a number, ``2020-01-31`` is text."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, LookupError, TypeError, ValueError) as problem:  # '!!int abc'; an endless number
            raise _refused(node, f"{str(node.value)[:40]!r} is not what its tag says") from problem

    def finite(self, node: yaml.ScalarNode) -> float:
        """Read a number; the hash of a result has no form for the others."""
        value: float = self.construct_yaml_float(node)
        if not math.isfinite(value):
            raise _refused(node, f"{node.value} is not a finite number")
        return value

    def whole(self, node: yaml.ScalarNode) -> int:
        """Read a whole number of at most 64 bits."""
        too_long = len(node.value) > _LONGEST_INTEGER
        value: int = MAX_INTEGER if too_long else self.construct_yaml_int(node)
        if not -MAX_INTEGER <= value < MAX_INTEGER:
            shown = f"{node.value[:20]}... ({len(node.value):,} characters)" if too_long else node.value
            raise _refused(node, f"{shown} is a whole number of more than 64 bits")
        return value

    def refuse(self, node: yaml.Node) -> None:
        """Refuse what is not plain data."""
        raise _refused(node, f"the tag {node.tag.removeprefix('tag:yaml.org,2002:')} is not accepted")


def _refused(node: yaml.Node, message: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=node.start_mark)


_TAG = "tag:yaml.org,2002:"
_LONGEST_KEY = 500
_LONGEST_INTEGER = 100  # also in base 2, with underscores
_PLAIN = [_TAG + kind for kind in ("null", "bool", "int", "str", "seq", "map")]
_Loader.yaml_constructors = {
    **{tag: yaml.SafeLoader.yaml_constructors[tag] for tag in _PLAIN},
    _TAG + "float": _Loader.finite,
    _TAG + "int": _Loader.whole,
    None: _Loader.refuse,
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TAG + "timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# tried last, so that what YAML 1.1 knows keeps its meaning
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_Loader.add_implicit_resolver(_TAG + "float", _NUMBER, list("-+.0123456789"))


def read_document(path: Path) -> tuple[dict[str, Any], Places]:
    """Read a benchmark file.

    Raises:
        ConfigError: It is not there, not YAML, repeats a key, or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise ConfigError(f"{path}: no such file{did_you_mean(path.name, near)}") from None
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {reason}") from problem
    document, places = parse(text, lambda line: f"{path}:{line}")
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a benchmark file holds a mapping with 'name', 'task', 'encoders', 'strategies'")
    return document, Places(places)


def parse(text: str, place: Callable[[int], str]) -> tuple[Any, dict[Location, str]]:
    """Read YAML into plain data, and tell where each value lies.

    Args:
        text: The YAML.
        place: Names a line, for messages; lines count from 1.

    Raises:
        ConfigError: Not valid YAML, a key that is given twice or is no text, or without end.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        document = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{place(line)}: not valid YAML: {getattr(problem, 'problem', problem)}") from problem
    except (ValueError, OverflowError) as problem:  # of an escape such as \U00110000, which stands for no character
        line = loader.line + 1 if loader else 1
        raise ConfigError(
            f"{place(line)}: not valid YAML: an escape that stands for no character ({problem})"
        ) from problem
    except RecursionError:
        raise ConfigError(f"{place(1)}: nested deeper than {MAX_DEPTH} levels") from None
    lines: dict[Location, int] = {(): 1}
    problems = [] if node is None else [f"{place(line)}: {text}" for line, text in _collect(node, (), lines)]
    if problems:
        raise ConfigError(problems)
    return document, {location: place(line) for location, line in lines.items()}


def _collect(node: yaml.Node, location: Location, lines: dict[Location, int]) -> Iterator[tuple[int, str]]:
    """Fill ``lines`` with the line of every value, and yield what is wrong, with its line."""
    line = node.start_mark.line + 1
    lines.setdefault(location, line)
    if len(location) == MAX_DEPTH or len(lines) > MAX_VALUES:
        yield line, f"nested deeper than {MAX_DEPTH} levels, or more than {MAX_VALUES:,} values"
        return
    if isinstance(node, yaml.ScalarNode) and (problem := unwritable(node.value)):
        yield line, problem
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield from _collect(value, (*location, i), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag not in (_TAG + "str", _TAG + "merge"):
                yield line, f"key {str(key.value)[:40]} is not text; put it in quotes"
                continue
            if problem := unwritable(key.value) or _too_long(key.value):
                yield line, f"a key: {problem}"
                continue
            here = (*location, key.value)
            if here in lines:
                yield line, f"key '{key.value}' is given twice, first in line {lines[here]}"
            lines[here] = line
            yield from _collect(value, here, lines)


def unwritable(text: str) -> str:
    """Say that a text holds what no file, no path and no page can hold; empty where it does not."""
    if "\0" in text:
        return "a text holds the character NUL, which no name and no path can hold"
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return "a text holds half a character (a lone surrogate, or bytes that are not UTF-8), which no file can hold"
    return ""


def _too_long(key: str) -> str:
    return f"{key[:20]}... has {len(key):,} characters" if len(key) > _LONGEST_KEY else ""


# --------------------------------------------------------------------------------------------
# changing


def merge(base: Any, overlay: Any) -> Any:
    """Lay mappings over each other; a mapping with another ``name`` is another plugin and replaces the old one."""
    if isinstance(base, str) and isinstance(overlay, dict):
        base = {"name": base}  # a bare plugin name gains options
    if not (isinstance(base, dict) and isinstance(overlay, dict)) or overlay.get("name", base.get("name")) != base.get(
        "name"
    ):
        return copy.deepcopy(overlay)
    return merge_keys(base, overlay)


def merge_keys(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another, whatever their names."""
    return {**base, **{k: merge(base.get(k), v) for k, v in overlay.items()}}


def assign(document: dict[str, Any], places: Places, assignment: str) -> None:
    """Apply ``a.b.0.c=value`` from ``--set``; the value is YAML, and is laid over what is there.

    Raises:
        ConfigError: It is malformed, or leads through something that has no such part.
    """
    path, value = parse_assignment(assignment)
    place = f"--set {assignment}"
    target: Any = document
    location: Location = ()
    for part in path[:-1]:
        key = _key(target, part, place)
        location = (*location, key)
        child = target.get(key) if isinstance(target, dict) else target[key]
        if child is None or isinstance(child, str):
            child = target[key] = {} if child is None else {"name": child}
            places.mark(location, {}, place)
        target = child
    key = _key(target, path[-1], place)
    target[key] = merge(target.get(key) if isinstance(target, dict) else target[key], value)
    places.mark((*location, key), value, place)


def parse_assignment(assignment: str) -> tuple[list[str], Any]:
    """Split ``a.b=value`` into the keys and the value, which is YAML.

    Raises:
        ConfigError: There is no key or no ``=``, or the value is not valid YAML.
    """
    if problem := unwritable(assignment):
        shown = assignment.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
        raise ConfigError(f"--set {shown}: {problem}")
    name, equals, text = assignment.partition("=")
    path = name.split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {assignment}: expected key.key=value, for example --set training.epochs=5")
    value, _ = parse(text, lambda _line: f"--set {assignment}")
    return path, value


def _key(target: Any, part: str, place: str) -> str | int:
    if isinstance(target, dict):
        return part
    if not isinstance(target, list):
        raise ConfigError(f"{place}: '{part}' is not in the benchmark: nothing lies below a single value")
    if not part.isdecimal() or len(part) > _LONGEST_INTEGER or int(part) >= len(target):
        raise ConfigError(f"{place}: '{part}' is not in the benchmark: the list has entries 0 to {len(target) - 1}")
    return int(part)


_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def fill_in(value: Any, environ: Mapping[str, str], places: Places, problems: list[str]) -> Any:
    """Return ``value`` with ``${NAME}`` and ``${NAME:-default}`` replaced; what is not set is added to ``problems``."""
    return _fill_in(value, (), environ, lambda location, text: problems.append(places.at(location) + text))


def _fill_in(
    value: Any, location: Location, environ: Mapping[str, str], problem: Callable[[Location, str], None]
) -> Any:
    if isinstance(value, dict):
        return {k: _fill_in(v, (*location, k), environ, problem) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill_in(v, (*location, i), environ, problem) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if environ.get(name):
            if said := unwritable(environ[name]):
                problem(location, f"environment variable {name}: {said}")
                return ""
            return environ[name]
        if default is None:
            problem(location, f"environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        return default or ""

    filled = _VARIABLE.sub(replacement, value)
    # "${MIMIC_CXR_ROOT:-}" means: not given
    return None if filled == "" and _VARIABLE.fullmatch(value) else filled
