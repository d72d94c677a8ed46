"""Published values beside ours: the files that papers bring, and which line of a run each value is about.

A file is CSV, one row for each published number: :data:`COLUMNS`. A value is about a line where task, metric, modalities,
strategy, regularisers and imputer are the same, and the line has no other options and hides nothing in training; or where
``label`` names it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fusionbench.analysis.ranking.comparisons import difference_between
from fusionbench.errors import DataError
from fusionbench.plan.lines import Line
from fusionbench.records import PUBLISHED

if TYPE_CHECKING:
    from fusionbench.contract.papers import Paper
    from fusionbench.plan.parts import Arm
    from fusionbench.records import RunPlan, Tables

MOST_BYTES: Final = 4 << 20
_MOST_SHOWN: Final = 5
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
MaybeWords = Annotated[str, StringConstraints(strip_whitespace=True, max_length=300)]


class Value(BaseModel):
    """One published number.

    Args:
        paper: Whose it is, in words.
        table: ``table 3``, ``figure 6``; where it stands in the paper.
        row: What the row is called there.
        column: What the column is called there.
        task: Name of the task plugin that asks the same.
        modalities: What the models read, as ``ehr+cxr``.
        strategy: Name of the strategy plugin; empty: the row is about no single strategy.
        regularisers: Names of regulariser plugins, as ``tla``; empty: none.
        imputer: Name of the imputer plugin.
        label: The line's label in a benchmark; empty: the line is told by its parts.
        pattern: What is hidden; empty: nothing.
        rate: Share missing.
        measure: ``score``; ``best single``: that of the best of these modalities alone; ``drop``: fused minus best single.
        metric: Name of the metric.
        value: The number.
        obtained: How it was obtained: printed, read from the text, inferred.
        hand: ``first``: from the paper itself; ``second``: from somebody who quotes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: Words
    table: Words
    row: Words
    column: MaybeWords
    task: Words
    modalities: Words
    strategy: MaybeWords
    regularisers: MaybeWords
    imputer: MaybeWords
    label: MaybeWords
    pattern: MaybeWords
    rate: float = Field(ge=0, lt=1)
    measure: Literal["score", "best single", "drop"]
    metric: Words
    value: float = Field(allow_inf_nan=False)
    obtained: Words
    hand: Literal["first", "second"]


COLUMNS: Final = tuple(Value.model_fields)


def read_values(path: Path) -> list[Value]:
    """Read a file of published values.

    Raises:
        DataError: It is not there, no such CSV, or rows are wrong; all of them at once, with the line.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: larger than {MOST_BYTES >> 20} MB; published values are one row for each number")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if sorted(header) != sorted(COLUMNS):
                missing, more = [c for c in COLUMNS if c not in header], [c for c in header if c not in COLUMNS]
                raise DataError(
                    f"{path}:1: expected the columns {', '.join(COLUMNS)}, each once; missing: {', '.join(missing) or 'none'}; "
                    f"unknown: {', '.join(more)[:200] or 'none'}"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8: {problem}") from None
    problems: list[str] = []
    found = [value for number, row in rows for value in _values(path, number, header, row, problems)]
    keys = [(v.table, v.row, v.column, v.task, v.metric, v.pattern, v.rate, v.measure) for v in found]
    problems += [
        f"{path}: {', '.join(map(str, key))}: given twice" for key in dict.fromkeys(keys) if keys.count(key) > 1
    ]
    if problems:
        more = [f"{path}: and {len(problems) - _MOST_SHOWN} more"] if len(problems) > _MOST_SHOWN else []
        raise DataError("\n".join([*problems[:_MOST_SHOWN], *more]))
    return found


def _values(path: Path, number: int, header: Sequence[str], row: Sequence[str], problems: list[str]) -> Iterator[Value]:
    if len(row) != len(header):
        problems.append(f"{path}:{number}: {len(row)} cells, the header has {len(header)}")
        return
    try:
        yield Value.model_validate(dict(zip(header, row, strict=True)))
    except ValidationError as error:
        problems += [
            f"{path}:{number}: {'.'.join(map(str, e['loc']))}: {e['msg']}, found {e['input']!r:.60}"
            for e in error.errors()
        ]


# --------------------------------------------------------------------------------------------
# ours beside them


class Ours(NamedTuple):
    """Our number for a published one: of a line, with its interval; NaN where there is none."""

    line: Line
    value: float
    low: float
    high: float


def values_beside(plan: RunPlan, tables: Tables) -> tuple[pd.DataFrame, list[str]]:
    """Return published values of what a run asks, with ours; and what is wrong with the files of papers, one sentence each.

    Args:
        plan: Of the run; its papers are asked.
        tables: What it found.

    Returns:
        One row for each value of a paper that is about the run's task, a metric of its curves and its modalities, also where
        the run has no such line (``ours`` is NaN then): columns :data:`fusionbench.records.PUBLISHED`. ``protocol`` holds what
        differs from the paper's,
        in words, empty where nothing is known to; ``cohort`` is ``made up``, or the words of
        :attr:`fusionbench.Paper.cohorts`.
    """
    rows: list[list[Any]] = []
    problems: list[str] = []
    for paper in plan.papers:
        try:
            values = [] if paper.published is None else read_values(paper.published)
        except DataError as problem:  # costs a run these values, and nothing else
            problems.append(f"Published values of {paper.title or type(paper).__name__} are left out: {problem}")
            continue
        metrics = {plan.dataset.metric, *map(str, tables.curves.columns)}
        mine = [v for v in values if v.task == plan.benchmark.task.name and v.metric in metrics]
        protocol = "; ".join(differences_of(paper, plan))
        cohort = "made up" if plan.dataset.synthetic else paper.cohorts.get(plan.benchmark.task.name, "not said")
        there = [v for v in mine if set(_names(v.modalities)) <= set(plan.dataset.modalities)]
        rows += [_row(value, _ours(value, plan, tables), cohort, protocol) for value in there]
    return pd.DataFrame(rows, columns=PUBLISHED), problems


def _row(value: Value, ours: Ours | None, cohort: str, protocol: str) -> list[Any]:
    nan = float("nan")
    line, number, low, high = ours or Ours(Line("", ""), nan, nan, nan)
    said = [value.paper, value.table, value.row, value.column, value.task, value.metric, value.measure]
    place = [value.pattern, value.rate, value.value]
    mine = [line.strategy, line.imputer, number, low, high, number - value.value]
    return [*said, *place, *mine, cohort, protocol, value.obtained, value.hand]


def _ours(value: Value, plan: RunPlan, tables: Tables) -> Ours | None:
    if value.measure == "score":
        return _score(_line_of(value, plan), value, tables)
    alone = [s for n in _names(value.modalities) if (s := _score(_single(n, plan), value, tables)) is not None]
    if len(alone) < len(_names(value.modalities)):
        return None  # the best of some is not the best of all
    best = max(alone, key=lambda one: one.value)
    return best if value.measure == "best single" else _drop(_score(_line_of(value, plan), value, tables), best, tables)


def _drop(fused: Ours | None, single: Ours, tables: Tables) -> Ours | None:
    """Fused minus single, with the interval of the rule where the two were compared at this very point."""
    if fused is None:
        return None
    nan, value = float("nan"), fused.value - single.value
    found = difference_between(tables.comparisons, fused.line, single.line)
    same = found is not None and abs(found.value - value) < 1e-9
    return Ours(fused.line, value, *((found.low, found.high) if found is not None and same else (nan, nan)))


def _score(line: Line | None, value: Value, tables: Tables) -> Ours | None:
    """The height of a line's curve where the published value was taken."""
    curves = tables.curves
    if line is None or len(curves) == 0 or value.metric not in curves:
        return None
    here = line.rows_of(curves) & (curves["rate"] == value.rate)
    mine = curves[here & (curves["pattern"] == value.pattern)] if value.pattern else curves[here & _complete(curves)]
    if len(mine) == 0:
        return None
    row, name = mine.iloc[0], value.metric
    nan = float("nan")
    return Ours(line, float(row[name]), float(row.get(f"{name}_low", nan)), float(row.get(f"{name}_high", nan)))


