"""What is drawn over epochs: means over an epoch's batches, errors of imputation, and fits that collect them."""

from __future__ import annotations

import pytest
import torch

from fusionbench.contract.stages import Stage
from fusionbench.missingness.corruption import Corruption
from fusionbench.training.imputation import TRACE
from fusionbench.training.members import Fit, MemberRows
from fusionbench.training.prediction import assemble
from fusionbench.training.stages.order import EpochOrder
from fusionbench.training.stages.tracing import Tracing, add_to
from fusionbench_plugins.strategies.concat import Concat
from tests.builders import DIMS, make_member, make_model, make_rows


class Telling(Concat):
    """Says which share of a batch it is shown of a modality, and whether it is training."""

    def traces(self, output, batch, target):
        shown = {f"shown.{n}": batch.present[n].float().mean() for n in batch.names}
        return {**shown, "label.y": target.float().mean(), "mode.training": torch.tensor(float(self.training))}


def tracing(*given, steps=3):
    population = assemble(given)
    order = EpochOrder(given, Stage("train"), 16, steps)
    return population, order, Tracing(population, order, MemberRows(given, [m.validation for m in given]))


def member(strategy=Telling, imputer="zero", **changes):
    return make_member(lambda: make_model(strategy, imputer), make_rows(), **changes)


def test_values_are_means_over_the_batches_that_the_epoch_had_with_what_was_hidden():
    given = [member(corruption=Corruption("bernoulli", 0.4)), member(seed=1)]
    _, order, traced = tracing(*given)
    found = traced.of_parts(2)
    rows, _, shown = order.of(2)
    for i, one in enumerate(given):
        for column, name in enumerate(DIMS):
            assert found[f"shown.{name}"][i] == pytest.approx(float(shown[i, :, column].float().mean()))
        assert found["label.y"][i] == pytest.approx(float(one.table.target[rows[i]].float().mean()))
    assert found["shown.a"][0] < found["shown.a"][1]


def test_parts_are_asked_in_evaluation_and_training_goes_on():
    population, _, traced = tracing(member())
    before = population.snapshot()
    assert traced.of_parts(0)["mode.training"] == [0.0]
    assert population.template.training
    assert all(torch.equal(before[n], t) for n, t in population.snapshot().items())


def test_who_has_nothing_to_tell_is_not_asked(monkeypatch):
    population, _, traced = tracing(member("concat"))
    monkeypatch.setattr(population, "view", None)
    assert traced.of_parts(0) == {}


def test_filling_with_zeros_errs_by_the_length_of_embeddings_over_their_spread():
    given = member("concat", "mean")  # not renewed: it fills in zeros
    population, _, traced = tracing(given)
    found = traced.of_imputation()
    rows = given.validation
    with population.evaluating():
        embedded = population.each("embeddings", population.view(rows[None], given.present[rows][None]))
    for column, name in enumerate(DIMS):
        has = [i for i, r in enumerate(rows.tolist()) if given.present[r, column] and given.present[r].sum() > 1]
        true = embedded[name][0, has].double()
        wanted = float(true.square().sum() / (true - true.mean(dim=0)).square().sum())
        assert found[f"{TRACE}.{name}"] == [pytest.approx(wanted, rel=1e-5)]


def test_an_imputer_that_fills_nothing_is_found_out_once(monkeypatch):
    population, _, traced = tracing(member("concat", "zero"))
    assert traced.of_imputation() == {}
    monkeypatch.setattr(population, "view", None)
    assert traced.of_imputation() == {}


def test_a_model_of_one_modality_imagines_nothing():
    given = make_member(lambda: make_model("concat", "mean"), make_rows())
    population, _, _ = tracing(given)
    model = population.template
    model.project = torch.nn.ModuleDict({"a": model.project["a"]})
    alone = Tracing(population, EpochOrder([given], Stage("s"), 16, 3), MemberRows([given], [given.validation]))
    assert alone.of_imputation() == {}


def test_a_fit_collects_its_own_value_of_every_epoch():
    fits = [Fit(), Fit()]
    assert fits[0].traces is None
    for values in ({"k.a": [0.1, 0.2]}, {"k.a": [0.3, 0.4], "k.b": [1.0, 2.0]}):
        for model, fit in enumerate(fits):
            add_to(fit, values, model)
    assert fits[0].traces == {"k.a": [0.1, 0.3], "k.b": [1.0]}
    assert fits[1].traces == {"k.a": [0.2, 0.4], "k.b": [2.0]}


def test_a_fit_of_which_nothing_is_drawn_was_asked_all_the_same():
    fit = Fit()
    add_to(fit, {}, 0)
    assert fit.traces == {}
