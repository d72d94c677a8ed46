"""The MLflow page of a workspace: started on this machine only, warmed, with links to the charts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from urllib.request import Request, urlopen

from fusionbench.errors import WorkspaceError
from fusionbench.store.workspace import Workspace
from fusionbench.tracking.views import MOST, pages_of

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # eight more processes that wait for jobs of a kind that no benchmark has
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
APP = "fusionbench"
"""The entry point of the group ``mlflow.app`` that serves MLflow's pages without a panel over them."""
SAID_EVERY_SECONDS = 30.0
ANSWER_SECONDS = 60.0
BENCHMARKS = 1000  # experiments of one page


def serve(workspace: Path, port: int, say: Callable[[str], None], wait: float | None = None) -> int:
    """Serve the workspace's MLflow store on loopback until interrupted or told to end.

    Args:
        workspace: Folder of the runs.
        port: Where to listen; 0 picks a free one.
        say: Called with each line for the user.
        wait: Seconds after which to give up where the server does not answer; None: never while it is alive.

    Returns:
        The server's exit code; 0 when it was interrupted.

    Raises:
        WorkspaceError: Nothing is tracked there, or the server does not start.
    """
    database = Workspace(workspace).database.absolute()
    if not database.exists():
        raise WorkspaceError(f"{database}: nothing is tracked there yet; run a benchmark, or name another --workspace")
    try:
        with server(database, port or free_port(), say, wait) as running:
            _say_links(running, say)
            say(f"each link draws the curves of one pattern, the best arm first (at most {MOST}); press Ctrl-C to stop")
            return running.process.wait()
    except KeyboardInterrupt:
        return 0


def _say_links(running: Server, say: Callable[[str], None]) -> None:
    try:
        links = running.links()
    except (OSError, ValueError, KeyError) as problem:  # it answers late, or its database is damaged
        say(f"its benchmarks could not be asked for ({type(problem).__name__}); the page itself: {running.address}")
        return
    for name, address in links:
        say(f"{name}: {address}")


class Server:
    """A server that is running.

    Args:
        process: Its process.
        port: Where it listens.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.address = process, f"http://127.0.0.1:{port}"
        self.port = port

    def wait(self, say: Callable[[str], None] = lambda _: None, longest: float | None = None) -> None:
        """Wait until it listens, however long that takes on a busy machine, or so many seconds.

        Raises:
            WorkspaceError: It has ended, or takes longer.
        """
        begun, told = time.monotonic(), 0
        while True:
            if self.process.poll() is not None:
                code = self.process.returncode
                raise WorkspaceError(f"the MLflow server stopped with code {code}; is port {self.port} taken?")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
            waited = time.monotonic() - begun
            if longest is not None and waited > longest:
                raise WorkspaceError(
                    f"the MLflow server did not answer on port {self.port} within {longest:g} s; wait longer with --wait, or "
                    "without it for as long as it is alive"
                )
            if waited // SAID_EVERY_SECONDS > told:
                told = int(waited // SAID_EVERY_SECONDS)
                say(f"it is still starting, after {waited:.0f} s; a machine that is busy takes its time")

    def links(self) -> list[tuple[str, str]]:
        """Return each benchmark's name, with the pattern where there are several, and the address of its charts."""
        found = []
        for e in self._experiments():
            pages = list(pages_of(e["experiment_id"], {t["key"]: t["value"] for t in e.get("tags", [])}))
            found += [
                (f"{e['name']} ({pattern})" if len(pages) > 1 else e["name"], self.address + page)
                for pattern, page in pages
            ]
        return found

    def warm(self) -> None:
        """Ask for what the page asks for: the server imports and reads much of it at the first request only."""
        try:
            number = next((e["experiment_id"] for e in self._experiments()), None)
        except (OSError, ValueError):
            return
        if number is None:
            return
        query = "query Q($input: MlflowGetExperimentInput!) { mlflowGetExperiment(input: $input) { __typename } }"
        charts = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?metric_key=curves%2Fauroc&max_results=320"
        with suppress(OSError):  # another version may lack one of them: then its page does not ask for it
            self._get("/")
        with suppress(OSError):
            self._get("/ajax-api/3.0/mlflow/assistant/providers")
        with suppress(OSError):
            self._post("/graphql", {"query": query, "variables": {"input": {"experimentId": number}}})
        with suppress(OSError):
            self._post("/ajax-api/2.0/mlflow/logged-models/search", {"experiment_ids": [number]})
        with suppress(OSError):
            found = self._post("/ajax-api/2.0/mlflow/runs/search", {"experiment_ids": [number], "max_results": 10})
            self._get(charts + "".join(f"&run_ids={r['info']['run_id']}" for r in found.get("runs", [])))

    def _experiments(self) -> list[dict[str, Any]]:
        found = self._post("/ajax-api/2.0/mlflow/experiments/search", {"max_results": BENCHMARKS})
        return [e for e in found.get("experiments", []) if e["name"] != "Default"]

    def _post(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        return dict(json.loads(self._open(Request(self.address + path, json.dumps(content).encode(), headers))))  # noqa: S310 - our own server

    def _get(self, path: str) -> bytes:
        return self._open(Request(self.address + path))  # noqa: S310 - our own server

    def _open(self, request: Request) -> bytes:
        with urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - our own server
            content: bytes = answer.read()
        return content


@contextmanager
def server(database: Path, port: int, say: Callable[[str], None], wait: float | None = None) -> Iterator[Server]:
    """Start MLflow's server on a database, wait until its pages open quickly, and stop it afterwards."""
    say("starting the MLflow server")
    begun = time.monotonic()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    if entry_points(group="mlflow.app", name=APP):  # an installation that was not renewed has none
        command += ["--app-name", APP]
    environment = {**ENVIRONMENT, **os.environ}
    # a session of its own: an interrupt reaches the server once, from here
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        with _told_to_end():
            running = Server(process, port)
            running.wait(say, wait)
            say(f"it listens after {time.monotonic() - begun:.0f} s; asking for what the page will ask for")
            running.warm()
            say(f"ready after {time.monotonic() - begun:.0f} s")
            yield running
    finally:
        _stop(process)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Take a request to end (SIGTERM) like Ctrl-C, so that the server does not outlive this process."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
