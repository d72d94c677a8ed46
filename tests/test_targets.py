"""Targets of three kinds: states, losses and probabilities against plain formulas."""

from __future__ import annotations

import math

import pytest
import torch

from fusionbench.targets import (
    TargetKind,
    masked_mean,
    prevalence_logits,
    probabilities,
    row_losses,
    state_log_probabilities,
    true_state,
)

LOGITS = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 3.0, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([[1, 0, 1], [0, 0, 1]])


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def softmax(row):
    whole = sum(math.exp(z) for z in row)
    return [math.exp(z) / whole for z in row]


def test_probabilities_are_a_softmax_over_classes_and_a_sigmoid_for_each_label():
    over_classes = probabilities(LOGITS, TargetKind.MULTICLASS)
    each = probabilities(LOGITS, TargetKind.MULTILABEL)
    for i, row in enumerate(LOGITS.tolist()):
        assert over_classes[i].tolist() == pytest.approx(softmax(row))
        assert each[i].tolist() == pytest.approx([sigmoid(z) for z in row])


@pytest.mark.parametrize("kind", TargetKind)
def test_states_are_log_probabilities_that_add_up_to_one(kind):
    states = state_log_probabilities(LOGITS, kind)
    assert states.shape == ((2, 3) if kind is TargetKind.MULTICLASS else (2, 3, 2))
    assert states.exp().sum(dim=-1).flatten().tolist() == pytest.approx([1.0] * states[..., 0].numel())
    shown = states if kind is TargetKind.MULTICLASS else states[..., 1]
    torch.testing.assert_close(shown.exp(), probabilities(LOGITS, kind))


def test_the_loss_of_a_row_is_the_cross_entropy_averaged_over_labels():
    classes = row_losses(LOGITS, torch.tensor([2, 1]), TargetKind.MULTICLASS)
    assert classes.tolist() == pytest.approx(
        [-math.log(softmax(LOGITS[0].tolist())[2]), -math.log(softmax(LOGITS[1].tolist())[1])]
    )
    binary = row_losses(LOGITS[:, :1], torch.tensor([1, 0]), TargetKind.BINARY)
    assert binary.tolist() == pytest.approx([-math.log(sigmoid(1.5)), -math.log(1 - sigmoid(-2.0))])
    labels = row_losses(LOGITS, LABELS, TargetKind.MULTILABEL)
    for i in range(2):
        each = [
            -math.log(sigmoid(z) if y else 1 - sigmoid(z))
            for z, y in zip(LOGITS[i].tolist(), LABELS[i].tolist(), strict=True)
        ]
        assert float(labels[i]) == pytest.approx(sum(each) / 3)


def test_losses_of_sure_and_wrong_predictions_stay_finite():
    sure = torch.tensor([[500.0], [-500.0]])
    assert row_losses(sure, torch.tensor([0, 1]), TargetKind.BINARY).tolist() == [500.0, 500.0]
    wide = torch.tensor([[500.0, 0.0]])
    assert row_losses(wide, torch.tensor([1]), TargetKind.MULTICLASS).tolist() == [500.0]


def test_the_true_state_is_picked_for_each_label():
    states = torch.arange(12).reshape(2, 3, 2)
    assert true_state(states, LABELS, TargetKind.MULTILABEL).tolist() == [[1, 2, 5], [6, 8, 11]]
    assert true_state(states[:, :1], torch.tensor([0, 1]), TargetKind.BINARY).tolist() == [[0], [7]]
    assert true_state(states[..., 0], torch.tensor([2, 0]), TargetKind.MULTICLASS).tolist() == [[4], [6]]


def test_a_masked_mean_is_over_the_rows_that_count_whatever_the_others_hold():
    values = torch.tensor([1.0, math.inf, 3.0, math.nan])
    assert float(masked_mean(values, torch.tensor([True, False, True, False]))) == 2
    assert float(masked_mean(values, torch.tensor([0, 0, 1, 0]))) == 3
    assert float(masked_mean(values, torch.zeros(4, dtype=torch.bool))) == 0


def test_no_gradient_comes_from_rows_that_do_not_count():
    values = torch.tensor([1.0, math.inf, 3.0], requires_grad=True)
    masked_mean(values, torch.tensor([True, False, True])).backward()
    assert values.grad.tolist() == [0.5, 0.0, 0.5]


def test_logits_of_a_prevalence_are_those_of_counts_with_one_row_more_of_each_state():
    labels = torch.tensor([[1, 0], [0, 0], [1, 0]])
    found = prevalence_logits(labels, TargetKind.MULTILABEL, 2)
    assert torch.sigmoid(found).tolist() == pytest.approx([3 / 5, 1 / 5])
    assert torch.equal(prevalence_logits(labels[:, 0], TargetKind.BINARY, 1), found[:1])
    classes = prevalence_logits(torch.tensor([0, 0, 2]), TargetKind.MULTICLASS, 3)
    assert classes.softmax(dim=0).tolist() == pytest.approx([3 / 6, 1 / 6, 2 / 6])
    assert found.dtype == classes.dtype == torch.float64
