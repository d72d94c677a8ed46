"""MLflow in a process of its own, which gets ready while models are trained and logs while the report is drawn.

MLflow takes a second of processor time and more to import, and as long to make an empty database; a thread would take
both from the training, which holds the interpreter too. The process is handed lines of JSON on its standard input:
where runs go, then work. When the input ends it answers with one line. So it also ends where the run is killed, and
finishes what it was handed before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

from fusionbench_plugins.observers.mlflow.writing import Here, Place


class Elsewhere:
    """Logs in a second process, which gets ready while this one trains.

    Args:
        place: Where runs go.
    """

    def __init__(self, place: Place) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process writes to it
        # -P: a folder called mlflow beside the user is not MLflow. A session of its own: Ctrl-C stops the training,
        # and what is trained is still logged
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-P", "-W", "ignore", "-m", __spec__.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )
        self._leave = weakref.finalize(self, _end, self._process, self._said)
        self._send(asdict(place))

    def log(self, work: Mapping[str, Any]) -> None:
        """Hand curves over."""
        self._send({"log": work})

    def log_report(self, report: Mapping[str, Any]) -> None:
        """Hand the place of the report over."""
        self._send({"log_report": report})

    def close(self) -> None:
        """Wait until all is there.

        Raises:
            TrackingProblem: The other process could not log.
        """
        out, _ = self._process.communicate()
        lines = out.splitlines()
        answer = json.loads(lines[-1]) if lines else {"problem": self._last_words()}
        self._leave()
        if "problem" in answer:
            raise TrackingProblem(answer["problem"])

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; its answer says why
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
        return f"the process that logs ended with code {self._process.returncode}: {lines[-1]}"


class TrackingProblem(Exception):  # noqa: N818 - it carries the words of another process's error
    """What went wrong in the process that logs, in its own words."""


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    """Let the process end by itself: it finishes what it was handed when its input ends."""
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
    said.close()


def serve(lines: IO[bytes], answer: IO[bytes]) -> int:
    """Read where runs go, get ready, and log what follows until the input ends; answer with one line of JSON."""
    try:
        first = lines.readline()
        if first:
            tracker = Here(Place(**json.loads(first)))
            tracker.ready()
            takes = {"log": tracker.log, "log_report": tracker.log_report}
            for line in lines:
                for what, content in json.loads(line).items():
                    takes[what](content)
    except Exception as problem:  # noqa: BLE001 - whatever it is, it is said where the run is
        answer.write(json.dumps({"problem": f"{type(problem).__name__}: {problem}"}).encode() + b"\n")
        return 1
    answer.write(b'{"done": true}\n')
    return 0


def ask(lines: IO[bytes], answer: IO[bytes]) -> int:
    """Read where runs go, and answer with one line of JSON whether they can be logged there."""
    try:
        Here(Place(**json.loads(lines.readline()))).ready()
    except Exception as problem:  # noqa: BLE001 - whatever it is, it is said where the run is
        words = str(problem).strip().split("\n", 1)[0]
        answer.write(json.dumps({"problem": f"{type(problem).__name__}: {words}"}).encode() + b"\n")
        return 1
    answer.write(b'{"done": true}\n')
    return 0


def main() -> None:
    """Serve the process that started this one."""
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)  # what libraries print is no answer
        code = (ask if "--ask" in sys.argv else serve)(sys.stdin.buffer, answer)
    sys.exit(code)


if __name__ == "__main__":
    main()
