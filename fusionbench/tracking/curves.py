"""Degradation curves of a run, one for each arm and pattern, as they are logged: numbers, parameters, tags, files.

Everything is about whole strategies. Only ``tracking.predictions`` adds rows: see :mod:`fusionbench.tracking.predictions`.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from fusionbench import __version__
from fusionbench.analysis.columns import logged, timings
from fusionbench.analysis.epochs import mean_scores
from fusionbench.analysis.ranking.differences import AREA
from fusionbench.analysis.ranking.robustness import robustness_scalars
from fusionbench.analysis.tuning import course_of
from fusionbench.contract.isolation import shared
from fusionbench.errors import without_secrets
from fusionbench.keys import digest, flattened
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.plan.lines import Line, line_of, model_of
from fusionbench.tracking.describing import COLOUR, NOTE, colour_of, description_of, difference_points
from fusionbench.tracking.predictions import PREDICTIONS, Predictions
from fusionbench.tracking.views import MISSING_PERCENT

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob
    from fusionbench.plan.parts import Arm
    from fusionbench.records import RunPlan, RunSummary

# arms are logged by themselves, and addresses of servers may hold passwords
NOT_LOGGED: Any = {
    **dict.fromkeys(("strategies", "imputers", "observers", "tracking", "robustness"), True),
    "tuning": {"storage"},
}
OWN_COLUMNS = (*Line._fields, "pattern", "rate", "achieved")
TUNING = "tuning/"  # the section of what happened over trials: its step is no missing percentage
EPOCHS = "epochs/"  # of what happened over epochs: the same
NO_ROWS = pd.DataFrame()
OF_MODALITIES = ("shapley", "laziness")
Drawn = tuple[Line, str]
"""A line and a pattern: what a curve is of."""


@dataclass(frozen=True)
class LoggedTrial:
    """One trial of a sealed study; ``seconds`` differ between equal runs and are no part of the content."""

    name: str
    params: dict[str, str]
    metrics: dict[str, float]
    seconds: float
    failure: str | None


@dataclass(frozen=True)
class Curve:
    """What is logged for one run."""

    key: str
    name: str
    points: list[tuple[str, float, int]]
    scalars: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]
    cells: pd.DataFrame
    trials: tuple[LoggedTrial, ...] = ()
    predictions: Callable[[], pd.DataFrame] | None = None

    @cached_property
    def content(self) -> str:
        """Hash of the numbers; a run with another one is brought up to date."""
        timed = timings()
        scalars = {k: v for k, v in self.scalars.items() if k not in timed}
        trials = [[t.name, t.params, t.metrics, t.failure] for t in self.trials]
        # the numbers come from the predictions, so that only whether they are logged has to be known
        rows = [] if self.predictions is None else [PREDICTIONS]
        return digest([self.points, scalars, self.params, self.tags, self.cells.to_csv(index=False), trials, *rows])

    def files(self) -> dict[str, bytes]:
        """Return the run's own files by their names."""
        on_curves = [p for p in self.points if not p[0].startswith((TUNING, EPOCHS))]
        points = "".join(f"{n},{v!r},{s}\n" for n, v, s in on_curves)
        files = {
            "curve.csv": f"metric,value,achieved_percent\n{points}".encode(),
            "cells.parquet": _parquet(self.cells),
        }
        return files if self.predictions is None else {**files, PREDICTIONS: _parquet(self.predictions())}


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


# --------------------------------------------------------------------------------------------
# from a summary to curves


