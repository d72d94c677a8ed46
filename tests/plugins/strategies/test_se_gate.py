"""SE-Gate: one gate for each channel or modality. Numbers: test_parity_fusion."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fusionbench import FusionOutput, FusionSpec, TargetKind
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.se_gate import SEGate

CASE = make_case(2, TargetKind.BINARY, "random")
NOTHING = FusionOutput(torch.zeros(12, 1))


def of_constant_gates(granularity, bias):
    """A strategy whose gates are the sigmoid of ``bias``, whatever it is shown."""
    strategy = SEGate(CASE.spec, granularity).double()
    last = strategy.excitation[2]
    nn.init.zeros_(last.weight)
    last.bias.data.copy_(torch.tensor(bias, dtype=torch.float64).expand_as(last.bias))
    return strategy


@pytest.mark.parametrize("granularity", ["channel", "modality"])
def test_a_gate_of_a_half_halves_everything(granularity):
    strategy = of_constant_gates(granularity, 0.0)
    joined = torch.cat([CASE.batch.completed(n) for n in CASE.spec.names], dim=1)
    assert_close(strategy.gated(CASE.batch), joined / 2)
    assert_close(strategy(CASE.batch), strategy.head(joined / 2))


def test_one_gate_for_each_modality_scales_its_whole_embedding():
    strategy = of_constant_gates("modality", [0.0, 30.0])
    ehr, cxr = strategy.gated(CASE.batch).split(8, dim=1)
    assert_close(ehr, CASE.batch.completed("ehr") / 2)
    assert_close(cxr, CASE.batch.completed("cxr"))


def test_gates_have_the_width_of_what_they_gate_and_lie_between_zero_and_one():
    for granularity, width in (("channel", 8), ("modality", 1)):
        gates = SEGate(CASE.spec, granularity).double().gates(CASE.batch)
        assert {n: tuple(g.shape) for n, g in gates.items()} == {"ehr": (12, width), "cxr": (12, width)}
        assert all(((g > 0) & (g < 1)).all() for g in gates.values())


def test_the_trace_is_the_mean_gate_over_rows_that_have_the_modality():
    strategy = SEGate(CASE.spec).double()
    found = strategy.traces(NOTHING, CASE.batch, CASE.target)
    assert list(found) == ["gate.ehr", "gate.cxr"]
    rows = CASE.batch.present["cxr"]
    assert 0 < rows.sum() < 12
    assert_close(found["gate.cxr"], strategy.gates(CASE.batch)["cxr"][rows].mean())


@pytest.mark.parametrize(("reduction", "units"), [(4, 4), (16, 1), (100, 1)])
def test_the_bottleneck_has_a_unit_at_least(reduction, units):
    assert SEGate(CASE.spec, reduction=reduction).excitation[0].out_features == units


def test_widths_may_differ():
    spec = FusionSpec({"ehr": 2, "cxr": 5}, 1, TargetKind.BINARY)
    assert [SEGate(spec, g).head.in_features for g in ("channel", "modality")] == [7, 7]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"granularity": "row"}, "granularity must be 'channel' or 'modality', found 'row'"),
        ({"reduction": 0}, "reduction must be 1 or more, found 0"),
    ],
)
def test_options_that_are_not_offered_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        SEGate(CASE.spec, **options)
