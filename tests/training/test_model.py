"""Matrix products in bfloat16: everybody runs, learns as well, and is stacked as before; float32 is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionbench import FusionSpec, InputSpec
from fusionbench.config.sections import TrainingSection
from fusionbench.targets import TargetKind
from fusionbench.training.devices.precision import abilities
from fusionbench.training.loop import train
from fusionbench.training.model import FusionModel, seeded
from fusionbench.training.population import Population
from tests.builders import (
    METHODS,
    WIDTH,
    make_member,
    make_model,
    make_rows,
    make_run,
    member_state,
    outcome,
    plugin,
    run_toy,
    settings,
    shared_key,
)


def build(precision, strategy="concat", imputer="zero", seed=0, regularisers=()):
    model = make_model(strategy, imputer, seed, regularisers)
    model.precision = precision
    return model


def trained(precision, *arguments, seeds=(0, 1, 2), regularisers=(), **changes):
    """Train a population; return it with its fits."""
    table = make_rows()

    def one(seed):
        return make_member(lambda: build(precision, *arguments, seed=seed, regularisers=regularisers), table, seed=seed)

    return train([one(s) for s in seeds], settings(**changes), "auroc")


@pytest.mark.parametrize(("strategy", "imputer", "regularisers"), METHODS)
def test_every_method_trains_in_bfloat16_and_keeps_float32_state(strategy, imputer, regularisers):
    population, fits = trained("bfloat16", strategy, imputer, regularisers=regularisers, seeds=(0, 1), epochs=1)
    assert [f.failure for f in fits] == [None] * 2
    state = population.snapshot()
    assert {t.dtype for t in state.values() if t.is_floating_point()} == {torch.float32}
    assert all(bool(torch.isfinite(t).all()) for n, t in state.items() if n in population.parameters)


@pytest.mark.parametrize("strategy", ["concat", "dwfuse", "ogm_ge"])
def test_bfloat16_reaches_nearly_the_same_validation_score(strategy):
    scores = {p: torch.tensor([f.score for f in trained(p, strategy, epochs=8)[1]]) for p in ("float32", "bfloat16")}
    assert float(scores["float32"].mean()) > 0.8
    assert float((scores["float32"] - scores["bfloat16"]).abs().mean()) < 0.02


def test_bfloat16_is_not_float32_under_another_name():
    states = [trained(p, epochs=1)[0].parameters["fusion.head.weight"] for p in ("float32", "bfloat16")]
    assert not torch.equal(*states)
    torch.testing.assert_close(*states, rtol=0, atol=0.02)


@pytest.mark.parametrize("strategy", ["concat", "pmr"])
def test_in_bfloat16_too_a_member_is_the_same_in_other_company(strategy):
    crowd, alone = trained("bfloat16", strategy), trained("bfloat16", strategy, seeds=(1,))
    assert alone[1][0].history == pytest.approx(crowd[1][1].history, abs=5e-3)
    for name, value in member_state(alone[0], 0).items():
        torch.testing.assert_close(value, member_state(crowd[0], 1)[name], rtol=0, atol=5e-3)


def test_float32_enters_no_autocast(monkeypatch):
    wanted = trained("float32", "dwfuse", "cra_cycle")
    monkeypatch.setattr(torch, "autocast", None)  # would raise when called
    found = trained("float32", "dwfuse", "cra_cycle")
    assert [outcome(f) for f in found[1]] == [outcome(f) for f in wanted[1]]
    assert all(torch.equal(t, wanted[0].parameters[n]) for n, t in found[0].parameters.items())


class Watching(nn.Module):
    """A product of matrices that notes what it reads and gives."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, WIDTH, bias=False)  # a bias is added in float32
        self.seen = []

    def forward(self, x):
        result = self.linear(x)
        self.seen.append((x.dtype, result.dtype))
        return result


def test_inputs_losses_and_logits_are_float32_and_products_are_not():
    model = build("bfloat16", "dwfuse", "cra_cycle")
    watching = model.project["a"] = Watching()
    table = make_rows()
    population = Population([model, model], table, [torch.arange(60)] * 2, [table.available] * 2)
    rows = torch.arange(16).expand(2, -1)
    view = population.view(rows, table.available[rows])
    learned = population.learn(view, table.target[rows])
    assert set(watching.seen) == {(torch.float32, torch.bfloat16)}
    assert learned.loss.dtype == learned.output.logits.dtype == population.predict(view).dtype == torch.float32
    assert {t.dtype for t in learned.batch["features"].values()} == {torch.float32}
    gradients = torch.autograd.grad(learned.loss.sum(), list(population.parameters.values()), allow_unused=True)
    assert {g.dtype for g in gradients if g is not None} == {torch.float32}


@pytest.mark.parametrize("cell", ["fused", "plain"])
def test_a_recurrent_encoder_runs_in_bfloat16_and_gives_float32(cell):
    steps = torch.randn(130, 6, 3, generator=torch.Generator().manual_seed(0))
    available = torch.ones(130, 1, dtype=torch.bool)
    table = make_rows(values={"a": steps}, zero={"a": torch.zeros(6, 3)}, standardise={}, available=available)

    def lstm(precision):
        spec = FusionSpec({"a": WIDTH}, 1, TargetKind.BINARY)
        encoder = plugin("encoders", "lstm")(InputSpec("series", (6, 3)), hidden=8, cell=cell)
        head = plugin("strategies", "concat")(spec)
        projection = {"a": nn.Linear(8, WIDTH)}
        return FusionModel({"a": encoder}, projection, plugin("imputers", "zero")(spec), head, precision=precision)

    encoded = {}
    for products in ("float32", "bfloat16"):
        models = [seeded(s, lambda p=products: lstm(p)) for s in range(2)]
        population = Population(models, table, [torch.arange(60)] * 2, [table.available] * 2)
        rows = torch.arange(16).expand(2, -1)
        encoded[products] = population.view(rows, table.available[rows]).encoded["a"]
    assert encoded["bfloat16"].dtype == torch.float32
    in_float32 = (
        cell == "fused" and not abilities(torch.device("cpu")).recurrent
    )  # the library's layer, not our products
    assert torch.equal(encoded["float32"], encoded["bfloat16"]) == in_float32
    torch.testing.assert_close(encoded["float32"], encoded["bfloat16"], rtol=0, atol=0.02)


def test_only_bfloat16_enters_the_key_of_a_result():
    def key(**training):
        return shared_key(training=training)["training"]

    assert "precision" not in key() == key(precision="float32")
    assert key(precision="bfloat16") == {**key(), "precision": "bfloat16"}
    assert TrainingSection().precision == "float32"


def test_a_benchmark_that_asks_for_bfloat16_trains_in_it(tmp_path):
    forced = {"epochs": 2, "precision": "bfloat16", "precision_forced": True}
    run = make_run(tmp_path, training=forced)
    assert run.blueprint.build(run.plan.arms[0], 0, {}).precision == "bfloat16"
    summary = run_toy(tmp_path, training=forced)[1]
    assert summary.failures == []
    assert summary.trained == len(summary.plan.fits)
