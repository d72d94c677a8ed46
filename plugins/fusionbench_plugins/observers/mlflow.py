"""MLflow: one top-level run for each curve, with the missing percentage as step.

The chart page then draws degradation curves on opening. It shows the newest ten runs, so the curves of the
first pattern are logged last, the best arm last of all. The part of a
name before the slash is its section on the page; sections are sorted: curves, summary, totals, uncertainty.

Runs are found again by a tag: the same benchmark run twice updates its runs, and never doubles them. MLflow cannot
take points back, so a curve whose numbers changed gets a new run, and the old one goes to the bin with its trials. Only
numbers about whole strategies are logged; nothing about a row.

Every run has small files: its points, its cells, the configuration, versions of packages. The report is large, and
is a file of one run only: the best arm of the first pattern, where the page opens.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from fusionbench import __version__, hookimpl
from fusionbench.analysis import model_of
from fusionbench.config import Benchmark
from fusionbench.errors import WorkspaceError
from fusionbench.hookspecs import Register
from fusionbench.keys import digest
from fusionbench.plan import COMPLETE
from fusionbench.results import Store, write_atomically

if TYPE_CHECKING:
    from fusionbench.plan import Arm, FitJob
    from fusionbench.runner import RunPlan, RunSummary

PARAMS_PER_CALL, METRICS_PER_CALL = 90, 900  # MLflow takes 100, 1000, and 1000 together
RUNS_PER_PAGE = 5000
# arms are logged by themselves, and addresses of servers may hold passwords
NOT_LOGGED: Any = {"strategies": True, "imputers": True, "observers": True, "tracking": True, "tuning": {"storage"}}
OWN_COLUMNS = ("strategy", "imputer", "variant", "pattern", "rate")
TIMINGS = ("seconds", "tuning_seconds", "memory_mb")  # differ between equal runs
LEDGER = ("models", "trials", "tuning_epochs", "epochs", "rows", "parameters", *TIMINGS)
SCALARS = ("area", "area_low", "area_high", "regret", *LEDGER)
OF_MODALITIES = ("shapley", "laziness")
CURVE, CONTENT, REPORT, PARENT = "fusionbench.curve", "fusionbench.content", "fusionbench.report", "mlflow.parentRunId"
Line = tuple[str, str, str, str]
"""Strategy, imputer, condition of the training rows in a grid, pattern: what a curve is of."""


@dataclass(frozen=True)
class Trial:
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
    trials: tuple[Trial, ...] = ()

    @cached_property
    def content(self) -> str:
        """Hash of the numbers; a run with another one is brought up to date."""
        timings = {f"totals/{n}" for n in TIMINGS}
        scalars = {k: v for k, v in self.scalars.items() if k not in timings}
        trials = [[t.name, t.params, t.metrics, t.failure] for t in self.trials]
        return digest([self.points, scalars, self.params, self.tags, self.cells.to_csv(index=False), trials])


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

    @hookimpl(trylast=True)  # the report is written before, wherever it stands in the list of observers
    def fusionbench_run_finished(self, summary: RunSummary) -> None:
        """Log what is new."""
        curves = list(_curves(summary))
        wanted = {c.key: c.content for c in curves}
        report = summary.files.get("report.html") if curves else None
        if report is not None:
            wanted[REPORT] = digest(report.read_text(encoding="utf-8"))
        known = self._known()
        if all(known.get(key) == content for key, content in wanted.items()):
            return  # nothing changed: MLflow takes seconds to import
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        try:
            new = [c for c in curves if known.get(c.key) != wanted[c.key]]
            runs = self._log(new, summary)
            if report is not None:
                self._log_report(runs, curves[0].key, report, wanted[REPORT])
        except Exception as problem:
            raise WorkspaceError(
                f"MLflow at {self.uri} did not take the results: {type(problem).__name__}: {problem}\n"
                "  they are stored; run again to log them, or leave 'mlflow' out of 'observers'"
            ) from problem
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._marker, json.dumps({**known, **wanted}).encode())

    def _known(self) -> dict[str, str]:
        if self._config.tracking.uri is None and not self._database.exists():
            return {}
        try:
            known: dict[str, str] = json.loads(self._marker.read_text())
        except (OSError, json.JSONDecodeError):
            return {}
        return known

    def _log(self, curves: list[Curve], summary: RunSummary) -> dict[str, Any]:
        """Log curves, the best one last; return what is known of the run of each by its key: id and tags."""
        client = self._client()
        experiment = self._experiment(client, summary)
        found = list(_all_runs(client, experiment))
        runs = {r.data.tags[CURVE]: (r.info.run_id, r.data.tags) for r in found if CURVE in r.data.tags}
        trials: dict[str, list[str]] = {}
        for run in found:
            trials.setdefault(run.data.tags.get(PARENT, ""), []).append(run.info.run_id)
        files = _shared_files(self._config)
        for curve in reversed(curves):
            old, tags = runs.get(curve.key, (None, {}))
            if tags.get(CONTENT) == curve.content:
                continue
            if old is not None:
                for run_id in (*trials.get(old, ()), old):
                    client.delete_run(run_id)
            runs[curve.key] = (self._log_curve(client, experiment, curve, summary, files), {})
        return runs

    def _log_report(self, runs: Mapping[str, Any], first: str, report: Path, content: str) -> None:
        """Put the report on the first curve's run, and bring it up to date where it is on another one."""
        client = self._client()
        for key, (run_id, tags) in runs.items():
            if (key == first or REPORT in tags) and tags.get(REPORT) != content:
                client.log_artifact(run_id, str(report))
                client.set_tag(run_id, REPORT, content)

    def _client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def _experiment(self, client: Any, summary: RunSummary) -> str:
        plan = summary.plan
        ribbons = "".join(f"**{r}**\n\n" for r in plan.ribbons)
        tags = {
            "mlflow.experimentKind": "custom_model_development",
            "mlflow.note.content": f"{ribbons}{plan.benchmark.question}\n\n"
            "One run is one degradation curve; the step is the missing percentage. "
            "The report is an artifact of the best strategy's run of the first pattern.",
        }
        found = client.get_experiment_by_name(plan.benchmark.name)
        if found is not None:
            for name, value in tags.items():
                if found.tags.get(name) != value:
                    client.set_experiment_tag(found.experiment_id, name, value)
            return str(found.experiment_id)
        own = self._config.tracking.uri is None
        artifacts = (self._workspace / "mlartifacts").absolute().as_uri() if own else None
        return str(client.create_experiment(plan.benchmark.name, artifact_location=artifacts, tags=tags))

    def _log_curve(
        self, client: Any, experiment: str, curve: Curve, summary: RunSummary, files: Mapping[str, str]
    ) -> str:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        run = client.create_run(experiment, now, {**curve.tags, CURVE: curve.key}, curve.name)
        run_id = str(run.info.run_id)
        metrics = [Metric(n, v, now, step) for n, v, step in curve.points]
        metrics += [Metric(n, v, now, 0) for n, v in curve.scalars.items()]
        client.log_inputs(run_id, [_dataset(summary.plan)])
        _log_numbers(client, run_id, metrics, curve.params)
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**files, "curve.csv": _points_csv(curve)}.items():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            curve.cells.to_parquet(Path(folder) / "cells.parquet", index=False)
            client.log_artifacts(run_id, folder)
        for trial in curve.trials:
            _log_trial(client, experiment, run_id, trial)
        # last: a run that was cut short has no content that it could be taken for, and is replaced
        client.set_tag(run_id, CONTENT, curve.content)
        client.set_terminated(run_id)
        return run_id


