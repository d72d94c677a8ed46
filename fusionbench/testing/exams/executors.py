"""Checks that hold for executors only, and the units on which they are examined."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from fusionbench.contract.executors import Executor, Message, Tell, Unit, UnitResult
from fusionbench.errors import ConfigError, FusionBenchError
from fusionbench.testing.subjects import Examined

UNITS = tuple(Unit(f"{i:012x}", f"unit {i}", (f"{i:064x}",), 2 * (5 - i)) for i in range(5))


@dataclass(frozen=True)
class Written:
    """Stands for a run's work: each unit leaves a file when it is begun, and does as it is told.

    Args:
        folder: Where; every worker must see it.
        does: By name of a unit: ``fail once``, ``fail always``, ``refuse``, or nothing.
    """

    folder: Path
    does: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        """The folder."""
        return self.folder

    def on(self, device: str) -> Written:
        """Return itself: it computes nothing."""
        return self

    def carrying(self) -> Written:
        """Return itself: it carries all that it needs."""
        return self

    def shares_folder(self) -> bool:
        """Whether the folder is seen."""
        return self.folder.is_dir()

    def __call__(self, unit: Unit, tell: Tell) -> UnitResult:
        """Do as a unit is told."""
        begun = len(list(self.folder.glob(f"{unit.name}.*")))
        (self.folder / f"{unit.name}.{uuid.uuid4().hex}").touch()
        tell(Message())
        tell(Message(1, "half of it"))
        what = self.does.get(unit.name, "")
        if what == "fail always" or (what == "fail once" and begun == 0):
            raise OSError(f"{unit.name} could not be done here")
        if what == "refuse":
            raise ConfigError("another version of a plugin")
        return UnitResult(frozenset(unit.models), {"f": ("a model", "it diverged")}, {"fits/f": b"\x00\xff"}, 1.5)


@dataclass
class Noted:
    """A watch that keeps what it hears."""

    heard_of: set[str] = field(default_factory=set)
    workers: set[str] = field(default_factory=set)
    results: list[tuple[str, UnitResult]] = field(default_factory=list)
    lost_units: list[str] = field(default_factory=list)
    abandoned: dict[str, str] = field(default_factory=dict)

    def heard(self, unit: Unit, worker: str, message: Message) -> None:
        """Keep that a unit was heard of."""
        self.heard_of.add(unit.name)
        self.workers.add(worker)

    def finished(self, unit: Unit, worker: str, result: UnitResult) -> None:
        """Keep the result."""
        self.results.append((unit.name, result))
        self.workers.add(worker)

    def lost(self, unit: Unit, worker: str, reason: str) -> None:
        """Keep that a unit was lost."""
        self.lost_units.append(unit.name)

    def given_up(self, unit: Unit, reason: str) -> None:
        """Keep why a unit was given up."""
        self.abandoned[unit.name] = reason

    @property
    def finished_units(self) -> list[str]:
        """Names of what was finished, in order."""
        return [name for name, _ in self.results]


@dataclass(frozen=True)
class ExecutorSubject(Examined):
    """One executor under examination.

    Args:
        cases: None are used: every executor is given the same units.
    """

    kind: ClassVar[str] = "executor"
    cases: tuple[Any, ...] = ()

    def fresh(self) -> ExecutorSubject:
        """The subject; nothing in it can be changed."""
        return self

    def example(self, **changes: Any) -> Executor:
        """Build the executor, and let it find out whether it can be used."""
        built: Executor = self.plugin(**{**self.options, **changes})
        built.require()
        return built

    def worked(self, units: Sequence[Unit] = UNITS, does: dict[str, str] | None = None) -> tuple[Noted, dict[str, int]]:
        """Have units worked on; return what was heard, and how often each was begun."""
        with tempfile.TemporaryDirectory(prefix="fusionbench-") as folder:
            noted = Noted()
            self.example().work(units, Written(Path(folder), does or {}), noted)
            begun = {unit.name: len(list(Path(folder).glob(f"{unit.name}.*"))) for unit in units}
        return noted, begun


def check_places_are_counted_and_described(subject: ExecutorSubject) -> None:
    """A run makes a few units for each place, and its plan says where they are worked on.

    Mend: return a whole number of at least 1 from ``places()``, and words from ``described()``.
    """
    executor = subject.example()
    places, words = executor.places(), executor.described()
    assert isinstance(places, int), f"places() returned {places!r}"
    assert places >= 1, f"places() returned {places!r}"
    assert isinstance(words, str), f"described() returned {words!r}"
    assert words.strip(), f"described() returned {words!r}"


def check_every_unit_is_finished_once(subject: ExecutorSubject) -> None:
    """A run waits for every unit, and what is done twice is work for nothing.

    Mend: call ``watch.finished`` once for each unit before ``work`` returns, and lose none.
    """
    noted, begun = subject.worked()
    assert sorted(noted.finished_units) == [u.name for u in UNITS], f"finished: {noted.finished_units}"
    assert set(begun.values()) == {1}, f"units were begun {begun} times"
    assert not noted.lost_units, f"units were lost: {noted.lost_units}"
    assert not noted.abandoned, f"units were given up: {noted.abandoned}"


def check_nothing_to_do_is_done_at_once(subject: ExecutorSubject) -> None:
    """A run may have nothing left for others.

    Mend: return from ``work`` when there are no units.
    """
    noted, _ = subject.worked(())
    assert not noted.results, f"finished: {noted.finished_units}"


def check_results_come_back_whole(subject: ExecutorSubject) -> None:
    """Failures are not tried again in the run that hears of them; files hold the results of workers without the run's folder.

    Mend: hand the result that ``perform`` returned to ``watch.finished`` as it is, with its bytes. An executor whose workers all
    share the folder may leave the files out.
    """
    noted, _ = subject.worked(UNITS[:1])
    ((_, result),) = noted.results
    assert result.trained == frozenset(UNITS[0].models), f"trained: {result.trained}"
    assert dict(result.failures) == {"f": ("a model", "it diverged")}, f"failures: {result.failures}"
    assert dict(result.files) in ({}, {"fits/f": b"\x00\xff"}), f"files: {result.files}"


def check_what_workers_say_is_passed_on(subject: ExecutorSubject) -> None:
    """People watch for hours: they are shown who works on what, and how far it is.

    Mend: give ``perform`` a function that brings its messages to ``watch.heard``, with a name for the worker. Some may be lost.
    """
    noted, _ = subject.worked()
    assert noted.heard_of, "no message of any unit was heard"
    assert all(noted.workers), "a worker has no name"


def check_what_fails_in_one_place_is_tried_again(subject: ExecutorSubject) -> None:
    """A full disk or a lost node is of one place: the unit may be done in another.

    Mend: call ``attempt(perform, unit, tell)``, and ask ``Tries.again`` where it returns a :class:`Problem`.
    """
    name = UNITS[2].name
    noted, begun = subject.worked(does={name: "fail once"})
    assert sorted(noted.finished_units) == [u.name for u in UNITS], f"finished: {noted.finished_units}"
    assert begun[name] == 2, f"the unit was begun {begun[name]} times"
    assert name in noted.lost_units, "nobody was told that the unit was lost"


def check_what_fails_everywhere_is_given_up_and_the_others_are_done(subject: ExecutorSubject) -> None:
    """One unit that cannot be done must not keep a run from ending, nor the others from being done.

    Mend: try a unit again so many times and no more, then call ``watch.given_up`` with the last reason.
    """
    name = UNITS[1].name
    noted, _ = subject.worked(does={name: "fail always"})
    others = [u.name for u in UNITS if u.name != name]
    assert sorted(noted.finished_units) == others, f"finished: {noted.finished_units}"
    assert list(noted.abandoned) == [name], f"given up: {noted.abandoned}"
    assert "could not be done here" in noted.abandoned[name], f"the reason is lost: {noted.abandoned[name]!r}"


def check_what_is_wrong_everywhere_ends_the_work(subject: ExecutorSubject) -> None:
    """A worker with another version of a plugin says so; every other place would say the same.

    Mend: where the :class:`Problem` says ``everywhere``, raise a ``ConfigError`` with its text, and stop what is under way.
    """
    said = ""
    try:
        subject.worked(does={u.name: "refuse" for u in UNITS})
    except FusionBenchError as problem:
        said = str(problem) or "nothing"
    assert said, "work() returned as if nothing had happened"
    assert "another version of a plugin" in said, f"the reason is lost: {said}"
