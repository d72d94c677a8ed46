"""``record.json``: what a run was made of and where its predictions are, for comparing two runs.

The configuration, names, versions and hashes of plugins, packages and data, keys in the result store, and the
leaderboard. Nothing about a row. It stays beside the report and is no part of it: the configuration names the folders
of the data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fusionbench.analysis.columns import recorded
from fusionbench.config.sections import CEILING, Benchmark
from fusionbench.errors import DataError, without_secrets
from fusionbench.missingness.subsets import is_subset
from fusionbench.plan.lines import Line, lines_by_row, model_of
from fusionbench.report import about
from fusionbench.report.decision.table import TIME, decision_table

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.plan.jobs import FitJob
    from fusionbench.records import RunSummary

NAME = "record.json"
FORMAT = 1
_SHOWN = 5


def record(summary: RunSummary) -> dict[str, Any]:
    """Return the record of a run as plain data."""
    plan = summary.plan
    board = recorded(plan, summary.tables.leaderboard)
    parts = {
        role: {k: found.get(k) for k in ("name", "distribution", "version", "source", "fingerprint")}
        for role, found in about.identities(plan).items()
    }
    return {
        "format": FORMAT,
        "configuration": without_secrets(plan.benchmark.model_dump(mode="json", exclude=about.NOT_SHOWN)),
        "data": plan.data_digest,
        "metric": plan.dataset.metric,
        "ribbons": list(plan.ribbons),
        "notes": list(summary.notes),
        "answer": None if summary.answer is None else asdict(summary.answer),
        "decision": _decision(summary),
        "baseline": None if summary.baseline is None else list(summary.baseline),
        "differences": _rows(summary.tables.differences),
        "points": _rows(_points(summary)),
        "readings": _rows(summary.tables.readings),
        "published": _rows(summary.published),
        "best_possible": _rows(_ceiling(summary.tables.curves)),
        "design": _plain(summary.tables.design.iloc[0].to_dict()),
        "parts": parts,
        "environment": about.environment(),
        "arithmetic": plan.arithmetic.record,
        "expectations": [{**e._asdict(), "numbers": list(e.numbers)} for e in summary.expectations],
        "leaderboard": _rows(board),
        "robustness": {name: _rows(table) for name, table in summary.robustness._asdict().items()},
        "fits": [_fit(fit, plan.benchmark.missingness.where) for fit in plan.fits],
    }


def _decision(summary: RunSummary) -> dict[str, Any] | None:
    """The decision table as plain data, without what this machine took: equal runs leave equal records."""
    grid = None if summary.tables.leaderboard["area"].isna().all() else decision_table(summary)
    if grid is None:
        return None
    kept = [i for i, title in enumerate(grid.columns) if title != TIME]
    groups = [*grid.groups[:-1], (grid.groups[-1][0], grid.groups[-1][1] - 1)]
    return {
        "caption": grid.caption.partition(" Time: ")[0],
        "columns": [grid.columns[i] for i in kept],
        "groups": [list(group) for group in groups],
        "rows": [[row[i] for i in kept] for row in grid.rows],
        "shades": [[row[i] for i in kept] for row in grid.shades],
        "kinds": list(grid.kinds),
    }


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """A table as JSON has it; None where there is no number."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _points(summary: RunSummary) -> pd.DataFrame:
    """The metric that ranks at every point of the curves, and what readers call the lines."""
    curves = summary.tables.curves
    if len(curves) == 0:
        return curves
    kept = curves[[*Line._fields, "pattern", "rate", summary.plan.dataset.metric]]
    return kept.assign(called=[summary.plan.called(line) for line in lines_by_row(kept)])


def _ceiling(curves: pd.DataFrame) -> pd.DataFrame:
    """What the best possible prediction reaches at each point; no row where that is not known."""
    columns = ["pattern", "rate", "ceiling"]
    return curves.loc[curves["strategy"] == CEILING, columns] if "ceiling" in curves else curves.loc[[], columns[:2]]


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Values as JSON has them; None where there is none."""
    return {str(k): None if v != v else v.item() if hasattr(v, "item") else v for k, v in row.items()}  # noqa: PLR0124 - NaN


def _fit(fit: FitJob, where: str) -> dict[str, Any]:
    placed = [
        (model_of(fit, c, where), label) for c, label in zip(fit.scored, fit.labels, strict=True) if not is_subset(c)
    ]
    return {
        "line": list(placed[0][0].line),
        "fold": fit.fold,
        "seed": fit.seed,
        "key": fit.key,
        "points": [[m.point.pattern, m.point.rate, label] for m, label in placed],
    }


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a report folder.

    Raises:
        DataError: There is none, or it is of another version of the program.
    """
    path = folder / NAME
    try:
        found: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{folder}: no {NAME}, which the observer 'html' writes; run the benchmark again, or "
            "'fusionbench report' for it"
        ) from None
    except (OSError, ValueError, RecursionError) as problem:
        raise DataError(f"{path} cannot be read: {problem}") from problem
    written = found.get("format") if isinstance(found, dict) else None
    if written != FORMAT:
        raise DataError(f"{path}: format {written!r:.40}; this version reads {FORMAT}; make the report again")
    _check(path, found)
    return dict(found)


class _Fit(BaseModel):
    """What ``compare`` reads of a model."""

    model_config = ConfigDict(strict=True)

    line: Annotated[list[str], Field(min_length=2, max_length=3)]
    fold: int
    seed: int
    key: Annotated[str, Field(pattern=r"^[0-9A-Za-z_.-]{1,200}$")]  # it names a file
    points: list[tuple[str, float, str]]

    @field_validator("points", mode="before")
    @classmethod
    def _as_json_has_them(cls, value: Any) -> Any:
        return [tuple(p) if isinstance(p, list) else p for p in value] if isinstance(value, list) else value


class _Row(BaseModel):
    """What ``compare`` reads of a line of the leaderboard; None stands for a number that is not there."""

    strategy: str
    imputer: str
    trained_at: str | None = None
    variant: str | None = None
    area: float | None
    area_low: float | None
    area_high: float | None
    group: int | float | None

    @model_validator(mode="after")
    def _has_a_variant(self) -> _Row:
        if self.trained_at is None and self.variant is None:
            raise ValueError("neither variant nor trained_at")
        return self


class _Record(BaseModel):
    """What ``compare`` reads of a record."""

    configuration: dict[str, Any]
    data: str
    metric: str
    parts: dict[str, dict[str, Any]]
    environment: dict[str, str | None]
    arithmetic: dict[str, Any] = {}
    leaderboard: list[_Row]
    fits: list[_Fit]


def _check(path: Path, found: Any) -> None:
    """Refuse a record that lacks something, or has it in another form; it may come from anywhere.

    Raises:
        DataError: It does; the message names the places.
    """
    from fusionbench.metrics.registry import METRICS

    try:
        _Record.model_validate(found)
        Benchmark.model_validate(found["configuration"])
    except ValidationError as error:
        places = dict.fromkeys(".".join(map(str, problem["loc"])) for problem in error.errors())
        shown = ", ".join(list(places)[:_SHOWN]) + (" ..." if len(places) > _SHOWN else "")
        raise DataError(
            f"{path}: {len(places)} parts of it are missing or in another form ({shown}); make the report again with "
            "'fusionbench report'"
        ) from None
    if found["metric"] not in METRICS:
        raise DataError(
            f"{path}: metric {found['metric']!r:.40} is not one of {', '.join(METRICS)}; make the report again"
        )
