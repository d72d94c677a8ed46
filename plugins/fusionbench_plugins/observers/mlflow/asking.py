"""Asking a tracking server before anything is trained: is it there, does it answer, is its driver installed?"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final
from urllib.parse import urlsplit

from fusionbench_plugins.observers.mlflow.writing import Place

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0
PORTS: Final = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
PATIENCE: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}
"""What MLflow is told here: by itself it tries for minutes."""


def problem_with(place: Place) -> str | None:
    """Say why runs cannot be logged to a server; None where they can.

    The library is imported in another process: that takes seconds and can be given up.
    """
    unreachable = _unreachable(place.uri)
    if unreachable is not None:
        return unreachable
    module = __spec__.name.rpartition(".")[0] + ".process"
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-P", "-W", "ignore", "-m", module, "--ask"],
            input=json.dumps(asdict(place)).encode() + b"\n",
            capture_output=True,
            timeout=ANSWER_SECONDS,
            check=False,
            env={**PATIENCE, **os.environ},
        )
    except subprocess.TimeoutExpired:
        return f"it did not answer within {ANSWER_SECONDS:.0f} s"
    lines = done.stdout.splitlines()
    answer: Mapping[str, str] = json.loads(lines[-1]) if lines else {"problem": _last(done.stderr)}
    return answer.get("problem")


def _last(said: bytes) -> str:
    return (said.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]


def _unreachable(uri: str) -> str | None:
    """Say that nobody listens at an address; None where somebody does, or where only MLflow can tell."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as problem:
        return f"the address cannot be read: {problem}"
    port = port or PORTS.get(parts.scheme.partition("+")[0])
    if not host or port is None or any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return None
    except OSError as problem:
        return f"nobody answers at {host}, port {port}: {problem.strerror or type(problem).__name__}"
