"""DrFuse takes the published exam, and its terms are what the formulas say."""

import pytest
import torch
from fusionbench_drfuse import DrFuse, divergence, ranking_loss, shared_mean

from fusionbench import TargetKind
from fusionbench.testing import make_case, parametrize_with_checks

CASES = [make_case(m, kind, "random") for m, kind in zip((1, 2, 3), TargetKind, strict=True)]


@parametrize_with_checks([DrFuse, (DrFuse, {"hidden": 5, "one_sided": True})], cases=CASES)
def test_drfuse_conforms(subject, check):
    check(subject)


def parts(rows=4):
    return torch.randn(3, rows, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_shared_part_is_the_logit_of_the_mean_sigmoid_of_what_is_there():
    usable = torch.tensor([[True, True, True, False], [True, False, False, False], [True, True, False, False]])
    for row in range(4):
        shown = torch.sigmoid(parts()[usable[:, row], row])
        wanted = torch.logit(shown.mean(dim=0)) if len(shown) else torch.zeros(5, dtype=torch.float64)
        torch.testing.assert_close(shared_mean(parts(), usable)[row], wanted)


def test_a_shared_part_alone_comes_back_even_where_its_sigmoid_is_one():
    alone = torch.tensor([[[80.0, -80.0]], [[0.0, 0.0]]])
    found = shared_mean(alone, torch.tensor([[True], [False]]))
    torch.testing.assert_close(found, alone[0])


def test_the_divergence_is_zero_for_equal_parts_and_counts_pairs_only():
    equal, everywhere = parts()[:1].expand(3, -1, -1), torch.ones(3, 4, dtype=torch.bool)
    torch.testing.assert_close(divergence(equal, everywhere), torch.zeros((), dtype=torch.float64))
    one_pair = torch.tensor([[True, True, False, True], [True, False, False, False], [False, False, True, False]])
    alone = divergence(parts()[:2, :1], torch.ones(2, 1, dtype=torch.bool))
    torch.testing.assert_close(divergence(parts(), one_pair), alone)
    assert divergence(parts(), one_pair & ~one_pair) == 0


def test_ranking_costs_where_more_attention_goes_to_the_part_that_predicts_worse():
    attention = torch.tensor([[[0.7], [0.7]], [[0.3], [0.3]]])
    losses = torch.tensor([[[2.0], [0.1]], [[1.0], [0.2]]])  # the first row should attend to the second part
    there = torch.ones(2, 2, dtype=torch.bool)
    assert ranking_loss(attention, losses, there).item() == pytest.approx(0.4 / 2)
    assert ranking_loss(attention, losses, there & torch.tensor([[False, True]])) == 0
