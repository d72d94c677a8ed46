"""MedFuse: skipping tokens, reading order, and the two stages."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fusionbench import FusionSpec, TargetKind
from fusionbench.targets import row_losses
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.medfuse import MedFuse

CASE = make_case(3, TargetKind.MULTILABEL, "random")


@pytest.mark.parametrize("order", [None, ["report", "ehr", "cxr"]])
def test_each_row_equals_the_built_in_lstm_on_the_tokens_it_has(order):
    strategy = MedFuse(CASE.spec, order=order, pretrain=False).double()
    lstm = nn.LSTM(8, 16).double()
    for name, layer in (("ih", strategy.lstm.from_token), ("hh", strategy.lstm.from_state)):
        getattr(lstm, f"weight_{name}_l0").data.copy_(layer.weight)
        getattr(lstm, f"bias_{name}_l0").data.copy_(layer.bias)
    found = strategy(CASE.batch).logits
    for row in range(len(CASE.target)):
        tokens = [CASE.batch.features[n][row] for n in order or CASE.spec.names if CASE.batch.present[n][row]]
        _, (hidden, _) = lstm(torch.stack(tokens))
        assert_close(found[row], strategy.head(hidden[-1]))


def losses(strategy):
    output = strategy(CASE.batch)
    joint = row_losses(output.logits, CASE.target, CASE.spec.kind).mean()
    unimodal = 0
    for name in CASE.spec.names:
        rows = CASE.batch.present[name]
        logits = strategy.heads[name](CASE.batch.features[name][rows])
        unimodal += row_losses(logits, CASE.target[rows], CASE.spec.kind).mean()
    return strategy.loss(output, CASE.batch, CASE.target), joint, unimodal


def test_stage_one_trains_the_unimodal_heads_and_stage_two_the_prediction():
    strategy = MedFuse(CASE.spec).double()
    first, second = strategy.stages()
    strategy.head_weights.copy_(first.overrides["head_weights"])
    loss, _, unimodal = losses(strategy)
    assert_close(loss, unimodal)
    strategy.head_weights.copy_(second.overrides["head_weights"])
    loss, joint, _ = losses(strategy)
    assert_close(loss, joint)


def test_stage_one_hands_on_each_encoder_from_its_own_best_epoch():
    first, second = MedFuse(CASE.spec).stages()
    assert (first.select, first.keep) == ("per_modality", ("encoder.", "project."))
    assert (second.select, second.keep, second.frozen) == ("joint", None, ())
    assert (first.epochs, second.epochs) == (0.5, 1.0)  # what pre-trains comes on top
    assert MedFuse(CASE.spec, pretrain_epochs=7).stages()[0].epochs == 7
    with pytest.raises(ValueError, match="pretrain_epochs must be positive, found 0"):
        MedFuse(CASE.spec, pretrain_epochs=0)


def test_encoders_can_be_frozen_after_stage_one():
    assert MedFuse(CASE.spec, freeze_encoders=True).stages()[1].frozen == ("encoder.",)


def test_without_pretraining_there_is_one_stage_and_no_unimodal_head():
    strategy = MedFuse(CASE.spec, pretrain=False)
    assert len(strategy.stages()) == 1
    assert not list(strategy.heads)


@pytest.mark.parametrize("order", [["ehr"], ["ehr", "cxr", "cxr"], ["ehr", "cxr", "mri"]])
def test_an_order_that_is_no_permutation_is_refused(order):
    with pytest.raises(ValueError, match="order must name each of ehr, cxr, report once"):
        MedFuse(CASE.spec, order=order)


def test_frozen_encoders_without_stage_one_are_refused():
    with pytest.raises(ValueError, match="freeze_encoders needs pretrain"):
        MedFuse(CASE.spec, pretrain=False, freeze_encoders=True)


def test_different_widths_are_refused():
    with pytest.raises(ValueError, match="must share one width"):
        MedFuse(FusionSpec({"ehr": 2, "cxr": 3}, 1, TargetKind.BINARY))
