"""The MLflow page of a workspace: started on this machine only, with links to the charts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fusionbench.errors import WorkspaceError

START_SECONDS = 60.0


def serve(workspace: Path, port: int, say: Callable[[str], None]) -> int:
    """Serve the workspace's MLflow store on loopback until interrupted.

    Args:
        workspace: Folder of the runs.
        port: Where to listen; 0 picks a free one.
        say: Called with each line for the user.

    Returns:
        The server's exit code; 0 when it was interrupted.

    Raises:
        WorkspaceError: Nothing is tracked there, or the server does not start.
    """
    database = (workspace / "mlflow.db").absolute()
    if not database.exists():
        raise WorkspaceError(f"{database}: nothing is tracked there yet; run a benchmark, or name another --workspace")
    port = port or _free_port()
    uri = f"sqlite:///{database}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", **os.environ}
    # a session of its own: an interrupt reaches the server once, from here
    server = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait(server, port)
        for name, address in links(uri, port):
            say(f"{name}: {address}")
        say("press Ctrl-C to stop")
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(server)


def links(uri: str, port: int) -> list[tuple[str, str]]:
    """Return each benchmark's name and the address of its chart page."""
    from mlflow.tracking import MlflowClient

    page = f"http://127.0.0.1:{port}/#/experiments/{{}}/runs?compareRunsMode=CHART"
    found = MlflowClient(tracking_uri=uri).search_experiments()
    return [(e.name, page.format(e.experiment_id)) for e in found if e.name != "Default"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise WorkspaceError(f"the MLflow server stopped with code {server.returncode}; is port {port} taken?")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise WorkspaceError(f"the MLflow server did not answer on port {port} within {START_SECONDS:.0f} s")


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
