"""Strategies that change their inputs, global state or precision, or talk."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from fusionbench.noise import Dropout
from fusionbench.testing.exams.manners import global_state, listening, same_state
from tests.testing.exams.good import Good, expect_found_out, failures, status


@pytest.fixture(autouse=True)
def _as_before():
    """What the wrong ones leave behind in this process is taken away."""
    yield
    torch.set_default_dtype(torch.float32)


class UsesOwnDropout(Good):
    def joined(self, batch):
        return nn.functional.dropout(super().joined(batch), 0.5, self.training)


class ShufflesInTraining(Good):
    def loss(self, output, batch, target):
        return super().loss(output, batch, target) * (1 + 0 * random.random())


class WritesToItsInput(Good):
    def joined(self, batch):
        for name in self.spec.names:
            batch.present[name][:] = True
        return super().joined(batch)


class FixesThePrecision(Good):
    def forward(self, batch):
        return super().forward(batch).float()


class SetsTheDefaultPrecision(Good):
    def __init__(self, spec):
        super().__init__(spec)
        torch.set_default_dtype(torch.float64)


class SetsASeed(Good):
    def forward(self, batch):
        torch.manual_seed(0)
        return super().forward(batch)


class Prints(Good):
    def forward(self, batch):
        print("forward", batch.names)
        return super().forward(batch)


class TakesNoiseFromTheLoop(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.drop = Dropout(self.head.in_features, 0.5)

    def joined(self, batch):
        return self.drop(super().joined(batch))


class CopiesBeforeItWrites(Good):
    def joined(self, batch):
        joined = super().joined(batch).clone()
        joined[:, 0] = 0
        return joined


class FollowsThePrecision(Good):
    def forward(self, batch):
        logits = super().forward(batch)
        return logits + torch.ones_like(logits)


WRONG = [
    (UsesOwnDropout, "global_state_is_left_alone"),
    (ShufflesInTraining, "global_state_is_left_alone"),
    (WritesToItsInput, "inputs_are_not_changed"),
    (FixesThePrecision, "precision_follows_the_features"),
    (SetsTheDefaultPrecision, "global_state_is_left_alone"),
    (SetsASeed, "global_state_is_left_alone"),
    (Prints, "nothing_is_printed"),
]
RIGHT = [
    (TakesNoiseFromTheLoop, "global_state_is_left_alone"),
    (CopiesBeforeItWrites, "inputs_are_not_changed"),
    (FollowsThePrecision, "precision_follows_the_features"),
    (FollowsThePrecision, "nothing_is_printed"),
]


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_strategy_is_found_out_by_the_check_meant_for_it(plugin, name):
    expect_found_out(plugin, name)


@pytest.mark.parametrize(("plugin", "name"), RIGHT, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_strategy_that_does_it_right_passes_the_same_check(plugin, name):
    assert status(plugin, name) == "passed"


def test_what_was_printed_is_counted_and_quoted():
    found = failures(Prints, only=["nothing_is_printed"])["nothing_is_printed"]
    assert found.startswith("3 modalities, binary, random: the plugin printed ")
    assert "the first: \"forward ('ehr', 'cxr', 'report')" in found


def test_listening_hears_both_streams_and_gives_them_back():
    before = sys.stdout, sys.stderr
    with listening() as said:
        print("one")
        print("two", file=sys.stderr)
    assert said() == "one\ntwo\n"
    assert (sys.stdout, sys.stderr) == before


def draws_from_torch():
    torch.rand(())


def draws_from_numpy():
    np.random.random()  # noqa: NPY002 (the global state is what must not move)


def draws_from_python():
    random.random()


@pytest.mark.parametrize("draw", [draws_from_torch, draws_from_numpy, draws_from_python])
def test_a_draw_from_any_global_generator_shows(draw):
    before = global_state()
    assert same_state(global_state(), before)
    draw()
    assert not same_state(global_state(), before)


def test_settings_of_numpy_and_gradients_show():
    before = global_state()
    with np.errstate(divide="raise" if np.geterr()["divide"] != "raise" else "warn"):
        assert not same_state(global_state(), before)
    with torch.no_grad():
        assert not same_state(global_state(), before)
    assert same_state(global_state(), before)
