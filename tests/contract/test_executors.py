"""What executors share: a unit that is done whatever happens, and how often it is tried."""

from __future__ import annotations

import pickle

import pytest

from fusionbench import Executor, Message, Problem, Tries, Unit, UnitResult, attempt
from fusionbench.errors import ConfigError, DataError, PluginError, WorkspaceError
from tests.executing import Heard

UNIT = Unit("0123456789ab", "concat / zero, fold 0", ("k",), 3)


def raising(problem):
    def perform(unit, tell):
        raise problem

    return perform


def test_what_comes_of_a_unit_is_returned():
    said = []

    def perform(unit, tell):
        tell(Message(1, "half"))
        return UnitResult(frozenset(unit.models))

    assert attempt(perform, UNIT, said.append) == UnitResult(frozenset({"k"}))
    assert said == [Message(1, "half")]


@pytest.mark.parametrize("problem", [ConfigError("a"), PluginError("a"), DataError("a")])
def test_what_would_be_wrong_everywhere_says_so(problem):
    assert attempt(raising(problem), UNIT, lambda _: None) == Problem("a", everywhere=True)


@pytest.mark.parametrize("problem", [WorkspaceError("the disk is full"), OSError("gone"), MemoryError()])
def test_what_is_of_one_place_may_be_tried_elsewhere(problem):
    found = attempt(raising(problem), UNIT, lambda _: None)
    assert isinstance(found, Problem)
    assert not found.everywhere
    assert pickle.loads(pickle.dumps(found)) == found


def test_an_interruption_is_nobodys_result():
    with pytest.raises(KeyboardInterrupt):
        attempt(raising(KeyboardInterrupt()), UNIT, lambda _: None)


@pytest.mark.parametrize("retries", [0, 2])
def test_a_unit_is_given_up_after_its_last_try(retries):
    heard = Heard()
    tries = Tries(heard, retries)
    assert [tries.again(UNIT, "node", "fire") for _ in range(retries + 1)] == [True] * retries + [False]
    assert heard.lost_units == [(UNIT.name, "fire")] * retries
    assert heard.abandoned == [(UNIT.name, f"lost {retries + 1} times, the last time on node: fire")]


def test_an_executor_is_elsewhere_unless_it_says_otherwise():
    class Plain(Executor):
        def places(self):
            return 3

        def work(self, units, perform, watch):
            raise NotImplementedError

    plain = Plain()
    assert (plain.here, plain.units_each, plain.described()) == (False, 4, "3 at a time")
    assert plain.require() is None
