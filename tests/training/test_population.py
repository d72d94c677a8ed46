"""A model's numbers do not depend on who is trained beside it: stacked equals solo, through the real loop."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from torch import nn

from fusionbench import InputSpec
from fusionbench.contract.learners import FusionStrategy
from fusionbench.heads import mlp_head
from fusionbench.noise import Dropout
from fusionbench.training.loop import train
from fusionbench.training.model import FusionModel, seeded
from fusionbench.training.population import Population
from fusionbench.training.prediction import predict_conditions
from fusionbench_plugins.encoders.lstm import Lstm
from tests.builders import DIMS, METHODS, make_member, make_model, make_rows, member_state, outcome, settings

# who differs in what: rows in training (all with three batches of 16), rows in validation, seed, fold, rates, hyper
SIZES = (60, 48, 63, 50, 55)


def members(strategy, imputer, regularisers=(), dtype=torch.float32):
    table = make_rows(dtype=dtype)

    def one(i: int):
        def build():
            return make_model(strategy, imputer, i % 2, regularisers, dtype, spread=0.05 * i)

        return make_member(
            build,
            table,
            train=SIZES[i],
            validation=30 - 3 * i,
            fold=i // 2,
            seed=i % 2,
            learning_rate=0.01 * (i + 1),
            weight_decay=0.02 * i,
        )

    return [one(i) for i in range(len(SIZES))]


def trained(given, chosen, **changes):
    """Train the chosen members together: by number, what came of each."""
    population, fits = train([given[i] for i in chosen], settings(**changes), "auroc")
    rows = torch.stack([given[i].validation[:15] for i in chosen])
    present = torch.stack([given[i].present[r] for i, r in zip(chosen, rows, strict=True)])
    predicted = predict_conditions(population, rows, present[None])[0]
    return {i: (outcome(fits[k]), member_state(population, k), predicted[k]) for k, i in enumerate(chosen)}


@pytest.mark.parametrize(("strategy", "imputer", "regularisers"), METHODS)
def test_populations_of_one_two_and_five_give_the_same(strategy, imputer, regularisers):
    given = members(strategy, imputer, regularisers)
    crowd = trained(given, range(5), epochs=2)
    assert all(fit["failure"] is None for fit, _, _ in crowd.values())
    for company in ((3,), (3, 1)):
        for i, (fit, _, predicted) in trained(given, company, epochs=2).items():
            wanted = crowd[i]
            assert fit["history"] == pytest.approx(wanted[0]["history"], abs=1e-5)
            assert fit["loss"] == pytest.approx(
                wanted[0]["loss"], abs=1e-5
            )  # in float32: the last bit is the processor's
            rounded = {"history": 0, "score": 0, "loss": 0}
            assert {**fit, **rounded} == {**wanted[0], **rounded}
            torch.testing.assert_close(predicted, wanted[2], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("strategy", "imputer", "regularisers"), METHODS)
def test_parameters_are_the_same_to_ten_digits_in_float64(strategy, imputer, regularisers):
    given = members(strategy, imputer, regularisers, torch.float64)
    crowd = trained(given, range(5), epochs=7)
    for i, (fit, state, _) in trained(given, (3,), epochs=7).items():
        assert fit == crowd[i][0]
        assert any(t.dtype == torch.float64 for t in state.values())
        for name, value in state.items():
            torch.testing.assert_close(
                value, crowd[i][1][name], rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
            )


class Noisy(FusionStrategy):
    """Dropout before a linear head, and gradients that are shaken."""

    gradient_noise = True

    def __init__(self, spec, stackable=True):
        super().__init__(spec)
        self.stackable = stackable
        self.dropout = Dropout(sum(spec.dims.values()), 0.3)
        self.head = mlp_head(sum(spec.dims.values()), 1, 4)

    def forward(self, batch):
        return self.head(self.dropout(torch.cat([batch.completed(n) for n in batch.names], dim=1)))

    def modulate(self, gradients, output, batch, target, noise):
        return {n: g + 0.01 * noise[n] for n, g in gradients.items()}


@pytest.mark.parametrize("changed", ["gradient", "update"])
def test_dropout_and_gradient_noise_come_from_the_members_own_generator(changed, monkeypatch):
    monkeypatch.setattr(Noisy, "modulates", changed)
    given = members(Noisy, "zero")
    crowd = trained(given, range(5))
    for company in ((2,), (4, 2)):
        found = trained(given, company)[2]
        assert found[0] == crowd[2][0]
        torch.testing.assert_close(found[2], crowd[2][2], rtol=0, atol=1e-5)


def test_what_cannot_be_stacked_runs_one_after_the_other_with_the_same_numbers():
    stacked = trained(members(Noisy, "mean"), range(3))
    given = members(lambda spec: Noisy(spec, stackable=False), "mean")
    looped = trained(given, range(3))
    for i in range(3):
        assert looped[i][0]["epochs"] == stacked[i][0]["epochs"]
        torch.testing.assert_close(looped[i][2], stacked[i][2], rtol=0, atol=1e-4)


def test_two_equal_members_with_other_learning_rates_differ():
    crowd = trained(members("concat", "zero"), (0, 2))
    assert not torch.equal(crowd[0][1]["fusion.head.weight"], crowd[2][1]["fusion.head.weight"])


# --------------------------------------------------------------------------------------------
# the population itself


def population(models, table=None):
    table = make_rows() if table is None else table
    return Population(models, table, [torch.arange(60)] * len(models), [table.available] * len(models))


def test_a_parameter_that_its_author_froze_stays_frozen():
    def build():
        model = make_model()
        model.project["b"].requires_grad_(requires_grad=False)
        return model

    given = make_member(build, make_rows())
    found, (fit,) = train([given], settings(), "auroc")
    before = build()
    assert torch.equal(found.parameters["project.b.weight"][0], before.project["b"].weight)
    assert not torch.equal(found.parameters["project.a.weight"][0], before.project["a"].weight)
    assert fit.parameters == sum(p.numel() for p in before.parameters() if p.requires_grad)


def test_a_snapshot_is_a_copy_and_can_be_restored_in_part():
    crowd = population([make_model(seed=s) for s in range(2)])
    kept = crowd.snapshot()
    with torch.no_grad():
        for p in crowd.parameters.values():
            p.add_(1)
    assert not torch.equal(crowd.parameters["project.a.bias"], kept["project.a.bias"])
    crowd.restore(kept, ["project.a.bias"])
    assert torch.equal(crowd.parameters["project.a.bias"], kept["project.a.bias"])
    assert torch.equal(crowd.parameters["project.b.bias"], kept["project.b.bias"] + 1)


def test_evaluation_mode_ends_also_when_something_raises():
    crowd = population([make_model(Noisy)])
    modes = []
    with suppress(ZeroDivisionError), crowd.evaluating():
        modes.append(crowd.template.training)
        raise ZeroDivisionError
    assert modes == [False]
    assert crowd.template.training
    assert torch.is_grad_enabled()


def test_gradients_of_a_single_model_are_those_without_its_twin():
    model = make_model("attention", "mean")
    crowd = population([model])
    rows = torch.arange(20)[None]
    learned = crowd.learn(crowd.view(rows, crowd.table.available[rows]), crowd.table.target[rows])
    found = torch.autograd.grad(learned.loss.sum(), list(crowd.parameters.values()))
    view = crowd.view(rows, crowd.table.available[rows])
    plain = model.learn(type(view)(*[_first(part) for part in view]), crowd.table.target[rows[0]])
    wanted = torch.autograd.grad(plain.loss, list(model.parameters()))
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f[0], w, rtol=1e-4, atol=1e-6)


def _first(part):
    return {k: v[0] for k, v in part.items()} if isinstance(part, dict) else part[0]


# --------------------------------------------------------------------------------------------
# standardising


def test_inputs_are_standardised_with_the_members_training_rows_that_have_them():
    table = make_rows()
    rows = [torch.arange(50), torch.arange(30, 90)]
    crowd = Population([make_model(), make_model()], table, rows, [table.available] * 2)
    every = torch.arange(len(table.target)).expand(2, -1)
    seen = crowd.view(every, table.available[every]).encoded
    for column, name in enumerate(DIMS):
        for i, own in enumerate(rows):
            has = own[table.available[own, column]]
            values = table.values[name]
            wanted = (values - values[has].mean(dim=0)) / values[has].std(dim=0)
            torch.testing.assert_close(seen[name][i], wanted, rtol=1e-5, atol=1e-5)


def test_rows_of_validation_and_test_do_not_move_the_standardising():
    table = make_rows()
    train_rows = torch.arange(60)
    poisoned = make_rows()
    for values in poisoned.values.values():
        values[60:] = float("nan")
    for name in DIMS:
        for found, wanted in zip(
            poisoned.scaling(name, train_rows, table.available),
            table.scaling(name, train_rows, table.available),
            strict=True,
        ):
            assert torch.equal(found, wanted)


def test_content_that_training_may_not_see_does_not_move_the_standardising():
    table, poisoned = make_rows(), make_rows()
    present = table.available & (torch.rand(table.available.shape, generator=torch.Generator().manual_seed(0)) < 0.6)
    for column, values in enumerate(poisoned.values.values()):
        values[~present[:, column]] = 1e6
    for name in DIMS:
        found = poisoned.scaling(name, torch.arange(60), present)
        assert torch.equal(found.mean, table.scaling(name, torch.arange(60), present).mean)
        assert found.mean.abs().max() < 10


def test_columns_that_are_constant_or_not_asked_for_are_left_as_they_are():
    asked = {"a": torch.tensor([True, True, False, True, True])}
    table = make_rows(standardise=asked)
    table.values["a"][:, 0] = 7.0
    found = table.scaling("a", torch.arange(60), table.available)
    assert found.scale[0] == 1
    assert found.mean[0] == 7
    assert (found.mean[2], found.scale[2]) == (0, 1)
    crowd = population([make_model()], table)
    rows = torch.arange(10)[None]
    assert torch.equal(crowd.view(rows, table.available[rows]).encoded["b"][0], table.values["b"][:10])


def test_padding_behind_a_series_end_is_not_part_of_its_mean():
    steps = torch.arange(6, dtype=torch.float32).reshape(1, 6, 1).repeat(130, 1, 1)
    lengths = torch.full((130,), 2)
    steps[:, 2:] = 1e6
    table = make_rows(
        values={"a": steps, "b": make_rows().values["b"], "c": make_rows().values["c"]},
        lengths={"a": lengths},
        standardise={"a": torch.ones(1, dtype=torch.bool)},
    )
    assert table.scaling("a", torch.arange(60), table.available).mean == pytest.approx(0.5)


def test_tokens_are_pooled_over_the_valid_ones():
    tokens = torch.randn(130, 4, 5, generator=torch.Generator().manual_seed(0))
    tokens[:, 3:] = float("nan")
    base = make_rows()
    table = make_rows(values={**base.values, "a": tokens}, lengths={"a": torch.full((130,), 3)}, standardise={})
    crowd = population([make_model()], table)
    rows = torch.arange(10)[None]
    found = crowd.view(rows, table.available[rows]).encoded["a"][0]
    torch.testing.assert_close(found, tokens[:10, :3].mean(dim=1))


def test_parameters_that_differ_in_shape_cannot_be_stacked():
    model, other = make_model(), make_model()
    other.project["a"] = nn.Linear(5, 9)
    with pytest.raises(RuntimeError):
        population([model, other])


@pytest.mark.parametrize("stacked", [True, False])
def test_an_encoder_says_for_each_device_whether_it_is_stacked(stacked):
    table = make_rows()
    steps = torch.randn(len(table.target), 6, 5, generator=torch.Generator().manual_seed(3))
    table = replace(table, values={**table.values, "a": steps}, zero={**table.zero, "a": torch.zeros(6, 5)})
    called = []

    class Told(Lstm):
        def stackable_on(self, device):
            assert device == torch.device("cpu")
            return stacked

        def forward(self, inputs, lengths=None):
            called.append(True)
            return super().forward(inputs, lengths)

    def model(i):
        base = make_model("concat", "zero", i)
        encoder = seeded(i, lambda: Told(InputSpec("series", (6, 5)), hidden=5, cell="plain"))
        return FusionModel({"a": encoder}, dict(base.project.items()), base.imputer, base.fusion)

    models = [model(i) for i in range(3)]
    rows = torch.arange(8).repeat(3, 1)
    population = Population(models, table, [torch.arange(60)] * 3, [table.available] * 3)
    found = population.view(rows, table.available[rows]).encoded["a"]
    assert len(called) == (1 if stacked else 3)
    scaling = table.scaling("a", torch.arange(60), table.available)
    standardised = (steps[:8] - scaling.mean) / scaling.scale
    for i in range(3):
        torch.testing.assert_close(found[i], models[i].encoder["a"](standardised), rtol=0, atol=1e-5)
