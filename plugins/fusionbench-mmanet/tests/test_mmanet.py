"""The distillation takes the published exam, and its terms are what the formulas say."""

from dataclasses import replace

import pytest
import torch
from fusionbench_mmanet import MarginAwareDistillation, entropy, similarities

from fusionbench import FusionOutput, TargetKind
from fusionbench.testing import make_case, parametrize_with_checks

CASES = [make_case(m, kind, "random") for m, kind in zip((1, 2, 3), TargetKind, strict=True)]
CASE = make_case(3, TargetKind.MULTICLASS, "random")


@parametrize_with_checks([MarginAwareDistillation, (MarginAwareDistillation, {"hidden": 4})], cases=CASES)
def test_the_distillation_conforms(subject, check):
    check(subject)


def regulariser(**options):
    torch.manual_seed(0)
    return MarginAwareDistillation(CASE.spec, **options).double()


def logits(seed=0):
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_distillation_equals_loops_over_pairs_of_whole_rows():
    student, teacher, whole = logits(0), logits(1), torch.arange(12) % 3 != 0
    rows = [r for r in range(12) if whole[r]]

    def lines(values):
        products = [[float(values[i] @ values[j]) for j in rows] for i in rows]
        return [[p / sum(q * q for q in line) ** 0.5 for p in line] for line in products]

    s, t = lines(student), lines(teacher)
    uncertain = entropy(teacher, CASE.spec)[whole].tolist()
    mean = [sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / len(rows) for x, y in zip(s, t, strict=True)]
    wanted = sum(h * m for h, m in zip(uncertain, mean, strict=True)) / sum(uncertain)
    assert regulariser().distillation(student, teacher, whole).item() == pytest.approx(wanted, rel=1e-12)


def test_a_strategy_that_sees_rows_as_the_teacher_does_is_left_alone():
    whole = torch.ones(12, dtype=torch.bool)
    assert regulariser().distillation(3 * logits(), logits(), whole) < 1e-20  # lines are divided by their length
    assert regulariser().distillation(logits(), logits(1), ~whole) == 0
    assert not similarities(torch.zeros(4, 2), torch.ones(4, dtype=torch.bool)).any()


def test_the_teacher_sees_what_is_hidden_and_nothing_that_was_filled_in():
    part, batch = regulariser(), CASE.batch
    features, whole = part.everything(batch)
    available = torch.stack(list(batch.available.values()), dim=1)
    assert torch.equal(whole, available.all(dim=1))
    assert not torch.equal(available, batch.usable_mask())
    for block, name in zip(features.split(8, dim=1), batch.names, strict=True):
        assert torch.equal(block, torch.where(batch.available[name][:, None], batch.features[name], 0))
    filled = replace(batch, imputed={n: ~p for n, p in batch.present.items()})
    assert torch.equal(part.everything(filled)[1], batch.usable_mask().all(dim=1))


def test_the_strategy_learns_from_the_teacher_and_not_the_other_way_round():
    part, student = regulariser(), logits().requires_grad_()
    complete = {n: torch.ones_like(p) for n, p in CASE.batch.present.items()}
    batch = replace(CASE.batch, present=complete, available=complete)
    part.loss(FusionOutput(student), batch, CASE.target).backward()
    together = [p.grad.clone() for p in part.parameters()]
    assert student.grad.any()
    part.zero_grad()
    part.weight.zero_()
    part.loss(FusionOutput(student), batch, CASE.target).backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(together, part.parameters(), strict=True))
