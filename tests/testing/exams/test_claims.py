"""Strategies that say something wrong about themselves."""

from __future__ import annotations

import pytest

from fusionbench import Provenance
from fusionbench.testing.exams.claims import CornerTrial
from tests.testing.exams.good import Good, expect_found_out, failures, status


class NamesItsHyperParameterOtherwise(Good):
    def __init__(self, spec, strength=0.5):
        super().__init__(spec)
        self.hyper("power", strength)


class SuggestsAnUnknownOption(Good):
    @classmethod
    def search_space(cls, trial):
        return {"depth": trial.suggest_int("depth", 1, 2)}


class HasNoProvenance(Good):
    """Documented, but from nowhere."""

    provenance = None


class SaysWhatItSearches(Good):
    """One number that may differ inside a population, and one choice."""

    def __init__(self, spec, strength=0.5, mode="one"):
        super().__init__(spec)
        self.hyper("strength", strength)

    @classmethod
    def search_space(cls, trial):
        return {
            "strength": trial.suggest_float("strength", 0.1, 0.9),
            "mode": trial.suggest_categorical("mode", ["one", "other"]),
        }


WRONG = [
    (NamesItsHyperParameterOtherwise, "hyper_parameters_are_constructor_arguments"),
    (SuggestsAnUnknownOption, "search_space_gives_constructor_arguments"),
    (HasNoProvenance, "provenance_is_given"),
]
RIGHT = [
    (SaysWhatItSearches, "search_space_gives_constructor_arguments"),
    (SaysWhatItSearches, "hyper_parameters_are_constructor_arguments"),
    (SaysWhatItSearches, "provenance_is_given"),
]


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_strategy_is_found_out_by_the_check_meant_for_it(plugin, name):
    expect_found_out(plugin, name)


@pytest.mark.parametrize(("plugin", "name"), RIGHT, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_strategy_that_does_it_right_passes_the_same_check(plugin, name):
    assert status(plugin, name) == "passed"


def test_a_value_of_the_search_space_that_the_constructor_refuses_is_named():
    class RefusesItsOwnCorner(Good):
        def __init__(self, spec, depth=1):
            super().__init__(spec)
            if depth > 3:
                raise ValueError("depth is at most 3")

        @classmethod
        def search_space(cls, trial):
            return {"depth": trial.suggest_int("depth", 1, 4)}

    found = failures(RefusesItsOwnCorner, only=["search_space_gives_constructor_arguments"])
    assert found["search_space_gives_constructor_arguments"] == (
        "the constructor refuses {'depth': 4}: depth is at most 3"
    )


def test_an_empty_paper_is_no_provenance():
    class Unsaid(Good):
        """Documented."""

        provenance = Provenance(paper=" ")

    assert failures(Unsaid, only=["provenance_is_given"]) == {"provenance_is_given": "Unsaid.provenance.paper is empty"}


@pytest.mark.parametrize(("corner", "wanted"), [("low", (0.1, 1, "a")), ("high", (0.9, 5, "c"))])
def test_a_corner_is_one_end_of_every_range(corner, wanted):
    trial = CornerTrial(corner)
    found = (
        trial.suggest_float("x", 0.1, 0.9, log=True),
        trial.suggest_int("n", 1, 5),
        trial.suggest_categorical("c", ["a", "b", "c"]),
    )
    assert found == wanted


def test_a_range_with_its_ends_exchanged_is_refused():
    with pytest.raises(AssertionError, match=r"x: 2\.0 is above 1\.0"):
        CornerTrial("low").suggest_float("x", 2.0, 1.0)
