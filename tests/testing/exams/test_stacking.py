"""Strategies that cannot be trained as one of many, and those that can."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionbench.noise import Dropout
from tests.testing.exams.good import Good, expect_found_out, failures, status


class BranchesOnValues(Good):
    def forward(self, batch):
        logits = super().forward(batch)
        return logits if logits.sum() > 0 else 2 * logits


class SelectsRows(Good):
    def loss(self, output, batch, target):
        shown = output.logits[batch.usable(self.spec.names[0])]
        return nn.functional.softplus(shown).sum() / len(target)


class CopiesItsHyperParameter(Good):
    def __init__(self, spec, strength=0.5):
        super().__init__(spec)
        self.hyper("strength", strength)
        self.copied = strength

    def loss(self, output, batch, target):
        return self.copied * super().loss(output, batch, target)


class ChoosesWithoutBranching(Good):
    def forward(self, batch):
        logits = super().forward(batch)
        return torch.where(logits.sum() > 0, logits, 2 * logits)


class CountsShownRows(Good):
    def loss(self, output, batch, target):
        rows = batch.usable(self.spec.names[0])
        return (nn.functional.softplus(output.logits).mean(dim=1) * rows).sum() / rows.sum().clamp_min(1)


class TakesNoiseFromTheLoop(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.drop = Dropout(self.head.in_features, 0.5)

    def joined(self, batch):
        return self.drop(super().joined(batch))


class ReadsItsHyperParameter(Good):
    def __init__(self, spec, strength=0.5):
        super().__init__(spec)
        self.hyper("strength", strength)

    def loss(self, output, batch, target):
        return self.strength * super().loss(output, batch, target)


WRONG = [
    (BranchesOnValues, "stacked_runs_equal_solo_runs"),
    (SelectsRows, "stacked_runs_equal_solo_runs"),
    (CopiesItsHyperParameter, "hyper_parameters_act_through_their_buffers"),
]
RIGHT = [
    (ChoosesWithoutBranching, "stacked_runs_equal_solo_runs"),
    (CountsShownRows, "stacked_runs_equal_solo_runs"),
    (TakesNoiseFromTheLoop, "stacked_runs_equal_solo_runs"),
    (ReadsItsHyperParameter, "stacked_runs_equal_solo_runs"),
    (ReadsItsHyperParameter, "hyper_parameters_act_through_their_buffers"),
]


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_strategy_is_found_out_by_the_check_meant_for_it(plugin, name):
    expect_found_out(plugin, name)


@pytest.mark.parametrize(("plugin", "name"), RIGHT, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_strategy_that_does_it_right_passes_the_same_check(plugin, name):
    assert status(plugin, name) == "passed"


def test_what_cannot_be_stacked_is_said_with_the_reason_of_the_transform():
    name = "stacked_runs_equal_solo_runs"
    assert "cannot be stacked: vmap: It looks like you're" in failures(BranchesOnValues, only=[name])[name]


def test_a_hyper_parameter_that_was_copied_is_named():
    name = "hyper_parameters_act_through_their_buffers"
    found = failures(CopiesItsHyperParameter, only=[name])[name]
    assert "setting the buffer 'strength' is not the same as constructing with it" in found


def test_a_strategy_without_hyper_parameters_is_not_asked_about_them():
    assert status(Good, "hyper_parameters_act_through_their_buffers") == "skipped"
