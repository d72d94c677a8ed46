"""What OGM-GE and PMR share: when they act, which rows they score, and what they fuse."""

from __future__ import annotations

import math

import pytest
import torch

from fusionbench import Batch, FusionSpec, TargetKind, TrainingClock
from fusionbench.targets import state_log_probabilities
from fusionbench_plugins.strategies._imbalance import additive_fusion, check_score_labels, true_class_score, within


def test_the_range_includes_both_ends_as_in_the_code():
    def active(start, end, planned):
        start, end = torch.tensor(start), torch.tensor(end)
        return [e for e in range(planned) if within(TrainingClock(e, planned), start, end)]

    assert active(0.0, 0.5, 100) == list(range(51))
    assert active(0.29, 0.57, 100) == list(range(29, 58))
    assert active(0.0, 2 / 3, 150) == list(range(101))
    assert active(0.0, 0.5, 1) == [0]
    assert active(0.0, 0.5, 0) == []


def test_the_score_is_the_mean_probability_of_the_true_state_over_the_rows_that_count():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.5, 0.0], [0.0, 0.0, 3.0], [1.0, 1.0, 1.0]], requires_grad=True)
    target, rows = torch.tensor([0, 2, 2, 1]), torch.tensor([True, True, False, True])
    kind = TargetKind.MULTICLASS
    score, counted = true_class_score(state_log_probabilities(logits, kind), rows, target, kind, "all")
    expected = []
    for values, label, counts in zip(logits.tolist(), target.tolist(), rows.tolist(), strict=True):
        if counts:
            expected.append(math.exp(values[label]) / sum(math.exp(v) for v in values))
    assert score.item() == pytest.approx(sum(expected) / 3, rel=1e-6)
    assert counted
    assert not score.requires_grad


def test_without_a_row_that_counts_the_score_is_zero_and_says_so():
    logits, target = torch.zeros(2, 1), torch.tensor([0, 1])
    states = state_log_probabilities(logits, TargetKind.BINARY)
    score, counted = true_class_score(states, torch.tensor([False, False]), target, TargetKind.BINARY, "all")
    assert (score.item(), bool(counted)) == (0.0, False)
    # a row that counts, but none of its labels is 1
    states = state_log_probabilities(torch.zeros(1, 2), TargetKind.MULTILABEL)
    none = torch.zeros(1, 2, dtype=torch.int64)
    _, counted = true_class_score(states, torch.tensor([True]), none, TargetKind.MULTILABEL, "positive")
    assert not counted


@pytest.mark.parametrize("kind", [TargetKind.BINARY, TargetKind.MULTICLASS])
def test_positive_labels_are_for_multi_label_targets_only(kind):
    with pytest.raises(ValueError, match=f"is for multi-label targets; this target is {kind}"):
        check_score_labels("positive", FusionSpec({"a": 2}, num_outputs=3, kind=kind))
    check_score_labels("all", FusionSpec({"a": 2}, num_outputs=3, kind=kind))
    check_score_labels("positive", FusionSpec({"a": 2}, num_outputs=3, kind=TargetKind.MULTILABEL))


@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_logits_of_the_fusion_are_a_sum_of_what_each_modality_says(fusion):
    """Changing one modality moves the logits by the same amount whatever the other holds."""
    torch.manual_seed(0)
    strategy = additive_fusion(fusion, FusionSpec({"a": 4, "b": 4}, num_outputs=2, kind=TargetKind.MULTILABEL)).eval()
    a, b = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    present = {n: torch.ones(5, dtype=torch.bool) for n in "ab"}

    def logits(i, j):
        return strategy(Batch({"a": a[i], "b": b[j]}, present)).logits

    torch.testing.assert_close(logits(1, 0) - logits(0, 0), logits(1, 1) - logits(0, 1))
    assert not torch.allclose(logits(1, 0), logits(0, 0))
