"""Files by which work in a queue and the run that waits for it hear of each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fusionbench import Message, Problem, Unit, UnitResult
from fusionbench.progress import Best
from fusionbench.store.files import write_atomically


@dataclass(frozen=True)
class Desk:
    """Files by which elements and the run hear of each other; whole from the moment that they have their names.

    Args:
        folder: Theirs.
    """

    folder: Path

    def _path(self, unit: str, what: str) -> Path:
        return self.folder / f"{unit}.{what}.json"

    def say(self, unit: str, worker: str, number: int, message: Message) -> None:
        """Write what an element says; it is told from what it said before by its number, not by a clock."""
        content = {"worker": worker, "number": number, **asdict(message)}
        self._write(unit, "said", content)

    def said(self, unit: str) -> tuple[str, int, Message] | None:
        """Return who works on a unit, the number of what is said, and that."""
        found = self._read(unit, "said")
        if found is None:
            return None
        best = None if found["best"] is None else Best(**found["best"])
        return found["worker"], found["number"], Message(found["done"], found["note"], best, found["line"])

    def end(self, unit: str, worker: str, outcome: UnitResult | Problem) -> None:
        """Write what came of a unit."""
        if isinstance(outcome, Problem):
            self._write(unit, "ended", {"worker": worker, "problem": asdict(outcome)})
        else:
            plain = {"trained": sorted(outcome.trained), "failures": dict(outcome.failures), "seconds": outcome.seconds}
            self._write(unit, "ended", {"worker": worker, "result": plain})

    def ended(self, unit: str) -> tuple[str, UnitResult | Problem] | None:
        """Return what came of a unit; None: nothing yet."""
        found = self._read(unit, "ended")
        if found is None:
            return None
        if "problem" in found:
            return found["worker"], Problem(**found["problem"])
        plain = found["result"]
        failures = {key: (name, reason) for key, (name, reason) in plain["failures"].items()}
        return found["worker"], UnitResult(frozenset(plain["trained"]), failures, seconds=plain["seconds"])

    def submitted(self, unit: Unit, job: str, order: str) -> None:
        """Write which job a unit has, so that a run that is started again finds it."""
        self._write(unit.name, "job", {"job": job, "order": order, "models": sorted(unit.models)})

    def job(self, unit: str) -> Mapping[str, Any] | None:
        """Return the job that was submitted for a unit, in this run or in one before."""
        return self._read(unit, "job")

    def units(self) -> list[str]:
        """Names of all units that have a job."""
        return [path.name.split(".")[0] for path in self.folder.glob("*.job.json")]

    def clear(self, unit: str) -> None:
        """Forget a unit."""
        for what in ("said", "ended", "job"):
            self._path(unit, what).unlink(missing_ok=True)

    def _write(self, unit: str, what: str, content: Mapping[str, Any]) -> None:
        write_atomically(self._path(unit, what), json.dumps(content).encode())

    def _read(self, unit: str, what: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._path(unit, what).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return None  # a file that is being shown; it is read again in a moment
        return found