def _all_runs(client: Any, experiment: str) -> Iterator[Any]:
    from mlflow.entities import ViewType

    token: str | None = None
    while True:
        page = client.search_runs([experiment], "", ViewType.ACTIVE_ONLY, RUNS_PER_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _log_numbers(client: Any, run_id: str, metrics: list[Any], params: Mapping[str, str]) -> None:
    """Log everything in as few calls as the server takes."""
    from mlflow.entities import Param

    entities = [Param(k, v) for k, v in params.items()]
    for i in range(max(-(-len(metrics) // METRICS_PER_CALL), -(-len(entities) // PARAMS_PER_CALL))):
        client.log_batch(
            run_id,
            metrics[i * METRICS_PER_CALL : (i + 1) * METRICS_PER_CALL],
            entities[i * PARAMS_PER_CALL : (i + 1) * PARAMS_PER_CALL],
        )


def _log_trial(client: Any, experiment: str, parent: str, trial: Trial) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    tags = {PARENT: parent, **({"failure": trial.failure[:5000]} if trial.failure else {})}
    run_id = client.create_run(experiment, now, tags, trial.name).info.run_id
    metrics = {**trial.metrics, "trial/seconds": trial.seconds}
    _log_numbers(client, run_id, [Metric(n, v, now, 0) for n, v in metrics.items()], trial.params)
    client.set_terminated(run_id, "FAILED" if trial.failure else "FINISHED")


def _dataset(plan: RunPlan) -> Any:
    """Which data were used: name, digest and counts; no content, and no path of it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = plan.dataset
    source = {"fusionbench.task": plan.benchmark.task.name, "description": data.description}
    profile = {
        "rows": len(data),
        "modalities": {n: int(data.available[:, i].sum()) for i, n in enumerate(data.modalities)},
    }
    entity = Dataset(
        plan.benchmark.task.name, data.digest[:32], "code", json.dumps({"tags": source}), profile=json.dumps(profile)
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "evaluation")])


def _shared_files(config: Benchmark) -> dict[str, str]:
    """Files that every run gets: the configuration without addresses of servers, and versions of packages."""
    from fusionbench.report import about

    resolved = config.model_dump(mode="json", exclude=about.NOT_SHOWN)
    return {
        "config.yaml": yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True),
        "environment.json": json.dumps(about.environment(), indent=1),
    }


# --------------------------------------------------------------------------------------------
# from a summary to curves


def _curves(summary: RunSummary) -> Iterator[Curve]:
    """Yield every curve: pattern by pattern, the best arm first."""
    plan = summary.plan
    shared = _flat(plan.benchmark.model_dump(mode="json", exclude=NOT_LOGGED))
    arms = {(a.title, a.imputer_name): a for a in plan.arms}
    rows_of = _grouped(summary.tables.curves, ["strategy", "imputer", "variant", "pattern"])
    cells_of = _grouped(summary.tables.cells, ["strategy", "imputer"])
    modalities_of = _grouped(summary.tables.modalities, ["strategy", "imputer", "variant"])
    trials_of = _trials(plan) if plan.benchmark.tracking.trials else {}
    for pattern in plan.benchmark.missingness.patterns:
        for _, line in summary.tables.leaderboard.iterrows():
            strategy, imputer, variant = str(line["strategy"]), str(line["imputer"]), str(line["trained_at"])
            rows = rows_of.get((strategy, imputer, variant, pattern))
            if rows is None:
                continue
            arm = arms[strategy, imputer]
            own = _flat({"strategy": arm.strategy.identity, "imputer": arm.imputer.identity})
            trained = f" trained at {variant}" if variant else ""
            yield Curve(
                key=digest([plan.benchmark.name, plan.data_digest, strategy, imputer, variant, pattern]),
                name=f"{strategy} / {imputer} / {pattern}{trained}",
                points=list(_points(rows)),
                scalars=_scalars(line) | _scalars_of_modalities(modalities_of.get((strategy, imputer, variant))),
                params={**shared, **own, "pattern": pattern},
                tags=_tags(plan, arm) | {"strategy": strategy, "imputer": imputer, "pattern": pattern},
                cells=_cells(cells_of[strategy, imputer], variant, pattern),
                trials=tuple(trials_of.get((strategy, imputer, variant, pattern), ())),
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


def _trials(plan: RunPlan) -> dict[Line, list[Trial]]:
    """Trials of sealed studies by curve; a study that several curves share is shown under the first of them."""
    store, found = Store(plan.workspace / "results"), dict[Line, list[Trial]]()
    for study, line in _first_curves(plan).items():
        content = store.sealed_study(study) or {"trials": []}
        found.setdefault(line, []).extend(_trial(content["fold"], t) for t in content["trials"])
    return found


def _first_curves(plan: RunPlan) -> dict[str, Line]:
    patterns = list(plan.benchmark.missingness.patterns)
    places: dict[str, tuple[int, Line]] = {}
    for fit in plan.fits:
        for place, line in _lines(fit, patterns, plan.benchmark.missingness.where):
            places[fit.study] = min((place, line), places.get(fit.study, (len(patterns), line)), key=lambda p: p[0])
    return {study: line for study, (_, line) in places.items()}


def _lines(fit: FitJob, patterns: list[str], where: str) -> Iterator[tuple[int, Line]]:
    """Yield the curves that a model has points on, each with the place of its pattern."""
    for condition in fit.points:
        model = model_of(fit, condition, where)
        place = patterns.index(model.point.pattern) if model.point.pattern in patterns else 0
        yield place, (model.strategy, model.imputer, model.variant, patterns[place])


def _trial(fold: int, trial: Mapping[str, Any]) -> Trial:
    metrics = {"trial/epochs": float(trial["epochs"])}
    if trial["score"] is not None:
        metrics["trial/validation"] = float(trial["score"])
    return Trial(
        name=f"fold {fold}, trial {trial['number']}",
        params=_flat({"fold": fold, "trial": trial["number"], **trial["params"]}),
        metrics=metrics,
        seconds=float(trial["seconds"]),
        failure=trial["failure"],
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


def _scalars_of_modalities(rows: pd.DataFrame | None) -> dict[str, float]:
    """Shapley values and laziness drops, with the ends of their intervals where the other ends are."""
    if rows is None:
        return {}
    return {
        f"{'uncertainty' if end else 'summary'}/{name}.{_legal(row['modality'])}{end}": float(row[f"{name}{end}"])
        for _, row in rows.iterrows()
        for name in OF_MODALITIES
        for end in ("", "_low", "_high")
        if pd.notna(row[f"{name}{end}"])
    }


def _legal(name: str) -> str:
    """The name with what MLflow refuses in names replaced."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}{key}.").items()}
    text = json.dumps(value) if isinstance(value, list | tuple) else str(value)
    return {_legal(prefix.rstrip(".")): text[:500]}


def _points_csv(curve: Curve) -> str:
    return "metric,value,missing_percent\n" + "".join(f"{n},{v!r},{s}\n" for n, v, s in curve.points)


@hookimpl
def register_observers(register: Register) -> None:
    """Register ``mlflow``."""
    register("mlflow", MlflowTracker)
