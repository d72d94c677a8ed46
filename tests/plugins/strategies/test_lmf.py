"""LMF against the outer product it stands for."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from fusionbench import TargetKind
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.lmf import LMF

CASE = make_case(2, TargetKind.MULTICLASS, "random")


@pytest.mark.parametrize("absent", ["identity", "constant"])
def test_low_rank_factors_equal_the_full_weight_tensor(absent):
    strategy = LMF(CASE.spec, rank=3, absent=absent).double()
    first, second = strategy.factors["ehr"], strategy.factors["cxr"]
    full = torch.einsum("r,rio,rjo->ijo", strategy.rank_weights, first, second)
    found = strategy(CASE.batch)
    for row in range(len(CASE.target)):
        if not (CASE.batch.present["ehr"][row] and CASE.batch.present["cxr"][row]):
            continue
        one = torch.ones(1, dtype=torch.float64)
        left, right = (torch.cat([one, CASE.batch.features[name][row]]) for name in ("ehr", "cxr"))
        assert_close(found[row], torch.einsum("i,j,ijo->o", left, right, full) + strategy.bias)


def test_an_absent_modality_is_left_out_of_the_product_or_leaves_its_constant():
    only_ehr = CASE.batch.only("ehr")
    rows = CASE.batch.present["ehr"]
    for absent in ("identity", "constant"):
        strategy = LMF(CASE.spec, rank=3, absent=absent).double()
        x = CASE.batch.features["ehr"][rows]
        ehr = strategy.factors["ehr"][:, :1] + x @ strategy.factors["ehr"][:, 1:]
        cxr = 1 if absent == "identity" else strategy.factors["cxr"][:, :1]
        wanted = (strategy.rank_weights[:, None, None] * ehr * cxr).sum(dim=0) + strategy.bias
        assert_close(strategy(only_ehr)[rows], wanted)
