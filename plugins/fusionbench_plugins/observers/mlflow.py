"""MLflow: one top-level run for each curve, with the missing percentage as step.

The chart page then draws degradation curves on opening. Runs are found again by a tag: the same
benchmark run twice updates its runs, and never doubles them. Only numbers about whole strategies are
logged; nothing about a row.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fusionbench import __version__, hookimpl
from fusionbench.analysis import CEILING
from fusionbench.config import Benchmark
from fusionbench.errors import WorkspaceError
from fusionbench.hookspecs import Register
from fusionbench.keys import digest
from fusionbench.results import write_atomically

if TYPE_CHECKING:
    from fusionbench.runner import RunSummary

PARAMS_PER_CALL, METRICS_PER_CALL = 90, 900  # MLflow takes 100 and 1000
OWN_COLUMNS = ("strategy", "imputer", "variant", "pattern", "rate")
SCALARS = ("area", "area_low", "area_high", "regret", "seconds", "epochs", "parameters", "trials")


@dataclass(frozen=True)
class Curve:
    """What is logged for one run."""

    key: str
    name: str
    points: list[tuple[str, float, int]]
    scalars: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]

    @property
    def content(self) -> str:
        """Hash of the numbers; a run with another one is brought up to date."""
        scalars = {k: v for k, v in self.scalars.items() if k != "seconds"}
        return digest([self.points, scalars, self.params, self.tags])


class MlflowTracker:
    """Logs curves to an MLflow tracking server, or to a SQLite file in the workspace.

    Args:
        config: The resolved configuration; ``tracking.uri`` names a server.
        workspace: Folder of the run.
    """

    def __init__(self, config: Benchmark, workspace: Path) -> None:
        self._config, self._workspace = config, workspace
        self._database = (workspace / "mlflow.db").absolute()
        self.uri = config.tracking.uri or f"sqlite:///{self._database}"
        self._marker = workspace / "results" / "tracked" / f"{digest([config.name, self.uri])}.json"

    @hookimpl
    def fusionbench_run_finished(self, summary: RunSummary) -> None:
        """Log what is new."""
        curves = list(_curves(summary))
        known = self._known()
        if all(known.get(c.key) == c.content for c in curves):
            return  # nothing changed: MLflow takes seconds to import
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        try:
            self._log([c for c in curves if known.get(c.key) != c.content], summary)
        except Exception as problem:
            raise WorkspaceError(
                f"MLflow at {self.uri} did not take the results: {type(problem).__name__}: {problem}\n"
                "  they are stored; run again to log them, or leave 'mlflow' out of 'observers'"
            ) from problem
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._marker, json.dumps({**known, **{c.key: c.content for c in curves}}).encode())

    def _known(self) -> dict[str, str]:
        if self._config.tracking.uri is None and not self._database.exists():
            return {}
        try:
            known: dict[str, str] = json.loads(self._marker.read_text())
        except (OSError, json.JSONDecodeError):
            return {}
        return known

    def _log(self, curves: list[Curve], summary: RunSummary) -> None:
        from mlflow.entities import ViewType
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        experiment = self._experiment(client, summary)
        runs = client.search_runs([experiment], run_view_type=ViewType.ACTIVE_ONLY, max_results=10_000)
        existing = {r.data.tags.get("fusionbench.curve"): r for r in runs}
        for curve in curves:
            old = existing.get(curve.key)
            if old is not None and old.data.tags.get("fusionbench.content") == curve.content:
                continue
            if old is not None:
                client.delete_run(old.info.run_id)  # its points changed; MLflow cannot take points back
            self._log_curve(client, experiment, curve, summary)

    def _experiment(self, client: Any, summary: RunSummary) -> str:
        plan = summary.plan
        found = client.get_experiment_by_name(plan.benchmark.name)
        if found is not None:
            return str(found.experiment_id)
        artifacts = None
        if self._config.tracking.uri is None:
            artifacts = (self._workspace / "mlartifacts").absolute().as_uri()
        ribbons = "".join(f"**{r}**\n\n" for r in plan.ribbons)
        return str(
            client.create_experiment(
                plan.benchmark.name,
                artifact_location=artifacts,
                tags={
                    "mlflow.experimentKind": "custom_model_development",
                    "mlflow.note.content": f"{ribbons}{plan.benchmark.question}\n\n"
                    "One run is one degradation curve; the step is the missing percentage.",
                },
            )
        )

    def _log_curve(self, client: Any, experiment: str, curve: Curve, summary: RunSummary) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

        now = int(time.time() * 1000)
        run = client.create_run(experiment, run_name=curve.name, start_time=now)
        metrics = [Metric(n, v, now, step) for n, v, step in curve.points]
        metrics += [Metric(n, v, now, 0) for n, v in curve.scalars.items()]
        params = [Param(k, v) for k, v in curve.params.items()]
        tags = [RunTag(k, v) for k, v in {**curve.tags, "fusionbench.content": curve.content}.items()]
        data = summary.plan.dataset
        entity = Dataset(summary.plan.benchmark.task.name, data.digest[:32], "fusionbench", data.description or "task")
        client.log_inputs(run.info.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "evaluation")])])
        for i in range(0, max(len(metrics), 1), METRICS_PER_CALL):
            client.log_batch(run.info.run_id, metrics[i : i + METRICS_PER_CALL], tags=tags if i == 0 else ())
        for i in range(0, len(params), PARAMS_PER_CALL):
            client.log_batch(run.info.run_id, params=params[i : i + PARAMS_PER_CALL])
        client.log_text(run.info.run_id, _points_csv(curve), "curve.csv")
        client.set_terminated(run.info.run_id)


def _curves(summary: RunSummary) -> Iterator[Curve]:
    plan, tables = summary.plan, summary.tables
    shared = _flat(plan.benchmark.model_dump(mode="json", exclude={"strategies", "imputers", "observers", "tracking"}))
    arms = {(a.title, a.imputer_name): a for a in plan.arms}
    by = ["strategy", "imputer", "variant", "pattern"]
    for (strategy, imputer, variant, pattern), rows in tables.curves.groupby(by, sort=False):
        if strategy == CEILING:
            continue
        arm = arms[str(strategy), str(imputer)]
        trained = f" trained at {variant}" if variant else ""
        own = _flat({"strategy": arm.strategy.identity, "imputer": arm.imputer.identity})
        yield Curve(
            key=digest(
                [plan.benchmark.name, plan.data_digest, str(strategy), str(imputer), str(variant), str(pattern)]
            ),
            name=f"{strategy} / {imputer} / {pattern}{trained}",
            points=list(_points(rows)),
            scalars=_scalars(tables.leaderboard, str(strategy), str(imputer), str(variant)),
            params={**shared, **own, "pattern": str(pattern)},
            tags={
                "fusionbench.curve": digest(
                    [plan.benchmark.name, plan.data_digest, str(strategy), str(imputer), str(variant), str(pattern)]
                ),
                "fusionbench.version": __version__,
                "strategy": str(strategy),
                "imputer": str(imputer),
                "pattern": str(pattern),
                "plugin": f"{arm.strategy.registration.distribution} {arm.strategy.registration.version}".strip(),
                "data_digest": plan.data_digest,
                "synthetic": str(plan.dataset.synthetic).lower(),
                "random_weights": ", ".join(plan.random_weights) or "none",
            },
        )


def _points(rows: pd.DataFrame) -> Iterator[tuple[str, float, int]]:
    for _, row in rows.iterrows():
        step = round(float(row["rate"]) * 100)
        for name, value in row.items():
            if name not in OWN_COLUMNS and pd.notna(value):
                yield str(name), float(value), step


def _scalars(leaderboard: pd.DataFrame, strategy: str, imputer: str, variant: str) -> dict[str, float]:
    found = leaderboard[
        (leaderboard["strategy"] == strategy)
        & (leaderboard["imputer"] == imputer)
        & (leaderboard["trained_at"] == variant)
    ]
    names = [n for n in SCALARS if n in found and pd.notna(found[n].iloc[0])]
    # 'regret' is also a curve: the scalar is its mean
    return {("regret_mean" if n == "regret" else n): float(found[n].iloc[0]) for n in names}


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}{key}.").items()}
    text = json.dumps(value) if isinstance(value, list | tuple) else str(value)
    return {prefix.rstrip("."): text[:500]}


def _points_csv(curve: Curve) -> str:
    return "metric,value,missing_percent\n" + "".join(f"{n},{v!r},{s}\n" for n, v, s in curve.points)


@hookimpl
def register_observers(register: Register) -> None:
    """Register ``mlflow``."""
    register("mlflow", MlflowTracker)
