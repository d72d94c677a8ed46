"""Everything that talks to MLflow: logs curves that it is handed as plain data.

Order of writing, so that a run that was cut short is never taken for a whole one: run, data set, files, trials, numbers
with the hash of the content, end. One writer is at a workspace at a time; the system lets go of the lock when it dies.
"""

from __future__ import annotations

import base64
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fusionbench.offline import disable_telemetry
from fusionbench.store.files import Folder
from fusionbench.store.workspace import Workspace
from fusionbench.tracking.describing import LINK, NOTE
from fusionbench_plugins.observers.mlflow.database import file_of, made, write_ahead

PARAMS_PER_CALL, METRICS_PER_CALL = 90, 900  # MLflow takes 100, 1000, and 1000 together
RUNS_PER_PAGE = 5000
# names that begin with "mlflow." are not shown to people
CURVE, CONTENT, REPORT = (f"mlflow.fusionbench.{name}" for name in ("curve", "content", "report"))
PARENT = "mlflow.parentRunId"
OLD_CURVE = "fusionbench.curve"  # of runs that versions before 0.2 logged
LOCK = "writing"
Metrics = Sequence[tuple[str, float, int]]
"""Name, value, step."""


@dataclass(frozen=True)
class Place:
    """Where runs go.

    Args:
        uri: Address of the tracking server, or of the database file.
        database: The workspace's own database file; None: a server's, whose files are its own too.
        folder: Where the workspace remembers what is logged; one writer is at it at a time.
    """

    uri: str
    database: str | None
    folder: str

    @property
    def artifacts(self) -> str | None:
        """Where the files of our own database lie."""
        return None if self.database is None else Workspace(Path(self.database).parent).artifacts.as_uri()


class Tracker(Protocol):
    """What takes runs."""

    def log(self, work: Mapping[str, Any]) -> None:
        """Log curves; ``work`` holds ``experiment``, ``dataset``, ``tags``, ``files`` and ``curves``, the first one last."""

    def log_report(self, report: Mapping[str, Any]) -> None:
        """Put the report, ``file`` with the hash ``content``, on the run of the curve ``first`` of ``experiment``."""

    def close(self) -> None:
        """Wait until all is there; raises what went wrong."""


@dataclass(frozen=True)
class _Known:
    """What is known of the run of a curve."""

    run_id: str
    artifacts: str
    tags: Mapping[str, str]
    status: str


