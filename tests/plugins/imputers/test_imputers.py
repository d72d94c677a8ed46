"""The simple imputers and kNN, each against what its one sentence says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusionbench import Batch, FusionOutput, FusionSpec, TargetKind, TrainingClock
from fusionbench_plugins.imputers.learned import Learned
from fusionbench_plugins.imputers.mean import Mean
from fusionbench_plugins.imputers.zero import Zero
from fusionbench_plugins.imputers.zero_input import ZeroInput

SPEC = FusionSpec({"ehr": 3, "cxr": 2}, num_outputs=1, kind=TargetKind.BINARY)
NO_PREDICTION = FusionOutput(torch.zeros(4, 1))


def make_batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        features={n: torch.randn(4, d, generator=generator, requires_grad=True) for n, d in SPEC.dims.items()},
        present={"ehr": torch.tensor([True, True, False, True]), "cxr": torch.tensor([False, True, True, False])},
        zero_input={n: torch.full((d,), 0.5, requires_grad=True) for n, d in SPEC.dims.items()},
    )


def build(imputer_class):
    imputer = imputer_class(SPEC)
    if imputer_class is Mean:
        for name, dim in SPEC.dims.items():
            getattr(imputer, f"mean_{name}").copy_(torch.arange(1.0, dim + 1))
    return imputer


def test_zero_leaves_the_batch_as_it_is():
    batch = make_batch()
    assert Zero(SPEC)(batch) is batch
    assert torch.equal(batch.completed("cxr")[0], torch.zeros(2))


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


def test_mean_equals_the_mean_over_present_training_rows_of_all_batches():
    imputer, batches = Mean(SPEC), [make_batch(1), make_batch(2)]
    sums = [imputer.statistics(NO_PREDICTION, b, torch.zeros(4), lambda b: NO_PREDICTION) for b in batches]
    total = {key: sums[0][key] + sums[1][key] for key in sums[0]}
    updated = imputer.update(total, TrainingClock(0, 5))
    for name in SPEC.names:
        rows = torch.cat([b.features[name][b.present[name]] for b in batches])
        torch.testing.assert_close(updated[f"mean_{name}"], rows.mean(dim=0))


def test_mean_of_a_modality_that_no_training_row_has_stays_zero():
    batch = make_batch()
    batch = replace(batch, present={**batch.present, "cxr": torch.zeros(4, dtype=torch.bool)})
    imputer = Mean(SPEC)
    sums = imputer.statistics(NO_PREDICTION, batch, torch.zeros(4), lambda b: NO_PREDICTION)
    assert torch.equal(imputer.update(sums, TrainingClock(0, 5))["mean_cxr"], torch.zeros(2))


@pytest.mark.parametrize("imputer_class", [Zero, ZeroInput, Mean, Learned])
def test_nothing_changes_where_everything_is_present(imputer_class):
    batch = make_batch()
    batch = replace(batch, present={n: torch.ones(4, dtype=torch.bool) for n in SPEC.names})
    completed = build(imputer_class)(batch)
    assert all(torch.equal(completed.completed(n), batch.features[n]) for n in SPEC.names)
    assert not any(rows.any() for rows in completed.imputed.values())


# ------------------------------------------------------------------------------------------------ kNN
