"""Heads that strategies share: shapes, names, losses per modality, and states back to logits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from fusionbench.contract.batch import Batch, FusionSpec, HeadSpec
from fusionbench.heads import (
    follows_head,
    head,
    logits_of_states,
    lstm_cell,
    mlp_head,
    one_hot_states,
    unimodal_aux,
    unimodal_heads,
    unimodal_logits,
    unimodal_losses,
)
from fusionbench.targets import TargetKind, probabilities, state_log_probabilities, true_state

SPEC = FusionSpec({"a": 3, "b": 5}, 2, TargetKind.MULTILABEL)


def test_a_head_is_linear_unless_it_has_hidden_units():
    assert isinstance(mlp_head(4, 3), nn.Linear)
    assert mlp_head(4, 3)(torch.zeros(7, 4)).shape == (7, 3)
    hidden = mlp_head(4, 3, 6)
    assert [tuple(p.shape) for p in hidden.parameters()] == [(6, 4), (6,), (3, 6), (3,)]
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    first, second = hidden[0], hidden[2]
    rectified = (x @ first.weight.T + first.bias).clamp_min(0)
    torch.testing.assert_close(hidden(x), rectified @ second.weight.T + second.bias)


def test_a_negative_number_of_hidden_units_is_refused():
    with pytest.raises(ValueError, match=r"head_hidden must be 0 \(a linear head\) or a number of units, found -1"):
        mlp_head(4, 3, -1)


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        (HeadSpec(), [(2, 7), (2,)]),
        (HeadSpec(1), [(5, 7), (5,), (2, 5), (2,)]),
        (HeadSpec(2, 9), [(9, 7), (9,), (9, 9), (9,), (2, 9), (2,)]),
    ],
)
def test_the_head_of_a_benchmark_is_as_deep_and_as_wide_as_it_says(given, shapes):
    made = head(replace(SPEC, head=given), 7)
    assert [tuple(p.shape) for p in made.parameters()] == shapes
    assert made(torch.zeros(4, 7)).shape == (4, 2)
    own = {
        n: [tuple(p.shape) for p in h.parameters()][-2][0] for n, h in unimodal_heads(replace(SPEC, head=given)).items()
    }
    assert own == {"a": 2, "b": 2}


def test_an_option_of_a_strategy_wins_over_the_head_of_the_benchmark():
    deep = replace(SPEC, head=HeadSpec(3))
    assert isinstance(head(deep, 7, hidden=0), nn.Linear)
    assert [tuple(p.shape) for p in head(deep, 7, 3, hidden=4).parameters()] == [(4, 7), (4,), (3, 4), (3,)]
    assert follows_head(lambda s: head(s, 7), SPEC)
    assert not follows_head(lambda s: head(s, 7, hidden=4), SPEC)


def test_every_modality_has_a_head_of_its_own_width():
    heads = unimodal_heads(SPEC)
    assert {n: (h.in_features, h.out_features) for n, h in heads.items()} == {"a": (3, 2), "b": (5, 2)}
    assert {h.out_features for h in unimodal_heads(SPEC, 7).values()} == {7}


def test_logits_go_under_their_names_into_aux_and_come_back_alone():
    logits = {"a": torch.zeros(2), "b.c": torch.ones(2)}
    aux = unimodal_aux(logits)
    assert list(aux) == ["unimodal.a", "unimodal.b.c"]
    found = unimodal_logits({"gate": torch.ones(1), **aux})
    assert list(found) == list(logits)
    assert all(found[n] is logits[n] for n in logits)


def test_the_loss_of_a_modality_is_a_mean_over_the_rows_that_have_it_or_were_given_it():
    logits = {"a": torch.tensor([[0.0], [2.0], [math.inf]]), "b": torch.tensor([[1.0], [1.0], [1.0]])}
    present = {"a": torch.tensor([True, False, False]), "b": torch.tensor([False, False, False])}
    batch = Batch(logits, present, imputed={"a": torch.tensor([False, True, False])})
    found = unimodal_losses(logits, batch, torch.tensor([1, 0, 0]), TargetKind.BINARY)
    # -log sigmoid(0) and -log(1 - sigmoid(2)); the infinite row does not count
    assert float(found["a"]) == pytest.approx((math.log(2) + math.log1p(math.exp(2))) / 2)
    assert float(found["b"]) == 0


@pytest.mark.parametrize("kind", TargetKind)
def test_states_give_the_logits_that_made_them_whatever_constant_is_added(kind):
    logits = torch.randn(6, 1 if kind is TargetKind.BINARY else 3, generator=torch.Generator().manual_seed(1))
    shifted = state_log_probabilities(logits, kind) - 4.0
    torch.testing.assert_close(probabilities(logits_of_states(shifted, kind), kind), probabilities(logits, kind))


def test_one_hot_targets_have_their_one_at_the_true_state():
    assert one_hot_states(torch.tensor([2, 0]), 3, TargetKind.MULTICLASS).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot_states(torch.tensor([1, 0]), 1, TargetKind.BINARY).tolist() == [[[0, 1]], [[1, 0]]]
    labels = torch.tensor([[1, 0], [0, 0]])
    found = one_hot_states(labels, 2, TargetKind.MULTILABEL)
    assert found.tolist() == [[[0, 1], [1, 0]], [[1, 0], [1, 0]]]
    assert found.dtype == torch.int64
    assert true_state(found, labels, TargetKind.MULTILABEL).all()


def test_one_hot_targets_can_be_stacked_over_models():
    targets = torch.tensor([[2, 0], [1, 1]])
    stacked = torch.vmap(lambda t: one_hot_states(t, 3, TargetKind.MULTICLASS))(targets)
    assert torch.equal(stacked[1], one_hot_states(targets[1], 3, TargetKind.MULTICLASS))


def test_an_lstm_cell_steps_as_the_librarys_does():
    generator = torch.Generator().manual_seed(0)
    cell = torch.nn.LSTMCell(3, 4, dtype=torch.float64)
    x, hidden, memory = (torch.randn(2, n, generator=generator, dtype=torch.float64) for n in (3, 4, 4))
    driven = x @ cell.weight_ih.T + cell.bias_ih + hidden @ cell.weight_hh.T + cell.bias_hh
    torch.testing.assert_close(lstm_cell(driven, memory), cell(x, (hidden, memory)), rtol=1e-12, atol=1e-12)
