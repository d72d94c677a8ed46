"""Unimodal: who trains it, and what the others are given."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from fusionbench import FusionOutput, TargetKind, TrainingClock
from fusionbench.targets import probabilities, row_losses
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.unimodal import Unimodal


def fitted(case):
    strategy = Unimodal(case.spec, "cxr").double()
    with torch.no_grad():
        sums = strategy.statistics(strategy(case.batch), case.batch, case.target, predict=strategy)
        strategy.prior.copy_(strategy.update(sums, TrainingClock(0, 10))["prior"])
    return strategy


@pytest.mark.parametrize("kind", list(TargetKind))
def test_rows_without_the_modality_are_given_the_training_prevalence(kind):
    case = make_case(3, kind, "random")
    found = probabilities(fitted(case)(case.batch).logits, kind)
    states = torch.arange(case.spec.num_outputs) if kind is TargetKind.MULTICLASS else torch.ones(1)
    columns = case.target if kind is TargetKind.MULTILABEL else case.target[:, None]
    prevalence = (columns == states).double().mean(dim=0)
    absent = ~case.batch.present["cxr"]
    assert absent.any()
    assert_close(found[absent], prevalence.expand(int(absent.sum()), -1))


def test_rows_without_the_modality_do_not_train_it():
    case = make_case(3, TargetKind.BINARY, "random")
    strategy = fitted(case)
    output, shown = strategy(case.batch), case.batch.present["cxr"]
    wanted = row_losses(strategy.head(case.batch.features["cxr"]), case.target, case.spec.kind)[shown].mean()
    assert_close(strategy.loss(output, case.batch, case.target), wanted)
    assert_close(strategy.head_losses(output, case.batch, case.target)["joint.rows"], shown.double())


def test_other_modalities_are_not_read():
    case = make_case(3, TargetKind.BINARY, "complete")
    strategy = fitted(case)
    assert_close(strategy(case.batch.only("cxr")).logits, strategy(case.batch).logits)


def test_a_state_that_never_occurs_keeps_a_finite_logit():
    case = make_case(2, TargetKind.BINARY, "random")
    strategy = Unimodal(case.spec, "cxr")
    sums = strategy.statistics(FusionOutput(case.target), case.batch, torch.zeros_like(case.target), predict=strategy)
    prior = strategy.update(sums, TrainingClock(0, 1))["prior"]
    assert_close(torch.sigmoid(prior), torch.tensor([0.5 / 12.5]))


def test_an_unknown_modality_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="one of ehr, cxr, found 'mri'"):
        Unimodal(make_case(2, TargetKind.BINARY, "random").spec, "mri")
