"""Mean filling."""

from __future__ import annotations

from dataclasses import replace

import torch

from fusionbench import TrainingClock
from fusionbench_plugins.imputers.mean import Mean
from tests.plugins.imputers.small import NO_PREDICTION, SPEC, build, make_batch


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


def test_until_the_first_pass_the_mean_is_zero_and_absent_rows_count_as_filled():
    completed = Mean(SPEC)(make_batch())
    assert completed.imputed["cxr"].tolist() == [True, False, False, True]
    assert not completed.completed("cxr")[0].any()


def test_rows_that_were_filled_before_do_not_enter_the_mean():
    imputer = build(Mean)
    before = make_batch()
    first, again = (
        imputer.statistics(NO_PREDICTION, batch, torch.zeros(4), lambda _: NO_PREDICTION)
        for batch in (before, imputer(before))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