def curves_of(summary: RunSummary) -> Iterator[Curve]:
    """Yield every curve: pattern by pattern, the best arm first."""
    plan = summary.plan
    common = _flat(without_secrets(plan.benchmark.model_dump(mode="json", exclude=NOT_LOGGED)))
    arms = {(a.title, a.imputer_name): a for a in plan.arms}
    rows_of = _grouped(summary.tables.curves, [*Line._fields, "pattern"])
    cells_of = _grouped(summary.tables.cells, ["strategy", "imputer"])
    apart_of = _grouped(summary.tables.differences, [*Line._fields, "pattern"])
    modalities_of = _grouped(summary.tables.modalities, [*Line._fields])
    trials_of = _trials(plan) if plan.benchmark.tracking.trials else {}
    robust = robustness_scalars(summary.robustness)
    rows = Predictions(plan) if plan.benchmark.tracking.predictions else None
    sweep = digest([common, plan.data_digest])[:12]
    for pattern in plan.benchmark.missingness.patterns:
        for place, (_, row) in enumerate(summary.tables.leaderboard.iterrows()):
            line = Line(*map(str, line_of(row)))
            strategy, imputer, variant = line
            if (*line, pattern) not in rows_of or (strategy, imputer) not in arms:  # nobody trained a reference
                continue
            arm = arms[strategy, imputer]
            own = _flat(without_secrets({"strategy": arm.strategy.identity, "imputer": arm.imputer.identity}))
            trained = f" trained at {variant}" if variant else ""
            yield Curve(
                key=digest([plan.benchmark.name, plan.data_digest, *line, pattern]),
                name=f"{strategy} / {imputer} / {pattern}{trained}",
                points=[
                    *_points(rows_of[*line, pattern]),
                    *difference_points(apart_of.get((*line, pattern), NO_ROWS), plan.dataset.metric),
                    *_course(summary.tables.trials, arm),
                    *_epochs(summary.scores, line),
                ],
                scalars=logged(plan, row)
                | _area_of(apart_of.get((*line, AREA)))
                | _scalars_of_modalities(modalities_of.get(line))
                | {f"summary/robustness.{name}": value for name, value in robust.get(line, {}).items()},
                params={**common, **own, "pattern": pattern},
                tags=_tags(plan, arm, sweep)
                | {"strategy": strategy, "imputer": imputer, "pattern": pattern}
                | {NOTE: description_of(summary, line, pattern, row), COLOUR: colour_of(place)},
                cells=_cells(cells_of[strategy, imputer], variant, pattern),
                trials=tuple(trials_of.get((line, pattern), ())),
                predictions=None if rows is None else partial(rows.table, line, pattern),
            )


def _grouped(table: pd.DataFrame, columns: list[str]) -> dict[tuple[Any, ...], pd.DataFrame]:
    """Rows by the values of some columns; a table is looked through once, however many curves there are."""
    return {key: rows for key, rows in table.groupby(columns, sort=False)} if len(table) else {}  # noqa: C416 - a GroupBy is no mapping


def _cells(cells: pd.DataFrame, variant: str, pattern: str) -> pd.DataFrame:
    """Cells of one curve; complete data belong to every pattern."""
    mine = cells["pattern"].isin([pattern, COMPLETE.pattern])
    if variant:
        mine &= cells["trained_at"] == variant
    return cells[mine].reset_index(drop=True)


def _trials(plan: RunPlan) -> dict[Drawn, list[LoggedTrial]]:
    """Trials of sealed studies by curve; a study that several curves share is shown under the first of them."""
    found = dict[Drawn, list[LoggedTrial]]()
    for study, curve in _first_curves(plan).items():
        content = plan.store.sealed_study(study) or {"trials": []}
        found.setdefault(curve, []).extend(_trial(content["fold"], t) for t in content["trials"])
    return found


def _first_curves(plan: RunPlan) -> dict[str, Drawn]:
    patterns = list(plan.benchmark.missingness.patterns)
    places: dict[str, tuple[int, Drawn]] = {}
    for fit in plan.fits:
        for place, curve in _curves(fit, patterns, plan.benchmark.missingness.where):
            places[fit.study] = min((place, curve), places.get(fit.study, (len(patterns), curve)), key=lambda p: p[0])
    return {study: curve for study, (_, curve) in places.items()}


