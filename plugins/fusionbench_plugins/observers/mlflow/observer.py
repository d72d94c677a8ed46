"""MLflow: one top-level run for each curve, with the missing percentage as step.

The chart page then draws degradation curves on opening. It shows the newest ten runs, so the curves of the
first pattern are logged last, the best arm last of all; the links of ``fusionbench dashboard`` show one pattern with
all its arms. The part of a name before the slash is its section on the page; sections are sorted: curves, summary,
totals, uncertainty.

Runs are found again by a tag: the same benchmark run twice updates its runs, and never doubles them. MLflow cannot
take points back, so a curve whose numbers changed gets a new run, and the old one goes to the bin with its trials. Only
numbers about whole strategies are logged; nothing about a row, unless ``tracking.predictions`` asks for it.

Every run has small files: its points, its cells, the configuration, versions of packages. The report is large, and
is a file of one run only: the best arm of the first pattern, where the page opens.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import fusionbench
from fusionbench import hookimpl
from fusionbench.config.sections import Benchmark
from fusionbench.errors import WorkspaceError, without_secrets
from fusionbench.keys import digest
from fusionbench.store.files import to_standard_error, write_atomically
from fusionbench.store.workspace import Workspace
from fusionbench.tracking.curves import Curve, curves_of
from fusionbench.tracking.views import views_of
from fusionbench_plugins.observers.mlflow.asking import problem_with
from fusionbench_plugins.observers.mlflow.database import file_of, is_half_made, put_half_made_away
from fusionbench_plugins.observers.mlflow.process import Elsewhere, TrackingProblem
from fusionbench_plugins.observers.mlflow.revision import revision_of
from fusionbench_plugins.observers.mlflow.writing import REPORT, Here, Place, Tracker, alone

if TYPE_CHECKING:
    from fusionbench.records import RunPlan, RunSummary


class MlflowTracker:
    """Logs curves to an MLflow tracking server, or to a SQLite file in the workspace.

    Args:
        config: The resolved configuration; ``tracking.uri`` names a server.
        workspace: Folder of the run.
    """

    def __init__(self, config: Benchmark, workspace: Path) -> None:
        self._config = config
        folders = Workspace(workspace)
        self._database = folders.database.absolute()
        self.uri = config.tracking.uri or f"sqlite:///{self._database}"
        own = config.tracking.uri is None
        tracked = folders.results.tracked
        self._place = Place(self.uri, str(self._database) if own else None, str(tracked))
        self._marker = tracked / f"{digest([config.name, self.uri])}.json"
        self._known = self._remembered()  # before MLflow makes its database
        self._tracker: Tracker | None = None
        self._work: dict[str, Any] | None = None
        self._wanted: dict[str, str] = {}
        self._first = ""

    @hookimpl
    def fusionbench_run_started(self, plan: RunPlan) -> None:
        """Let MLflow get ready in a process of its own, where training takes a while anyway.

        Raises:
            WorkspaceError: Nothing could be logged when it has ended.
        """
        self._put_half_made_away()
        if self._config.tracking.uri is not None and plan.todo:
            problem = problem_with(self._place)
            if problem is not None:
                raise WorkspaceError(
                    f"MLflow at {self.uri} cannot be used: {problem}\n"
                    "  nothing was trained; start the server, install what is missing, mend 'tracking.uri', or leave "
                    "'mlflow' out of 'observers'"
                )
        self._tracker = Elsewhere(self._place) if plan.to_train and "mlflow" not in sys.modules else None

    @hookimpl
    def fusionbench_report_sections(self, summary: RunSummary) -> None:
        """Find out what is new, and hand it to the other process; the report is drawn meanwhile."""
        curves = list(curves_of(summary))
        self._wanted = {c.key: c.content for c in curves}
        self._first = curves[0].key if curves else ""
        new = [c for c in curves if self._known.get(c.key) != c.content]
        self._work = _work(new, summary) if new else None
        if self._tracker is not None and self._work is not None:
            self._tracker.log(self._work)
            self._work = None

    @hookimpl(trylast=True)  # the report is written before, wherever it stands in the list of observers
    def fusionbench_run_finished(self, summary: RunSummary) -> None:
        """Log what is not handed over yet, and wait until all is there."""
        report = summary.files.get("report.html") if self._first else None
        if report is not None:
            self._wanted[REPORT] = digest(report.read_text(encoding="utf-8"))
        with self._said():
            if self._work is not None:
                self._begun().log(self._work)
            if report is not None and self._known.get(REPORT) != self._wanted[REPORT]:
                self._begun().log_report(_report(summary, report, self._wanted[REPORT], self._first))
            if self._tracker is not None:
                self._tracker.close()
        self._work = self._tracker = None
        self._remember({**self._known, **self._wanted})

    def _put_half_made_away(self) -> None:
        file = file_of(self.uri)
        if file is None or not is_half_made(file):
            return
        with alone(self._place):
            aside = put_half_made_away(file)
        if aside is not None:
            to_standard_error(
                f"warning: {file} was not finished or is damaged; set aside as {aside.name}, and made again"
            )

    def _begun(self) -> Tracker:
        if self._tracker is None:  # nothing is imported or opened before something is new: that takes seconds
            self._tracker = Here(self._place)
        return self._tracker

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Say what MLflow raises, whichever process it was in."""
        try:
            yield
        except Exception as problem:
            raise WorkspaceError(
                f"MLflow at {self.uri} did not take the results: {_in_words(problem)}\n"
                "  they are stored; run again to log them, or leave 'mlflow' out of 'observers'"
            ) from problem

    def _remembered(self) -> dict[str, str]:
        """Hashes of what is logged already, by curve."""
        file = file_of(self.uri)
        if file is not None and (not file.exists() or is_half_made(file)):
            return {}
        try:
            known: dict[str, str] = json.loads(self._marker.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}  # what it says wrongly is logged once more

    def _remember(self, known: dict[str, str]) -> None:
        if known != self._known:
            self._marker.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._marker, json.dumps(known).encode())
        self._known = known


