"""Helpers for tests of executors: one that works in this process, and what equal runs leave equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fusionbench import Executor, Message, Perform, Problem, Tries, Unit, UnitResult, Watch, attempt
from fusionbench.errors import ConfigError
from fusionbench.run.executors.placed import Placed
from tests.front import TOY

TUNED: dict[str, Any] = {
    "strategies": ["sum", "concat"],
    "splits": {"folds": 3, "seeds": [0, 1]},
    "tuning": {"trials": 2, "common": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}},
}


class InThisProcess(Executor):
    """Works on units here, one after the other.

    Args:
        carried: Whether it pretends not to share the run's folder.
        before: Called with each unit before it is done; what it returns stands for the result.
        retries: How often a unit is tried again.
        places: How many it says it works on at a time.
    """

    def __init__(
        self,
        carried: bool = False,
        before: Callable[[Unit], UnitResult | Problem | None] = lambda _: None,
        retries: int = 1,
        places: int = 1,
    ) -> None:
        self._carried, self._before, self._retries, self._places = carried, before, retries, places
        self.done: list[Unit] = []

    def places(self) -> int:
        return self._places

    def work(self, units: Sequence[Unit], perform: Perform, watch: Watch) -> None:
        assert perform.shares_folder()
        perform, tries = (perform.carrying() if self._carried else perform).on("cpu"), Tries(watch, self._retries)
        waiting = list(units)
        while waiting:
            unit = waiting.pop(0)
            result = self._before(unit) or attempt(perform, unit, lambda m, u=unit: watch.heard(u, "here", m))
            if isinstance(result, UnitResult):
                self.done.append(unit)
                watch.finished(unit, "here", result)
            elif result.everywhere:
                raise ConfigError(result.text)
            elif tries.again(unit, "here", result.text):
                waiting.append(unit)


class OfThisMachine(InThisProcess):
    """The same, and the run does what is left."""

    here = True


def placed(executor: Executor, plugins: Sequence[str] = ()) -> Placed:
    """Return an executor as a run of the toy benchmark uses it."""
    return Placed(executor, [TOY, *plugins], (), lambda location: f"toy.yaml: {'.'.join(map(str, location))}: ")


def all_tables(workspace: Path, name: str = "toy") -> dict[str, bytes]:
    """Return the bytes of every table but the ledger, which says how long things took."""
    found = (workspace / "reports" / name).glob("*.csv")
    return {path.name: path.read_bytes() for path in found if path.name != "ledger.csv"}


class Heard:
    """Keeps what is said of units."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.lost_units: list[tuple[str, str]] = []
        self.abandoned: list[tuple[str, str]] = []
        self.results: dict[str, UnitResult] = {}
        self.workers: dict[str, str] = {}

    def heard(self, unit: Unit, worker: str, message: Message) -> None:
        self.messages.append(message)

    def finished(self, unit: Unit, worker: str, result: UnitResult) -> None:
        assert unit.name not in self.results, "a unit was finished twice"
        self.results[unit.name], self.workers[unit.name] = result, worker

    def lost(self, unit: Unit, worker: str, reason: str) -> None:
        self.lost_units.append((unit.name, reason))

    def given_up(self, unit: Unit, reason: str) -> None:
        self.abandoned.append((unit.name, reason))
