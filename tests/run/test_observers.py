"""Observers are told in the order of the benchmark file, and one that fails is named."""

from __future__ import annotations

import pytest

from fusionbench import hookimpl
from fusionbench.contract.blocks import Section
from fusionbench.errors import PluginError, WorkspaceError
from fusionbench.run.observers import Observers


class Noting:
    """Writes down that it was told, and returns a section."""

    def __init__(self, name, heard):
        self.name, self.heard = name, heard

    @hookimpl
    def fusionbench_run_started(self, plan):
        self.heard.append((self.name, plan))

    @hookimpl
    def fusionbench_report_sections(self, summary):
        return [Section(self.name, [])]


class Raising:
    """Fails with what it was made with."""

    def __init__(self, problem):
        self.problem = problem

    @hookimpl
    def fusionbench_run_started(self, plan):
        raise self.problem


def test_observers_are_told_and_answer_in_their_order():
    heard = []
    observers = Observers([Noting(n, heard) for n in "abc"])
    observers.tell("fusionbench_run_started", plan="the plan")
    assert heard == [("a", "the plan"), ("b", "the plan"), ("c", "the plan")]
    assert [s.title for (s,) in observers.tell("fusionbench_report_sections", summary=None)] == ["a", "b", "c"]


def test_a_hook_that_nobody_has_returns_nothing():
    assert Observers([]).tell("fusionbench_run_started", plan=None) == []
    assert Observers([Noting("a", [])]).tell("fusionbench_run_finished", summary=None) == []


def test_an_observer_that_raises_ends_the_run_after_the_ones_before_it():
    heard = []
    with pytest.raises(PluginError) as caught:
        Observers([Noting("a", heard), Raising(KeyError("x")), Noting("c", heard)]).tell(
            "fusionbench_run_started", plan=1
        )
    said = str(caught.value)
    assert said.startswith("an observer failed in fusionbench_run_started: KeyError: 'x' (test_observers.py:")
    assert said.endswith("  results are stored; run again when it is mended, or leave it out of 'observers'")
    assert isinstance(caught.value.__cause__, KeyError)
    assert heard == [("a", 1)]


def test_messages_of_the_house_and_interruptions_pass_through():
    for problem in (WorkspaceError("the disk is full"), KeyboardInterrupt()):
        with pytest.raises(type(problem)) as caught:
            Observers([Raising(problem)]).tell("fusionbench_run_started", plan=None)
        assert caught.value is problem


def test_each_run_has_observers_of_its_own():
    heard = []
    Observers([Noting("a", heard)])
    Observers([]).tell("fusionbench_run_started", plan=None)
    assert heard == []
