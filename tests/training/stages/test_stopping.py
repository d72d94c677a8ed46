"""Early stopping on tensors alone: no model, no data."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionbench.training.stages.stopping import EarlyStopping, Verdict

NAN, INF = float("nan"), float("inf")


def after(scores, patience=10, groups=None, losses=None, first=1):
    """Judge two tensors, filled with the epoch's number, after each row of scores; return who ran in which epoch too."""
    models = len(scores[0])
    state = {"a.weight": torch.zeros(models, 2), "b.weight": torch.zeros(models, 2)}
    stopping = EarlyStopping(state, patience, groups, first=first)
    ran = []
    for epoch, row in enumerate(scores, 1):
        ran.append(stopping.running)
        stopping.lose(torch.tensor(losses[epoch - 1] if losses else [0.0] * models), epoch)
        given_scores = torch.tensor(row)
        given_scores = given_scores[:, None] if given_scores.ndim == 1 else given_scores
        stopping.judge(given_scores, epoch, {n: torch.full_like(t, epoch) for n, t in state.items()})
    return stopping, ran


def test_epochs_before_the_first_that_counts_are_not_chosen_and_patience_counts_from_there():
    scores = [[0.9, 0.5], [0.8, 0.6], [0.5, 0.5], [0.4, 0.5], [0.4, 0.7], [0.4, 0.1]]
    stopping, ran = after(scores, patience=2, first=3)
    assert [(v.epoch, v.unscored) for v in stopping.verdicts()] == [(3, None), (5, None)]
    assert kept(stopping) == [3, 5]
    assert [r[0] for r in ran] == [True] * 5 + [False]
    # without a score from there on, it waits as long as from the beginning
    stopping, ran = after([[0.9]] * 2 + [[NAN]] * 4, patience=2, first=3)
    assert ([r[0] for r in ran], stopping.verdicts()[0].unscored) == ([True] * 4 + [False] * 2, 0)


def kept(stopping, name="a.weight"):
    return stopping.best_state[name][:, 0].tolist()


def test_each_model_is_kept_at_its_best_epoch():
    stopping, _ = after([[0.5, 0.9], [0.7, 0.8], [0.6, 0.9]])
    assert kept(stopping) == [2, 1]  # of equal scores the first
    assert [(v.score, v.epoch) for v in stopping.verdicts()] == [(pytest.approx(0.7), 2), (pytest.approx(0.9), 1)]


def test_a_model_that_waits_too_long_stops_and_the_other_goes_on():
    stopping, ran = after([[0.5, 0.1], [0.4, 0.2], [0.4, 0.3], [0.9, 0.4]], patience=2)
    assert ran == [[True, True], [True, True], [True, True], [False, True]]
    assert kept(stopping) == [1, 4]  # what it would have reached later does not count


def test_a_score_that_is_undefined_is_never_better_and_never_the_best():
    stopping, _ = after([[NAN, NAN], [0.3, NAN]])
    assert stopping.verdicts() == [Verdict(pytest.approx(0.3), 2, 0, None), Verdict(-INF, 0, 0, 0)]
    assert kept(stopping) == [2, 0]


def test_a_model_that_diverges_keeps_what_it_had_and_says_when():
    stopping, ran = after([[0.5, 0.5], [0.9, 0.9], [0.9, 0.9]], losses=[[0.0, 0.0], [NAN, 0.0], [INF, INF]])
    assert [v.diverged_in for v in stopping.verdicts()] == [2, 3]
    assert kept(stopping) == [1, 2]
    assert ran == [[True, True], [True, True], [False, True]]


def test_each_group_of_tensors_is_picked_by_its_own_score():
    scores = [[[0.5, 0.9], [0.7, 0.5]], [[0.6, 0.8], [0.6, 0.6]]]  # epochs, models, groups
    stopping, _ = after(scores, groups={"b.weight": 1})
    assert kept(stopping, "a.weight") == [2, 1]
    assert kept(stopping, "b.weight") == [1, 2]
    assert stopping.best_epoch.tolist() == [[2, 1], [1, 2]]


def test_it_waits_for_the_group_that_was_better_last():
    scores = [[[0.5, 0.1]], [[0.4, 0.2]], [[0.4, 0.3]], [[0.4, 0.2]]]
    assert after(scores, patience=2, groups={"b.weight": 1})[1][-1] == [True]
    assert after([[[s[0][0]]] for s in scores], patience=2)[1][-1] == [False]


def test_a_group_that_was_never_scored_is_named():
    stopping, _ = after([[[0.5, NAN]], [[0.6, NAN]]], groups={"b.weight": 1})
    assert stopping.verdicts()[0].unscored == 1


def test_one_that_is_stopped_by_hand_keeps_its_best_epoch():
    stopping, _ = after([[0.5, 0.5]])
    stopping.stop(0)
    assert stopping.running == [False, True]
    stopping.judge(torch.tensor([[0.9], [0.9]]), 2, {n: t + 1 for n, t in stopping.best_state.items()})
    assert kept(stopping) == [1, 2]


def test_going_on_is_as_not_having_been_interrupted():
    scores = [[0.5, 0.9], [0.7, 0.8], [0.6, 0.7], [0.8, 0.6]]
    whole, _ = after(scores, patience=3)
    first, _ = after(scores[:2], patience=3)
    second = EarlyStopping({n: torch.zeros_like(t) for n, t in first.best_state.items()}, 3)
    second.go_on_from(first)
    for epoch, row in enumerate(scores[2:], 3):
        second.judge(
            torch.tensor(row)[:, None], epoch, {n: torch.full_like(t, epoch) for n, t in first.best_state.items()}
        )
    assert second.verdicts() == whole.verdicts()
    assert kept(second) == kept(whole)


def test_what_is_kept_is_a_copy():
    state = {"a": torch.zeros(1, 2)}
    stopping = EarlyStopping(state, 1)
    state["a"].fill_(7)
    assert stopping.best_state["a"].tolist() == [[0, 0]]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, NAN]), min_size=3, max_size=3), min_size=1, max_size=8),
    patience=st.integers(1, 4),
)
def test_a_model_stops_as_if_it_were_alone(rows, patience):
    """A plain loop over one model's scores is the reference."""
    stopping, ran = after(rows, patience)
    for model in range(3):
        best, best_epoch, epochs = -INF, 0, 0
        for epoch, row in enumerate(rows, 1):
            epochs = epoch
            if row[model] > best:
                best, best_epoch = row[model], epoch
            if epoch - best_epoch >= patience:
                break
        verdict = stopping.verdicts()[model]
        assert (verdict.score, verdict.epoch) == (pytest.approx(best), best_epoch)
        assert sum(active[model] for active in ran) == epochs
