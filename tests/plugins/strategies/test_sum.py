"""Sum: what is added, and what absence leaves of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fusionbench import FusionSpec, TargetKind
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.sum import Sum

CASE = make_case(3, TargetKind.MULTICLASS, "random")
NAMES = CASE.spec.names


def test_embeddings_that_are_usable_are_added_under_one_head():
    strategy = Sum(CASE.spec).double()
    total = sum(CASE.batch.features[n] * CASE.batch.present[n][:, None] for n in NAMES)
    assert_close(strategy(CASE.batch).logits, strategy.head(total))


def test_logits_that_are_usable_are_added_each_with_its_bias():
    strategy = Sum(CASE.spec, "logit").double()
    wanted = sum(strategy.heads[n](CASE.batch.features[n]) * CASE.batch.present[n][:, None] for n in NAMES)
    assert_close(strategy(CASE.batch).logits, wanted)


@pytest.mark.parametrize("variant", ["embedding", "logit"])
def test_summands_of_complete_rows_add_up_to_the_logits(variant):
    case = make_case(3, TargetKind.MULTILABEL, "complete")
    output = Sum(case.spec, variant).double()(case.batch)
    assert list(output.aux) == ["unimodal.ehr", "unimodal.cxr", "unimodal.report"]
    assert_close(sum(output.aux.values()), output.logits)


def test_rescaled_a_row_with_one_of_three_equal_embeddings_is_as_one_with_all():
    same = dict.fromkeys(NAMES, CASE.batch.features["ehr"])
    whole = replace(CASE.batch, features=same, present=dict.fromkeys(NAMES, torch.ones(12, dtype=torch.bool)))
    strategy = Sum(CASE.spec, rescale=True).double()
    assert_close(strategy(whole.only("cxr")).logits, strategy(whole).logits)
    assert_close(strategy(whole.only()).logits, strategy.head.bias.expand(12, -1))  # nobody is shown anything
    plain = Sum(CASE.spec).double()
    assert not torch.allclose(plain(whole.only("cxr")).logits, plain(whole).logits)


def test_what_an_imputer_has_filled_is_added_too():
    strategy = Sum(CASE.spec, "logit").double()
    filled = CASE.batch.filled({n: torch.zeros(8, dtype=torch.float64) for n in NAMES})
    absent = {n: ~CASE.batch.present[n] for n in NAMES}
    more = sum(strategy.heads[n].bias * absent[n][:, None] for n in NAMES)
    assert_close(strategy(filled).logits, strategy(CASE.batch).logits + more)


def test_embeddings_of_differing_width_cannot_be_added_and_logits_can():
    spec = FusionSpec({"ehr": 2, "cxr": 5}, 1, TargetKind.BINARY)
    with pytest.raises(ValueError, match="modalities must share one width"):
        Sum(spec)
    assert set(Sum(spec, "logit").heads) == {"ehr", "cxr"}


def test_another_variant_is_refused():
    with pytest.raises(ValueError, match="variant must be 'embedding' or 'logit', found 'mean'"):
        Sum(CASE.spec, "mean")
