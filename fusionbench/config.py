"""A benchmark file: YAML in, frozen models out, every problem reported at once with its line.

Order of work: read the file, keep the line of every key, lay the ``demo`` block over it where its
variable is unset, apply ``--set``, fill in ``${VARIABLES}``, validate. The result is what is hashed and logged.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fusionbench.errors import ConfigError, did_you_mean

Path_ = tuple[str | int, ...]
Rate = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(BaseModel):
    """A plugin by name, with its options: ``concat`` or ``{name: concat, head_hidden: 64}``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """The constructor options."""
        return dict(self.__pydantic_extra__ or {})


class Corruption(_Section):
    """A hiding policy in training, for any strategy (modality dropout is ``bernoulli``)."""

    policy: Literal["none", "bernoulli", "uniform_subset", "partial_subset"]
    rate: Rate = 0.0


class StrategyChoice(Choice):
    """A strategy, how it is called in tables, and what it carries."""

    label: str | None = None
    imputers: tuple[Choice, ...] | None = None
    regularisers: tuple[Choice, ...] = ()
    corruption: Corruption | None = None

    @property
    def title(self) -> str:
        """The name shown in tables."""
        return self.label or "+".join([self.name, *(r.name for r in self.regularisers)])


class ModelSection(_Section):
    """What stands between encoders and fusion, the same for every strategy.

    ``width``: common width of the projected embeddings; null leaves each modality's own width.
    ``projection``: ``linear``, or ``mlp`` (one hidden layer of the same width, ReLU).
    """

    width: int | None = Field(64, ge=1)
    projection: Literal["linear", "mlp"] = "linear"


class SplitsSection(_Section):
    """Patient-level folds. ``source: task`` uses the split or folds that the data come with."""

    source: Literal["hash", "task"] = "hash"
    folds: int = Field(5, ge=2)
    use: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    validation: float = Field(0.15, gt=0, lt=1)
    salt: str = "fusionbench"
    seeds: tuple[int, ...] = (0,)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("seeds must be a non-empty list without repeats")
        return value

    @model_validator(mode="after")
    def _use_exists(self) -> SplitsSection:
        if self.use is not None and (not self.use or max(self.use) >= self.folds):
            raise ValueError(f"use must name folds from 0 to {self.folds - 1}")
        return self