class Here:
    """Logs in this process.

    Args:
        place: Where runs go.
    """

    def __init__(self, place: Place) -> None:
        disable_telemetry()
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        from mlflow.tracking import MlflowClient

        self._place, self._runs = place, dict[str, _Known]()
        file = file_of(place.uri)
        if file is not None:
            with alone(place):
                made(file, place.artifacts)
                if place.database is not None:
                    write_ahead(file)
        self._client = MlflowClient(tracking_uri=place.uri)

    def ready(self) -> None:
        """Ask for one experiment: what is needed for it is then imported and opened."""
        self._client.search_experiments(max_results=1)

    def log(self, work: Mapping[str, Any]) -> None:
        """Log the curves that are not there yet, in their order."""
        with alone(self._place):
            experiment = self._experiment(work["experiment"])
            trials = self._look_up(experiment)
            for curve in work["curves"]:
                old = self._runs.get(curve["key"])
                if old is not None and old.tags.get(CONTENT) == curve["content"]:
                    if old.status == "RUNNING":  # cut short after its last number
                        self._client.set_terminated(old.run_id)
                    continue
                if old is not None:
                    for run_id in (*trials.get(old.run_id, ()), old.run_id):
                        self._client.delete_run(run_id)
                self._runs[curve["key"]] = self._log_curve(experiment, curve, work)

    def log_report(self, report: Mapping[str, Any]) -> None:
        """Put the report on the first curve's run, bring it up to date where it is on another one, and link to it."""
        file = Path(report["file"])
        with alone(self._place):
            if not self._runs:  # no curve was new
                self._look_up(self._experiment(report["experiment"]))
            for key, run in self._runs.items():
                wanted = key == report["first"] or REPORT in run.tags
                if wanted and run.tags.get(REPORT) != report["content"]:
                    self._put(run.run_id, run.artifacts, {file.name: file.read_bytes()})
                    self._client.set_tag(run.run_id, REPORT, report["content"])
            self._link(report, file.name)

    def _link(self, report: Mapping[str, Any], name: str) -> None:
        """Let the description of every curve lead to the report, which lies on the run of the first one."""
        first = self._runs.get(report["first"])
        if first is None:
            return
        experiment = self._experiment(report["experiment"])
        address = f"#/experiments/{experiment}/runs/{first.run_id}/artifacts/{name}"
        for run in self._runs.values():
            said = run.tags.get(NOTE)
            wanted = f"{said.partition(LINK)[0]}{LINK}({address})" if said else said
            if said != wanted:
                self._client.set_tag(run.run_id, NOTE, wanted)

    def close(self) -> None:
        """Do nothing: all is there."""

    def _experiment(self, wanted: Mapping[str, Any]) -> str:
        found = self._client.get_experiment_by_name(wanted["name"])
        if found is None:
            artifacts = self._place.artifacts
            made = self._client.create_experiment(wanted["name"], artifact_location=artifacts, tags=wanted["tags"])
            return str(made)
        for name, value in wanted["tags"].items():
            if found.tags.get(name) != value:
                self._client.set_experiment_tag(found.experiment_id, name, value)
        return str(found.experiment_id)

    def _look_up(self, experiment: str) -> dict[str, list[str]]:
        """Learn what is logged already; return the ids of trials by that of their curve."""
        trials: dict[str, list[str]] = {}
        for run in _all_runs(self._client, experiment):
            tags, info = run.data.tags, run.info
            if CURVE in tags or OLD_CURVE in tags:
                self._runs[tags.get(CURVE) or tags[OLD_CURVE]] = _Known(
                    info.run_id, info.artifact_uri, tags, info.status
                )
            elif PARENT in tags:
                trials.setdefault(tags[PARENT], []).append(info.run_id)
        return trials

    def _log_curve(self, experiment: str, curve: Mapping[str, Any], work: Mapping[str, Any]) -> _Known:
        tags = {**curve["tags"], **work["tags"], CURVE: curve["key"]}
        run = self._client.create_run(experiment, _now(), tags, curve["name"]).info
        self._client.log_inputs(run.run_id, [_data_set(work["dataset"])])
        files = {name: base64.b64decode(content) for name, content in {**work["files"], **curve["files"]}.items()}
        self._put(run.run_id, run.artifact_uri, files)
        for trial in curve["trials"]:
            self._log_trial(experiment, run.run_id, trial)
        self._log_numbers(run.run_id, curve["metrics"], curve["params"], {CONTENT: curve["content"]})
        self._client.set_terminated(run.run_id)
        return _Known(run.run_id, run.artifact_uri, tags, "FINISHED")

    def _put(self, run_id: str, address: str, files: Mapping[str, bytes]) -> None:
        """Write a run's files; straight into its folder, where that is on this machine."""
        parts = urlsplit(address)
        if parts.scheme == "file" and not parts.netloc:
            _write(Path(url2pathname(parts.path)), files)
            return
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), files)
            self._client.log_artifacts(run_id, folder)

    def _log_numbers(
        self, run_id: str, metrics: Metrics, params: Mapping[str, str], tags: Mapping[str, str] | None = None
    ) -> None:
        """Log everything in as few calls as the server takes; tags come with the last one."""
        from mlflow.entities import Metric, Param, RunTag

        now = _now()
        numbers = [Metric(name, value, now, step) for name, value, step in metrics]
        words = [Param(k, v) for k, v in params.items()]
        calls = max(-(-len(numbers) // METRICS_PER_CALL), -(-len(words) // PARAMS_PER_CALL), 1)
        for i in range(calls):
            last = [RunTag(k, v) for k, v in (tags or {}).items()] if i == calls - 1 else []
            self._client.log_batch(
                run_id,
                numbers[i * METRICS_PER_CALL : (i + 1) * METRICS_PER_CALL],
                words[i * PARAMS_PER_CALL : (i + 1) * PARAMS_PER_CALL],
                last,
            )

    def _log_trial(self, experiment: str, parent: str, trial: Mapping[str, Any]) -> None:
        tags = {PARENT: parent, **({"failure": trial["failure"][:5000]} if trial["failure"] else {})}
        run_id = self._client.create_run(experiment, _now(), tags, trial["name"]).info.run_id
        metrics = {**trial["metrics"], "trial/seconds": trial["seconds"]}
        self._log_numbers(run_id, [(n, v, 0) for n, v in metrics.items()], trial["params"])
        self._client.set_terminated(run_id, "FAILED" if trial["failure"] else "FINISHED")


def _now() -> int:
    return int(time.time() * 1000)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _data_set(found: Mapping[str, str]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entity = Dataset(found["name"], found["digest"], "code", found["source"], profile=found["profile"])
    return DatasetInput(entity, [InputTag("mlflow.data.context", "evaluation")])


def _all_runs(client: Any, experiment: str) -> Iterator[Any]:
    from mlflow.entities import ViewType

    token: str | None = None
    while True:
        page = client.search_runs([experiment], "", ViewType.ACTIVE_ONLY, RUNS_PER_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def alone(place: Place) -> AbstractContextManager[None]:
    """Wait until no other process writes for this workspace: one that was left by a killed run may still be at it."""
    return _alone(Path(place.folder))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with Folder(folder).held(LOCK, waits=lambda: None):
        yield