def _complete(curves: pd.DataFrame) -> pd.Series[bool]:
    """Points at which nothing is hidden."""
    return curves["achieved"] == 0 if "achieved" in curves else curves["rate"] == 0


def _line_of(value: Value, plan: RunPlan) -> Line | None:
    found = [arm for arm in plan.arms if _is_about(value, arm, list(plan.dataset.modalities))]
    return Line(found[0].title, found[0].imputer_name) if found else None


def _is_about(value: Value, arm: Arm, names: Sequence[str]) -> bool:
    if value.imputer and arm.imputer_name != value.imputer:
        return False
    if set(read_by(arm, names)) != set(_names(value.modalities)):
        return False
    if value.label:
        return arm.labelled and arm.title == value.label
    plain = arm.corruption is None and not {*arm.strategy.options} - {"modality"}
    carried = sorted(r.registration.name for r in arm.regularisers if not r.options)
    same = len(carried) == len(arm.regularisers) and carried == sorted(_names(value.regularisers))
    return plain and same and arm.strategy.registration.name == value.strategy


def _single(modality: str, plan: RunPlan) -> Line | None:
    """The line that reads one modality alone, whichever strategy it is."""
    names = list(plan.dataset.modalities)
    found = [a for a in plan.arms if read_by(a, names) == [modality] and not a.regularisers and a.corruption is None]
    return Line(found[0].title, found[0].imputer_name) if found else None


def read_by(arm: Arm, names: Sequence[str]) -> list[str]:
    """Return the modalities that an arm reads."""
    alone = arm.strategy.options.get("modality")
    return [alone] if isinstance(alone, str) else arm.seen(names)


def _names(joined: str) -> list[str]:
    return [name for name in joined.split("+") if name]


# --------------------------------------------------------------------------------------------
# the paper's protocol and the run's


def differences_of(paper: Paper, plan: RunPlan) -> list[str]:
    """Say what a run does otherwise than a paper, as far as the paper's plugin knows: one clause each."""
    document = plan.benchmark.model_dump(mode="json")
    wanted = paper.protocol.get(plan.benchmark.task.name, {})
    found = [(key, _at(document, key.split(".")), value) for key, value in wanted.items()]
    return [f"{key}: {_said(ours)}, the paper {_said(theirs)}" for key, ours, theirs in found if ours != theirs]


def _at(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _said(value: Any) -> str:
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"
