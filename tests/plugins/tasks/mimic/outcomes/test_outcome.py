"""The part of a MIMIC task that differs between tasks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from fusionbench import TargetKind
from fusionbench_plugins.tasks.mimic.outcomes.mortality import Mortality
from fusionbench_plugins.tasks.mimic.outcomes.outcome import Outcome
from fusionbench_plugins.tasks.mimic.outcomes.phenotypes import Phenotypes


class Longest(Outcome):
    """The least that an outcome has to say."""

    kind: ClassVar = TargetKind.BINARY
    outputs = ("long",)

    def target(self, options, root, events, cache):
        return np.array([0, 1])

    def describe(self, target, options):
        return "Long stays."


def test_labels_and_a_sentence_have_to_be_given():
    with pytest.raises(TypeError, match="abstract"):
        Outcome()


def test_nothing_is_refused_remarked_or_planted_unless_an_outcome_says_so():
    outcome = Longest()
    assert (outcome.refusal(np.zeros(2)), outcome.remarks(np.zeros(2)), outcome.planted) == ("", (), False)


def test_the_best_predictions_of_a_synthetic_tree_are_those_of_mortality():
    assert [o.planted for o in (Mortality, Phenotypes)] == [True, False]
