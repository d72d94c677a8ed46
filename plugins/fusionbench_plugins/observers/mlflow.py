"""MLflow: one top-level run for each curve, with the missing percentage as step.

The chart page then draws degradation curves on opening. It shows the newest ten runs, so the curves of the
first pattern are logged last, the best arm last of all. The part of a
name before the slash is its section on the page; sections are sorted: curves, summary, totals, uncertainty.

Runs are found again by a tag: the same benchmark run twice updates its runs, and never doubles them. Only
numbers about whole strategies are logged; nothing about a row.
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
from fusionbench.config import Benchmark
from fusionbench.errors import WorkspaceError
from fusionbench.hookspecs import Register
from fusionbench.keys import digest
from fusionbench.results import write_atomically

if TYPE_CHECKING:
    from fusionbench.plan import Arm
    from fusionbench.runner import RunPlan, RunSummary

PARAMS_PER_CALL, METRICS_PER_CALL = 90, 900  # MLflow takes 100 and 1000
# arms are logged by themselves, and addresses of servers may hold passwords
NOT_LOGGED: Any = {"strategies": True, "imputers": True, "observers": True, "tracking": True, "tuning": {"storage"}}
OWN_COLUMNS = ("strategy", "imputer", "variant", "pattern", "rate")
LEDGER = ("trials", "epochs", "parameters", "seconds")
SCALARS = ("area", "area_low", "area_high", "regret", *LEDGER)


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
        scalars = {k: v for k, v in self.scalars.items() if k != "totals/seconds"}
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
        for curve in reversed(curves):
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
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        now = int(time.time() * 1000)
        first = {**curve.tags, "fusionbench.curve": curve.key}
        run = client.create_run(experiment, run_name=curve.name, start_time=now, tags=first)
        metrics = [Metric(n, v, now, step) for n, v, step in curve.points]
        metrics += [Metric(n, v, now, 0) for n, v in curve.scalars.items()]
        params = [Param(k, v) for k, v in curve.params.items()]
        data = summary.plan.dataset
        entity = Dataset(summary.plan.benchmark.task.name, data.digest[:32], "fusionbench", data.description or "task")
        client.log_inputs(run.info.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "evaluation")])])
        for i in range(0, len(metrics), METRICS_PER_CALL):
            client.log_batch(run.info.run_id, metrics[i : i + METRICS_PER_CALL])
        for i in range(0, len(params), PARAMS_PER_CALL):
            client.log_batch(run.info.run_id, params=params[i : i + PARAMS_PER_CALL])
        client.log_text(run.info.run_id, _points_csv(curve), "curve.csv")
        # last: a run that was cut short has no content that it could be taken for, and is replaced
        client.set_tag(run.info.run_id, "fusionbench.content", curve.content)
        client.set_terminated(run.info.run_id)


def _curves(summary: RunSummary) -> Iterator[Curve]:
    """Yield every curve: pattern by pattern, the best arm first."""
    plan, curves = summary.plan, summary.tables.curves
    shared = _flat(plan.benchmark.model_dump(mode="json", exclude=NOT_LOGGED))
    arms = {(a.title, a.imputer_name): a for a in plan.arms}
    for pattern in plan.benchmark.missingness.patterns:
        for _, line in summary.tables.leaderboard.iterrows():
            strategy, imputer, variant = str(line["strategy"]), str(line["imputer"]), str(line["trained_at"])
            mine = (curves["strategy"] == strategy) & (curves["imputer"] == imputer) & (curves["variant"] == variant)
            rows = curves[mine & (curves["pattern"] == pattern)]
            if len(rows) == 0:
                continue
            arm = arms[strategy, imputer]
            own = _flat({"strategy": arm.strategy.identity, "imputer": arm.imputer.identity})
            trained = f" trained at {variant}" if variant else ""
            yield Curve(
                key=digest([plan.benchmark.name, plan.data_digest, strategy, imputer, variant, pattern]),
                name=f"{strategy} / {imputer} / {pattern}{trained}",
                points=list(_points(rows)),
                scalars=_scalars(line),
                params={**shared, **own, "pattern": pattern},
                tags=_tags(plan, arm) | {"strategy": strategy, "imputer": imputer, "pattern": pattern},
            )


def _tags(plan: RunPlan, arm: Arm) -> dict[str, str]:
    return {
        "fusionbench.version": __version__,
        "plugin": f"{arm.strategy.registration.distribution} {arm.strategy.registration.version}".strip(),
        "data_digest": plan.data_digest,
        "synthetic": str(plan.dataset.synthetic).lower(),
        "random_weights": ", ".join(plan.random_weights) or "none",
    }


def _points(rows: pd.DataFrame) -> Iterator[tuple[str, float, int]]:
    for _, row in rows.iterrows():
        step = round(float(row["rate"]) * 100)
        for name, value in row.items():
            if name not in OWN_COLUMNS and pd.notna(value):
                yield _section(str(name)), float(value), step


def _section(name: str) -> str:
    """Return the metric's name with its section: ends of intervals come after the curves, not among them."""
    return f"uncertainty/{name}" if name.endswith(("_low", "_high")) else f"curves/{name}"


def _scalars(line: pd.Series) -> dict[str, float]:
    names = [n for n in SCALARS if n in line and pd.notna(line[n])]
    return {f"{'totals' if n in LEDGER else 'summary'}/{n}": float(line[n]) for n in names}


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
