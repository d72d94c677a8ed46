"""Imputers of encoder inputs: they learn from training rows as shown, and fill every row."""

from __future__ import annotations

import torch

from fusionbench.contract.batch import Batch, FusionSpec
from fusionbench.contract.learners import Imputer
from fusionbench.data.completion import Completed, complete_table, fit_imputer
from fusionbench.targets import TargetKind
from tests.builders import DIMS, make_model, make_rows

SPEC = FusionSpec(DIMS, 1, TargetKind.BINARY)
TRAIN = torch.arange(10, 40)


class Means(Imputer):
    """Fills in the mean of the rows that it was fitted on."""

    level = "input"

    def __init__(self, spec, only=tuple(DIMS)):
        super().__init__(spec)
        self.only = only

    def fit(self, batch):
        assert not torch.is_grad_enabled()
        self.seen = batch
        self.means = {n: batch.features[n][batch.present[n]].mean(dim=0) for n in self.only}

    def forward(self, batch):
        return batch.filled(self.means)


def shown(table):
    """Hides a third of what there is."""
    hidden = torch.rand(table.available.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    return table.available & ~hidden


def test_an_imputer_is_fitted_on_its_rows_and_on_what_is_shown_of_them():
    table = make_rows()
    present = shown(table)
    imputer = Means(SPEC)
    assert fit_imputer(table, imputer, TRAIN, present) is imputer
    for column, name in enumerate(DIMS):
        rows = [i for i in TRAIN.tolist() if present[i, column]]
        wanted = sum(table.values[name][i] for i in rows) / len(rows)
        torch.testing.assert_close(imputer.means[name], wanted)
        assert torch.equal(imputer.seen.available[name], present[TRAIN, column])


def test_absent_inputs_of_every_row_are_filled_and_the_others_are_as_they_were():
    table = make_rows()
    present, before = shown(table), make_rows()
    imputer = fit_imputer(table, Means(SPEC), TRAIN, present)
    completed, usable = complete_table(table, imputer, present)
    assert usable.all()
    for column, name in enumerate(DIMS):
        has = present[:, column]
        assert torch.equal(completed.values[name][has], table.values[name][has])
        filled = completed.values[name][~has]
        assert torch.equal(filled, imputer.means[name].expand_as(filled))
        assert torch.equal(table.values[name], before.values[name])
    assert torch.equal(completed.target, table.target)


def test_what_nobody_fills_stays_absent():
    table = make_rows()
    imputer = fit_imputer(table, Means(SPEC, only=("b",)), TRAIN, table.available)
    _, usable = complete_table(table, imputer, table.available)
    assert usable[:, 1].all()
    assert torch.equal(usable[:, [0, 2]], table.available[:, [0, 2]])


def test_means_and_spreads_are_taken_again_over_what_was_shown():
    table = make_rows()
    present = shown(table)
    table.scaling("a", TRAIN, table.available)  # a scaling of the whole record is kept already
    completed, usable = complete_table(table, fit_imputer(table, Means(SPEC), TRAIN, present), present)
    rows = TRAIN[present[TRAIN, 0]]
    torch.testing.assert_close(completed.scaling("a", TRAIN, usable).mean, table.values["a"][rows].mean(dim=0))
    assert len(table._scalings) == 1


def test_lengths_of_filled_rows_are_those_that_the_imputer_gives():
    steps = {"a": torch.arange(130) % 5 + 1}

    class Long(Means):
        def forward(self, batch):
            filled = super().forward(batch)
            lengths = torch.where(batch.present["a"], batch.lengths["a"], 9)
            return Batch(filled.features, filled.present, imputed=filled.imputed, lengths={"a": lengths})

    table = make_rows(lengths=steps)
    imputer = fit_imputer(table, Long(SPEC), TRAIN, table.available)
    assert torch.equal(imputer.seen.lengths["a"], steps["a"][TRAIN])
    completed, _ = complete_table(table, imputer, table.available)
    assert torch.equal(completed.lengths["a"], torch.where(table.available[:, 0], steps["a"], 9))


def test_in_the_model_nothing_is_left_to_fill():
    imputer = Completed(make_model().imputer.spec)
    batch = Batch({"a": torch.ones(2, 3)}, {"a": torch.tensor([True, False])})
    assert imputer(batch) is batch
    assert imputer.level == "embedding"
    assert list(imputer.parameters()) == []
