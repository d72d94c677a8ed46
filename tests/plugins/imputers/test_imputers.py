"""What the simple imputers have in common."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusionbench_plugins.imputers.learned import Learned
from fusionbench_plugins.imputers.mean import Mean
from fusionbench_plugins.imputers.zero import Zero
from fusionbench_plugins.imputers.zero_input import ZeroInput
from tests.plugins.imputers.small import SPEC, build, make_batch


@pytest.mark.parametrize("imputer_class", [ZeroInput, Mean, Learned])
def test_filling_keeps_what_is_present_and_marks_what_is_absent(imputer_class):
    batch = make_batch()
    completed = build(imputer_class)(batch)
    for name in SPEC.names:
        present = batch.present[name]
        assert torch.equal(completed.completed(name)[present], batch.features[name][present])
        assert torch.equal(completed.imputed[name], ~present)
        assert torch.equal(completed.present[name], present)
        assert completed.usable(name).all()
        assert torch.equal(completed.observed(name)[~present], torch.zeros_like(completed.observed(name)[~present]))


@pytest.mark.parametrize("imputer_class", [ZeroInput, Mean, Learned])
def test_the_content_of_absent_rows_is_never_read(imputer_class):
    imputer, batch = build(imputer_class), make_batch()
    garbage = {
        n: torch.where(batch.present[n][:, None], f, torch.full_like(f, 1e30)) for n, f in batch.features.items()
    }
    for name in SPEC.names:
        expected = imputer(batch).completed(name)
        assert torch.equal(imputer(replace(batch, features=garbage)).completed(name), expected)


def test_each_fill_is_what_its_name_says():
    batch = make_batch()
    learned = build(Learned)
    assert torch.equal(ZeroInput(SPEC)(batch).completed("cxr")[0], batch.zero_input["cxr"])
    assert torch.equal(build(Mean)(batch).completed("ehr")[2], torch.tensor([1.0, 2.0, 3.0]))
    assert torch.equal(learned(batch).completed("cxr")[3], learned.tokens["cxr"])
    assert all(((t >= 0) & (t < 1)).all() for t in learned.tokens.values())


@pytest.mark.parametrize("imputer_class", [ZeroInput, Learned])
def test_gradients_reach_the_fill_from_filled_rows_only(imputer_class):
    imputer, batch = build(imputer_class), make_batch()
    imputer(batch).completed("cxr").sum().backward()
    fill = imputer.tokens["cxr"] if imputer_class is Learned else batch.zero_input["cxr"]
    assert torch.equal(fill.grad, torch.full((2,), 2.0))  # two rows lack it
    assert torch.equal(batch.features["cxr"].grad, batch.present["cxr"][:, None].float().expand(-1, 2))


@pytest.mark.parametrize("imputer_class", [Zero, ZeroInput, Mean, Learned])
def test_nothing_changes_where_everything_is_present(imputer_class):
    batch = make_batch()
    batch = replace(batch, present={n: torch.ones(4, dtype=torch.bool) for n in SPEC.names})
    completed = build(imputer_class)(batch)
    assert all(torch.equal(completed.completed(n), batch.features[n]) for n in SPEC.names)
    assert not any(rows.any() for rows in completed.imputed.values())
