"""Late average against loops over rows and modalities."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from fusionbench import Batch, FusionSpec, TargetKind
from fusionbench.targets import probabilities, row_losses
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.late_average import LateAverage


@pytest.mark.parametrize("kind", list(TargetKind))
def test_probabilities_are_averaged_over_the_modalities_a_row_has(kind):
    case = make_case(3, kind, "random")
    strategy = LateAverage(case.spec).double()
    found = probabilities(strategy(case.batch).logits, kind)
    for row in range(len(case.target)):
        shown = [name for name in case.spec.names if case.batch.present[name][row]]
        votes = [probabilities(strategy.heads[n](case.batch.features[n][row]), kind) for n in shown]
        assert_close(found[row], sum(votes) / len(votes))


def test_logits_are_averaged_over_the_modalities_a_row_has():
    case = make_case(3, TargetKind.BINARY, "random")
    strategy = LateAverage(case.spec, average="logit").double()
    found = strategy(case.batch).logits
    for row in range(len(case.target)):
        shown = [name for name in case.spec.names if case.batch.present[name][row]]
        votes = [strategy.heads[n](case.batch.features[n][row]) for n in shown]
        assert_close(found[row], sum(votes) / len(votes))


def test_the_loss_is_the_sum_of_mean_losses_over_the_rows_of_each_modality():
    case = make_case(3, TargetKind.MULTICLASS, "random")
    strategy = LateAverage(case.spec).double()
    wanted = 0
    for name in case.spec.names:
        rows = case.batch.present[name]
        logits = strategy.heads[name](case.batch.features[name][rows])
        wanted += row_losses(logits, case.target[rows], case.spec.kind).mean()
    assert_close(strategy.loss(strategy(case.batch), case.batch, case.target), wanted)


@pytest.mark.parametrize("certainty", [-300.0, -40.0, 40.0, 300.0])
def test_float32_keeps_the_logit_of_very_small_and_very_large_probabilities(certainty):
    spec = FusionSpec({"ehr": 1, "cxr": 1}, 1, TargetKind.BINARY)
    strategy = LateAverage(spec)
    for head in strategy.heads.values():
        torch.nn.init.ones_(head.weight)
        torch.nn.init.zeros_(head.bias)
    value, shown = torch.tensor([[certainty]]), torch.tensor([True])
    batch = Batch({"ehr": value, "cxr": value}, {"ehr": shown, "cxr": shown})
    assert_close(strategy(batch).logits, value)


def test_an_unknown_average_is_refused():
    with pytest.raises(ValueError, match="found 'median'"):
        LateAverage(FusionSpec({"ehr": 1}, 1, TargetKind.BINARY), average="median")
