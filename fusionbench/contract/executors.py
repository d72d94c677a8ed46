"""Who does the work of a run elsewhere: in other processes, on other machines.

An executor is given *units*: models by their keys, with the search that they need. It decides where each one is worked on, how
many at a time, and what becomes of one whose worker is lost. It never looks into a unit and never changes a result: a unit is
done by calling :class:`Perform` somewhere, what it finishes is stored under its keys at once, and one that is done twice costs
nothing. Nobody but the executor knows of machines, queues or clouds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from fusionbench.contract.isolation import reason_of
from fusionbench.contract.options import Configured
from fusionbench.errors import FusionBenchError, WorkspaceError
from fusionbench.progress import Best


@dataclass(frozen=True)
class Unit:
    """Models that are worked on in one place, one after the other or together.

    Args:
        name: Twelve hexadecimal digits that follow from the keys: the same models make the same name.
        title: In words: the line of the tables, and how many models.
        models: Keys of the models.
        steps: How many models it trains, those of its searches included; what its progress is counted in.
    """

    name: str
    title: str
    models: tuple[str, ...]
    steps: int


@dataclass(frozen=True)
class Message:
    """What is said while a unit is worked on.

    Args:
        done: Steps of the unit so far.
        note: What is worked on; nothing about a row.
        best: The best model so far, by validation rows.
        line: A line that stays on the screen; empty: none.
    """

    done: float = 0.0
    note: str = ""
    best: Best | None = None
    line: str = ""


Tell = Callable[[Message], None]
"""Hears what is said while a unit is worked on; it may lose messages, and never raises."""


@dataclass(frozen=True)
class UnitResult:
    """What came of a unit.

    Args:
        trained: Keys of the models that were trained and stored.
        failures: By key of a model or a search that failed, its name and the reason: it is not tried again in this run.
        files: What was stored, by its path in the result store, where the worker does not share the run's folder; else nothing.
        seconds: What it took.
    """

    trained: frozenset[str] = frozenset()
    failures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0


class Perform(Protocol):
    """Does a unit in the process that calls it; can be pickled, by whatever carries it there."""

    @property
    def workspace(self) -> Path:
        """The run's folder."""

    def __call__(self, unit: Unit, tell: Tell) -> UnitResult:
        """Train and score what is not stored of a unit, and store it.

        The first unit of a process opens the prepared data, the next ones go on with them.

        Raises:
            FusionBenchError: This place is not like the one that the run was started in (another plugin, another version), or
                its folder cannot be written. No other unit can be done here either.
        """

    def on(self, device: str) -> Perform:
        """Return the same work on a device: ``cpu``, ``cuda:1``. Without it, each place takes its best device."""

    def carrying(self) -> Perform:
        """Return the same work with the prepared data in it, for places that do not share the run's folder; it may be large."""

    def shares_folder(self) -> bool:
        """Whether the process that asks sees the run's folder."""


class Watch(Protocol):
    """Hears, in the run's own process, what becomes of units; every unit ends with :meth:`finished` or :meth:`given_up`."""

    def heard(self, unit: Unit, worker: str, message: Message) -> None:
        """A worker says how far a unit is."""

    def finished(self, unit: Unit, worker: str, result: UnitResult) -> None:
        """A unit is done."""

    def lost(self, unit: Unit, worker: str, reason: str) -> None:
        """The worker of a unit is gone; the unit is tried again."""

    def given_up(self, unit: Unit, reason: str) -> None:
        """A unit is not tried again in this run."""


class Executor(Configured, ABC):
    """Has units worked on; registered by ``register_executors``.

    The constructor takes the options of ``execution`` in the benchmark file, or of the command line, as keyword arguments. It
    must be cheap and may refuse (``ValueError``). None of it enters the key of a result.

    Attributes:
        units_each: How many units are made for each place.
        here: Whether workers are processes of this machine. Then the run itself does what they leave undone; a run whose workers
            are elsewhere does not train on the machine that it is started on, and says what is missing.
    """

    here: ClassVar[bool] = False
    units_each: int = 4

    def require(self) -> None:
        """Find out whether it can be used at all: called once, before any data are read.

        Raises:
            ConfigError: A package or a program lacks, or nobody answers; with what to install or to start.
        """

    @abstractmethod
    def places(self) -> int:
        """Return how many units are worked on at a time, as far as is known now; units are made so that each gets several."""

    def described(self) -> str:
        """Return in words where units are worked on, for the plan: ``2 processes of this machine``."""
        return f"{self.places()} at a time"

    @abstractmethod
    def work(self, units: Sequence[Unit], perform: Perform, watch: Watch) -> None:
        """Have every unit worked on, and return when each is finished or given up.

        Args:
            units: The largest first.
            perform: What does one, wherever it is called.
            watch: Hears of it, in this thread.

        Raises:
            FusionBenchError: What a unit raised, where no other could be done either; or the engine cannot be used any more.
            KeyboardInterrupt: As it comes; workers are stopped first, so that none is left behind.
        """


# --------------------------------------------------------------------------------------------
# what most executors need


@dataclass(frozen=True)
class Problem:
    """Why a unit could not be done; plain data, where an exception might not survive the way back.

    Args:
        text: What happened.
        everywhere: Whether no other place could do better: a plugin that differs, an option that is wrong.
    """

    text: str
    everywhere: bool


def attempt(perform: Perform, unit: Unit, tell: Tell) -> UnitResult | Problem:
    """Do a unit in this process, and return what came of it whatever happens."""
    try:
        return perform(unit, tell)
    except FusionBenchError as problem:
        # a full disk or a lock are of one place, and of one moment
        return Problem(str(problem), everywhere=not isinstance(problem, WorkspaceError))
    except Exception as problem:  # noqa: BLE001 - whatever it is, it is said where the run is
        return Problem(reason_of(problem), everywhere=False)


class Tries:
    """Counts how often each unit was lost, and says so.

    Args:
        watch: Hears of it.
        retries: How often a unit is tried again.
    """

    def __init__(self, watch: Watch, retries: int) -> None:
        self._watch, self._retries = watch, retries
        self._lost: dict[str, int] = {}

    def again(self, unit: Unit, worker: str, reason: str) -> bool:
        """Say that a unit was lost; return whether it is to be tried again, else it is given up."""
        times = self._lost[unit.name] = self._lost.get(unit.name, 0) + 1
        if times <= self._retries:
            self._watch.lost(unit, worker, reason)
            return True
        self._watch.given_up(unit, f"lost {times} times, the last time on {worker}: {reason}")
        return False