def _curves(fit: FitJob, patterns: list[str], where: str) -> Iterator[tuple[int, Drawn]]:
    """Yield the curves that a model has points on, each with the place of its pattern."""
    for condition in fit.points:
        model = model_of(fit, condition, where)
        place = patterns.index(model.point.pattern) if model.point.pattern in patterns else 0
        yield place, (model.line, patterns[place])


def _trial(fold: int, trial: Mapping[str, Any]) -> LoggedTrial:
    metrics = {"trial/epochs": float(trial["epochs"])}
    if trial["score"] is not None:
        metrics["trial/validation"] = float(trial["score"])
    return LoggedTrial(
        name=f"fold {fold}, trial {trial['number']}",
        params=_flat({"fold": fold, "trial": trial["number"], **trial["params"]}),
        metrics=metrics,
        seconds=float(trial["seconds"]),
        failure=None if trial["failure"] is None else shared(trial["failure"]),
    )


def _tags(plan: RunPlan, arm: Arm, sweep: str) -> dict[str, str]:
    return {
        "same settings": sweep,  # equal for all curves of the same data and settings, whichever arms there are
        "fusionbench version": __version__,
        "plugin": f"{arm.strategy.registration.distribution} {arm.strategy.registration.version}".strip(),
        "data digest": plan.data_digest,
        "synthetic": str(plan.dataset.synthetic).lower(),
        "random weights": ", ".join(plan.random_weights) or "none",
        "computed in": str(plan.arithmetic),
    }


def _points(rows: pd.DataFrame) -> Iterator[tuple[str, float, int]]:
    for _, row in rows.iterrows():
        step = round(float(row["achieved"]) * 100)
        yield MISSING_PERCENT, float(row["achieved"]) * 100, step
        yield "nominal percent", float(row["rate"]) * 100, step
        for name, value in row.items():
            if name not in OWN_COLUMNS and not str(name).startswith("regret_") and pd.notna(value):
                yield section(str(name)), float(value), step


def _course(trials: pd.DataFrame, arm: Arm) -> Iterator[tuple[str, float, int]]:
    """Yield the best validation score so far; the step is the number of the trial."""
    for trial, score in course_of(trials, arm.title, arm.imputer_name).items():
        yield f"{TUNING}best_so_far", float(score), int(str(trial))


def _epochs(scores: pd.DataFrame, line: Line) -> Iterator[tuple[str, float, int]]:
    """Yield the validation score of each epoch, mean over models; the step is the epoch."""
    mine = scores[scores["trained_at"] == line.variant] if line.variant else scores
    for epoch, score in mean_scores(mine, line.strategy, line.imputer)["score"].items():
        yield f"{EPOCHS}validation_score", float(score), int(str(epoch))


def section(name: str) -> str:
    """Return the metric's name with its section: ends of intervals come after the curves, not among them."""
    return f"uncertainty/{name}" if name.endswith(("_low", "_high")) else f"curves/{name}"


def _scalars_of_modalities(rows: pd.DataFrame | None) -> dict[str, float]:
    """Shapley values and laziness drops; their intervals are in ``modalities.csv``: MLflow makes a chart of every number."""
    if rows is None:
        return {}
    return {
        f"summary/{name}.{legal(row['modality'])}": float(row[name])
        for _, row in rows.iterrows()
        for name in OF_MODALITIES
        if pd.notna(row[name])
    }


def _area_of(rows: pd.DataFrame | None) -> dict[str, float]:
    """How far the mean height of a line's curves lies from the baseline's."""
    return {} if rows is None else {"summary/difference": float(rows["difference"].iloc[0])}


def legal(name: str) -> str:
    """The name with what MLflow refuses in names replaced."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _flat(value: Any) -> dict[str, str]:
    """Parameters as MLflow takes them: names that are legal, texts of a bounded length."""
    found = flattened(value)
    return {legal(k): (json.dumps(v) if isinstance(v, list | tuple) else str(v))[:500] for k, v in found.items()}
