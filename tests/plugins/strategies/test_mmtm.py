"""MMTM: gates of each modality from a joint code. Numbers: test_parity_fusion."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fusionbench import FusionSpec, TargetKind
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.mmtm import MMTM, TransferModule

CASE = make_case(2, TargetKind.BINARY, "random")


def test_a_gate_of_a_half_halves_every_embedding():
    strategy = MMTM(CASE.spec).double()
    for layer in strategy.transfer.excite.values():
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    joined = torch.cat([CASE.batch.completed(n) for n in CASE.spec.names], dim=1)
    assert_close(strategy(CASE.batch), strategy.head(joined / 2))


def test_every_modality_decides_the_gates_of_every_other():
    module = TransferModule({"a": 2, "b": 3}, reduction=1)
    for parameter in module.parameters():
        nn.init.ones_(parameter)
    features = {"a": torch.ones(1, 2), "b": torch.ones(1, 3)}
    changed = {**features, "b": -torch.ones(1, 3)}
    assert (module(features)["a"] > module(changed)["a"]).all()


def test_space_is_averaged_in_the_squeeze_and_shares_the_gate_of_its_channel():
    module = TransferModule({"map": 2, "vector": 3}, reduction=1)
    pictures, vector = torch.rand(4, 2, 5, 6), torch.rand(4, 3)
    found = module({"map": pictures, "vector": vector})
    pooled = module({"map": pictures.mean(dim=(2, 3)), "vector": vector})
    gate = pooled["map"] / pictures.mean(dim=(2, 3))
    assert found["map"].shape == pictures.shape
    assert_close(found["map"], gate[:, :, None, None] * pictures)
    assert_close(found["vector"], pooled["vector"])


@pytest.mark.parametrize(("reduction", "units"), [(1, 10), (4, 2), (3, 3), (100, 1)])
def test_the_code_has_twice_the_channels_over_the_reduction_and_a_unit_at_least(reduction, units):
    assert TransferModule({"a": 2, "b": 3}, reduction).squeeze.out_features == units


def test_a_reduction_below_one_is_refused():
    with pytest.raises(ValueError, match="reduction must be 1 or more, found 0"):
        MMTM(CASE.spec, reduction=0)


def test_widths_may_differ_and_absent_modalities_are_zeros():
    spec = FusionSpec({"ehr": 8, "cxr": 3}, 2, TargetKind.MULTICLASS)
    strategy = MMTM(spec)
    assert strategy.head.in_features == 11
    alone = CASE.batch.only("ehr")
    gated = MMTM(CASE.spec).double().transfer({n: alone.completed(n) for n in alone.names})
    assert not gated["cxr"].any()
