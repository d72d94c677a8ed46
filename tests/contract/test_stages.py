"""Stages and the clock of training."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import optuna
import pytest

from fusionbench.contract.stages import SplitLosses, Stage, TrainingClock


@pytest.mark.parametrize(("completed", "planned", "share"), [(0, 4, 0.0), (1, 4, 0.25), (4, 4, 1.0), (0, 0, 0.0)])
def test_the_clock_says_which_share_of_the_epochs_is_done(completed, planned, share):
    assert TrainingClock(completed, planned).fraction == share


def test_a_stage_trains_everything_for_all_epochs_unless_it_says_otherwise():
    stage = Stage("train")
    assert isinstance(stage.epochs, float)  # a share, not one epoch
    assert stage.epochs == 1
    assert (stage.frozen, stage.keep, stage.holdout, stage.resumes) == ((), None, 0, False)
    assert (dict(stage.overrides), stage.replicas, stage.finish, stage.select) == ({}, (), None, "joint")


def test_nothing_starts_with_a_frozen_prefix_where_none_is_named():
    assert not "fusion.head".startswith(Stage("train").frozen)


def test_stages_do_not_share_what_one_of_them_overrides():
    one, other = Stage("one"), Stage("other")
    assert one.overrides is not other.overrides
    with pytest.raises(FrozenInstanceError):
        one.epochs = 3


def test_losses_of_a_stage_without_errors_have_none():
    losses = SplitLosses({"joint": 1.0}, {"joint": 0.5}, {}, {})
    assert (losses.train_error, losses.holdout_error) == ({}, {})


def test_a_trial_of_the_tuner_offers_what_a_search_space_asks_for():
    trial = optuna.trial.FixedTrial({"rate": 0.1, "k": 3, "mode": "one"})
    assert trial.suggest_float("rate", 0.01, 1, log=True) == 0.1
    assert trial.suggest_int("k", 1, 5) == 3
    assert trial.suggest_categorical("mode", ["one", "two"]) == "one"
