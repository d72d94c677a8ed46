"""TMC: the closed form of Dempster's rule against the rule itself, and the annealing."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence
from torch.testing import assert_close

from fusionbench import TargetKind, TrainingClock
from fusionbench.targets import probabilities
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.tmc import TMC, combine, divergence_from_uniform


def dempster(first, second):
    """Combine the evidence of two opinions about one sample as the paper writes it."""
    classes = len(first)
    opinions = []
    for evidence in (first, second):
        strength = sum(evidence) + classes
        opinions.append(([e / strength for e in evidence], classes / strength))
    (b1, u1), (b2, u2) = opinions
    conflict = sum(b1[i] * b2[j] for i in range(classes) for j in range(classes) if i != j)
    belief = [(x * y + x * u2 + y * u1) / (1 - conflict) for x, y in zip(b1, b2, strict=True)]
    uncertainty = u1 * u2 / (1 - conflict)
    return [b * classes / uncertainty for b in belief]


@pytest.mark.parametrize("classes", [2, 5])
def test_the_closed_form_equals_dempsters_rule_folded_over_modalities(classes):
    evidence = torch.rand(4, 6, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10
    for row in range(6):
        wanted = evidence[0, row].tolist()
        for view in evidence[1:, row]:
            wanted = dempster(wanted, view.tolist())
        assert_close(combine(evidence)[row], torch.tensor(wanted, dtype=torch.float64))


def test_no_evidence_is_the_neutral_element():
    evidence = torch.rand(2, 6, 3, dtype=torch.float64)
    assert_close(combine(torch.cat([evidence, torch.zeros(1, 6, 3)])), combine(evidence))


def test_the_divergence_equals_that_of_torch():
    alpha = torch.rand(6, 4, dtype=torch.float64) * 9 + 0.5
    uniform = Dirichlet(torch.ones(6, 4, dtype=torch.float64))
    assert_close(divergence_from_uniform(alpha), kl_divergence(Dirichlet(alpha), uniform))


@pytest.mark.parametrize("kind", list(TargetKind))
def test_the_prediction_is_the_expected_probability(kind):
    case = make_case(3, kind, "random")
    output = TMC(case.spec).double()(case.batch)
    alpha = combine(output.aux["evidence"]) + 1
    expected = alpha / alpha.sum(dim=-1, keepdim=True)
    wanted = expected if kind is TargetKind.MULTICLASS else expected[..., 1]
    assert_close(probabilities(output.logits, kind), wanted)


@pytest.mark.parametrize(
    ("annealing", "completed", "weight"),
    [(50, 0, 0.02), (50, 24, 0.5), (50, 79, 1.0), (0.5, 0, 0.025), (0.5, 19, 0.5), (0.5, 60, 1.0)],
)
def test_the_weight_of_the_divergence_rises_over_epochs_or_a_share_of_them(annealing, completed, weight):
    strategy = TMC(make_case(1, TargetKind.BINARY, "complete").spec, annealing=annealing)
    values = strategy.update({}, TrainingClock(completed, planned=80))
    assert_close(values["kl_weight"], torch.tensor(weight))