def _in_words(problem: Exception) -> str:
    return str(problem) if isinstance(problem, TrackingProblem) else f"{type(problem).__name__}: {problem}"


# --------------------------------------------------------------------------------------------
# what is handed over


def _work(curves: Sequence[Curve], summary: RunSummary) -> dict[str, Any]:
    """Return curves and what they share as plain data; the best one last, where the page shows it first."""
    return {
        "experiment": _experiment(summary),
        "dataset": _data_set(summary.plan),
        "tags": _revisions(summary.plan),
        "files": _coded({name: text.encode() for name, text in _shared_files(summary.plan.benchmark).items()}),
        "curves": [_plain(curve) for curve in reversed(curves)],
    }


def _plain(curve: Curve) -> dict[str, Any]:
    return {
        "key": curve.key,
        "content": curve.content,
        "name": curve.name,
        "metrics": [*curve.points, *((name, value, 0) for name, value in curve.scalars.items())],
        "params": curve.params,
        "tags": curve.tags,
        "files": _coded(curve.files()),
        "trials": [asdict(trial) for trial in curve.trials],
    }


def _coded(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


def _experiment(summary: RunSummary) -> dict[str, Any]:
    plan = summary.plan
    answer = "".join(f"{sentence}\n\n" for sentence in summary.answer.sentences) if summary.answer else ""
    ribbons = "".join(f"**{r}**\n\n" for r in plan.ribbons)
    tags = {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": f"{ribbons}{plan.benchmark.question}\n\n"
        f"{answer}"
        "One run is one degradation curve; *missing percent* is the share of what is there that was really hidden, *nominal "
        "percent* the rate in the benchmark file. "
        "The report is an artifact of the best strategy's run of the first pattern.",
    }
    return {"name": plan.benchmark.name, "tags": {**tags, **views_of(plan.benchmark.missingness.patterns)}}


def _report(summary: RunSummary, file: Path, content: str, first: str) -> dict[str, Any]:
    return {"experiment": _experiment(summary), "file": str(file.absolute()), "content": content, "first": first}


def _data_set(plan: RunPlan) -> dict[str, str]:
    """Which data were used: name, digest and counts; no content, and no path of it."""
    data = plan.dataset
    source = {"fusionbench.task": plan.benchmark.task.name, "description": data.description}
    profile = {
        "rows": len(data),
        "modalities": {n: int(data.available[:, i].sum()) for i, n in enumerate(data.modalities)},
    }
    return {
        "name": plan.benchmark.task.name,
        "digest": data.digest[:32],
        "source": json.dumps({"tags": source}),
        "profile": json.dumps(profile),
    }


def _revisions(plan: RunPlan) -> dict[str, str]:
    """Git revisions of the benchmark file's folder and of this package, each where there is one.

    They say where a curve came from and are no part of its content: a commit alone makes no new run.
    """
    tags: dict[str, str] = {}
    if plan.file is not None and (found := revision_of(plan.file.absolute())) is not None:
        tags |= {"mlflow.source.git.commit": found.commit, "uncommitted changes": str(found.dirty).lower()}
    own = revision_of(Path(fusionbench.__file__))
    if own is not None and own.tracked:  # an installed copy may lie in somebody else's repository
        tags["fusionbench revision"] = str(own)
    return tags


def _shared_files(config: Benchmark) -> dict[str, str]:
    """Files that every run gets: the configuration without addresses of servers, and versions of packages."""
    from fusionbench.report import about

    resolved = without_secrets(config.model_dump(mode="json", exclude=about.NOT_SHOWN))
    return {
        "config.yaml": yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True),
        "environment.json": json.dumps(about.environment(), indent=1),
    }
