"""ShaSpec takes the published exam, and its terms are what the formulas say."""

import torch
from fusionbench_shaspec import ShaSpec, alignment_loss

from fusionbench import TargetKind
from fusionbench.testing import make_case, parametrize_with_checks

CASES = [make_case(m, kind, "random") for m, kind in zip((1, 2, 3), TargetKind, strict=True)]


@parametrize_with_checks([ShaSpec, (ShaSpec, {"hidden": 5})], cases=CASES)
def test_shaspec_conforms(subject, check):
    check(subject)


def test_alignment_is_the_mean_distance_over_the_pairs_that_rows_have():
    shared = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    usable = torch.tensor([[True, True, False, True], [True, True, True, False], [False, True, True, False]])
    distances = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        rows = [r for r in range(4) if usable[i, r] and usable[j, r]]
        distances.append(sum((shared[i, r] - shared[j, r]).abs().mean() for r in rows) / len(rows))
    torch.testing.assert_close(alignment_loss(shared, usable), sum(distances) / 3)
    assert alignment_loss(shared[:1], usable[:1]) == 0
    assert alignment_loss(shared, torch.eye(3, 4).bool()) == 0


def test_an_absent_modality_is_stood_in_for_by_what_the_others_share():
    case = make_case(3, TargetKind.BINARY, "single")
    torch.manual_seed(0)
    strategy = ShaSpec(case.spec).double()
    aux = strategy(case.batch).aux
    for row in range(3):
        (shown,) = [m for m, n in enumerate(case.spec.names) if case.batch.present[n][row]]
        fused = aux["shared"][shown, row] + strategy.project(
            torch.cat([aux["shared"][shown, row], aux["specific"][shown, row]])
        )
        values = [fused if m == shown else aux["shared"][shown, row] for m in range(3)]
        wanted = sum(head(value) for head, value in zip(strategy.heads.values(), values, strict=True))
        torch.testing.assert_close(strategy(case.batch).logits[row], wanted)


def test_specific_features_that_name_their_modality_cost_nothing():
    case = make_case(2, TargetKind.BINARY, "complete")
    strategy = ShaSpec(case.spec, hidden=2)
    with torch.no_grad():
        for layer, weight in zip(strategy.domains.values(), torch.eye(2) * 50, strict=True):
            layer.weight.copy_(weight[None])
            layer.bias.zero_()
    specific = torch.eye(2)[:, None].expand(2, 4, 2)
    usable = torch.ones(2, 4, dtype=torch.bool)
    assert strategy.domain_loss(specific, usable) < 1e-6
    assert strategy.domain_loss(specific.flip(0), usable) > 10
    assert strategy.domain_loss(specific, ~usable) == 0