class MissingnessSection(_Section):
    """Who is hidden, how much, and where."""

    mechanism: Choice = Choice(name="mcar")
    patterns: tuple[str, ...] = ("random",)
    rates: tuple[Rate, ...] = (0.0, 0.3, 0.6, 0.9)
    where: Literal["test", "train", "both", "grid"] = "test"

    @field_validator("rates")
    @classmethod
    def _sorted(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value:
            raise ValueError("rates must not be empty")
        return tuple(sorted(set(value)))

    @field_validator("patterns")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("patterns must be a non-empty list without repeats")
        return value


class TrainingSection(_Section):
    """The one training loop's settings, equal for every strategy."""

    epochs: int = Field(50, ge=1)
    batch_size: int = Field(128, ge=2)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    patience: int = Field(10, ge=1)
    selection: Literal["metric", "loss"] = "metric"
    population: int | None = Field(None, ge=1)


class FloatRange(_Section):
    """A range of a tuned number."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> FloatRange:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError("a range needs low <= high, and low > 0 where log is true")
        return self


class TuningSection(_Section):
    """Equal budget: every strategy gets the same number of trials, on training and validation rows only.

    ``common`` is searched for every strategy; ``own`` adds what the strategy's ``search_space`` suggests.
    ``trials: 0`` uses the defaults of the training section.
    """

    trials: int = Field(0, ge=0)
    batch: int = Field(4, ge=1)
    common: dict[Literal["learning_rate", "weight_decay"], FloatRange] = {}
    own: bool = True
    storage: str | None = None


class EvaluationSection(_Section):
    """Intervals by patient-level bootstrap."""

    resamples: int = Field(1000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)


class TrackingSection(_Section):
    """MLflow. ``uri: null`` is a SQLite file in the workspace. ``observers`` without ``mlflow`` logs nothing."""

    uri: str | None = None


class Benchmark(_Section):
    """A whole benchmark file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    question: str = ""
    task: Choice
    encoders: dict[str, Choice]
    model: ModelSection = ModelSection()
    imputers: tuple[Choice, ...] = (Choice(name="zero"),)
    strategies: tuple[StrategyChoice, ...] = Field(min_length=1)
    missingness: MissingnessSection = MissingnessSection()
    splits: SplitsSection = SplitsSection()
    training: TrainingSection = TrainingSection()
    tuning: TuningSection = TuningSection()
    evaluation: EvaluationSection = EvaluationSection()
    tracking: TrackingSection = TrackingSection()
    observers: tuple[Choice, ...] = (Choice(name="files"), Choice(name="mlflow"))
    is_demo: bool = False

    @model_validator(mode="after")
    def _titles_differ(self) -> Benchmark:
        titles = [s.title for s in self.strategies]
        twice = sorted({t for t in titles if titles.count(t) > 1})
        if twice:
            raise ValueError(f"strategies {', '.join(twice)} appear twice; give each its own 'label'")
        return self


# --------------------------------------------------------------------------------------------
# reading


def load_benchmark(path: Path, assignments: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Benchmark:
    """Read and validate a benchmark file.

    Args:
        path: The YAML file.
        assignments: ``a.b=value`` from ``--set``; the value is YAML.
        environ: Where ``${VARIABLES}`` are looked up; the process environment by default.

    Raises:
        ConfigError: With every problem found, each with file and line where it has one.
    """
    environ = os.environ if environ is None else environ
    document, lines = _read(path)
    demo = document.pop("demo", None)
    problems = [] if demo is None else _demo_problems(demo, f"{path}:{lines.get(('demo',), 1)}")
    if problems:
        raise ConfigError(problems)
    if demo is not None and not environ.get(demo["unless_set"]):
        overlay = {k: v for k, v in demo.items() if k != "unless_set"}
        _move_lines(lines, ("demo",), ())
        document = {**_merge(document, overlay), "is_demo": True}
    problems = [p for a in assignments for p in _assign(document, lines, a)]
    document = _substitute(document, (), environ, lambda loc, text: problems.append(_at(path, lines, loc) + text))
    try:
        benchmark = Benchmark.model_validate(document)
    except ValidationError as error:
        problems += [_sentence(path, lines, e) for e in error.errors()]
    if problems:
        raise ConfigError(problems)
    return benchmark


def _read(path: Path) -> tuple[dict[str, Any], dict[Path_, int]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = [p.name for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise ConfigError(f"{path}: no such file{did_you_mean(path.name, near)}") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {problem}") from problem
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {getattr(problem, 'problem', problem)}") from problem
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a benchmark file holds a mapping with 'name', 'task', 'encoders', 'strategies'")
    lines: dict[Path_, int] = {}
    twice: list[str] = []
    _collect_lines(node, (), lines, lambda line, key: twice.append(f"{path}:{line}: key '{key}' is given twice"))
    if twice:
        raise ConfigError(twice)
    return document, lines


def _collect_lines(node: Any, location: Path_, lines: dict[Path_, int], repeated: Any) -> None:
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*location, key.value)
            if here in lines:
                repeated(key.start_mark.line + 1, key.value)
            lines[here] = key.start_mark.line + 1
            _collect_lines(value, here, lines, repeated)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _collect_lines(value, (*location, i), lines, repeated)


def _move_lines(lines: dict[Path_, int], source: Path_, target: Path_) -> None:
    for location, line in list(lines.items()):
        if len(location) > len(source) and location[: len(source)] == source:
            lines[(*target, *location[len(source) :])] = line


def _demo_problems(demo: Any, place: str) -> list[str]:
    if not isinstance(demo, dict) or not isinstance(demo.get("unless_set"), str):
        return [f"{place}: demo: needs 'unless_set: VARIABLE' and the keys that it lays over the benchmark"]
    return []


def _merge(base: Any, overlay: Any) -> Any:
    """Lay mappings over each other; a mapping with another ``name`` is another plugin and replaces the old one."""
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return copy.deepcopy(overlay)
    if "name" in overlay and overlay["name"] != base.get("name"):
        return copy.deepcopy(overlay)
    return {**base, **{k: _merge(base.get(k), v) for k, v in overlay.items()}}


def _assign(document: dict[str, Any], lines: dict[Path_, int], assignment: str) -> list[str]:
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        return [f"--set {assignment}: expected key.key=value, for example --set training.epochs=5"]
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        return [f"--set {assignment}: the value is not valid YAML: {getattr(problem, 'problem', problem)}"]
    parts: list[str | int] = [int(p) if p.isdigit() else p for p in key.split(".")]
    target: Any = document
    for i, part in enumerate(parts[:-1]):
        if isinstance(target, dict):
            child = target.setdefault(part, {})
            if isinstance(child, str):  # a bare plugin name gains options
                child = target[part] = {"name": child}
        elif isinstance(target, list) and isinstance(part, int) and part < len(target):
            child = target[part]
            if isinstance(child, str):
                child = target[part] = {"name": child}
        else:
            return [f"--set {assignment}: '{'.'.join(map(str, parts[: i + 1]))}' is not in the benchmark"]
        target = child
    try:
        target[parts[-1]] = _merge(target.get(parts[-1]) if isinstance(target, dict) else target[parts[-1]], value)
    except (IndexError, TypeError, KeyError):
        return [f"--set {assignment}: '{key}' is not in the benchmark"]
    for location in [loc for loc in lines if loc[: len(parts)] == tuple(parts)]:
        del lines[location]
    lines[tuple(parts)] = 0  # 0: came from the command line
    return []


_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def _substitute(value: Any, location: Path_, environ: Mapping[str, str], problem: Any) -> Any:
    if isinstance(value, dict):
        return {k: _substitute(v, (*location, k), environ, problem) for k, v in value.items()}
    if isinstance(value, list):
        return [_substitute(v, (*location, i), environ, problem) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if environ.get(name):
            return environ[name]
        if default is None:
            problem(location, f"environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        return default or ""

    filled = _VARIABLE.sub(replacement, value)
    # "${MIMIC_CXR_ROOT:-}" means: not given
    return None if filled == "" and _VARIABLE.fullmatch(value) else filled


def _at(path: Path, lines: Mapping[Path_, int], location: Path_) -> str:
    known = location
    while known not in lines and known:
        known = known[:-1]
    line = lines.get(known, 1)
    place = f"{path}:{line}" if line else "--set"
    dotted = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    return f"{place}: {dotted}: " if dotted else f"{place}: "


def locate(path: Path, location: Path_) -> str:
    """Return ``file:line: key: `` for a location in a benchmark file, as the problems begin."""
    _, lines = _read(path)
    return _at(path, lines, location)


def _sentence(path: Path, lines: Mapping[Path_, int], error: Mapping[str, Any]) -> str:
    location: Path_ = tuple(error["loc"])
    found = error.get("input")
    kind = error["type"]
    if kind == "extra_forbidden":
        accepted = _fields_at(location[:-1])
        hint = did_you_mean(str(location[-1]), accepted)
        return f"{_at(path, lines, location)}unknown key{hint}\n  accepted: {', '.join(accepted)}"
    if kind == "missing":
        return f"{_at(path, lines, location[:-1])}'{location[-1]}' is missing"
    message = error["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(found, dict | list | tuple) or kind == "value_error" else f", found {found!r}"
    return f"{_at(path, lines, location)}{message}{shown}"


def _fields_at(location: Path_) -> list[str]:
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


def _section_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        section = _section_in(argument)
        if section is not None:
            return section
    return None
