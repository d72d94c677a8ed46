"""Concat: the additive shares of its linear head."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from fusionbench import FusionSpec, TargetKind
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.concat import Concat


@pytest.mark.parametrize("mask_indicator", [False, True])
def test_shares_of_a_linear_head_add_up_to_the_logits(mask_indicator):
    case = make_case(3, TargetKind.MULTICLASS, "random")
    output = Concat(case.spec, mask_indicator=mask_indicator).double()(case.batch)
    assert list(output.aux) == ["unimodal.ehr", "unimodal.cxr", "unimodal.report"]
    assert_close(sum(output.aux.values()), output.logits)


def test_a_share_is_the_block_of_the_head_times_the_embedding_plus_its_part_of_the_bias():
    case = make_case(2, TargetKind.MULTILABEL, "random")
    strategy = Concat(case.spec).double()
    output = strategy(case.batch)
    for row in range(len(case.target)):
        embedding = case.batch.features["cxr"][row] * case.batch.present["cxr"][row]
        share = strategy.head.weight[:, 8:] @ embedding + strategy.head.bias / 2
        assert_close(output.aux["unimodal.cxr"][row], share)


def test_a_hidden_layer_has_no_shares():
    case = make_case(2, TargetKind.BINARY, "random")
    assert Concat(case.spec, head_hidden=3).double()(case.batch).aux == {}


def test_a_negative_number_of_hidden_units_is_refused():
    with pytest.raises(ValueError, match="found -1"):
        Concat(FusionSpec({"ehr": 2}, 1, TargetKind.BINARY), head_hidden=-1)


def test_widths_may_differ():
    spec = FusionSpec({"ehr": 2, "cxr": 5}, 1, TargetKind.BINARY)
    assert Concat(spec).head.weight.shape == torch.Size([1, 7])
