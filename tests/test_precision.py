"""Matrix products in bfloat16: everybody runs, learns as well, and is stacked as before; float32 is left alone."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from fusionbench import FusionSpec, InputSpec, precision
from fusionbench.config import TrainingSection
from fusionbench.model import FusionModel, seeded
from fusionbench.population import Population
from fusionbench.precision import abilities
from fusionbench.targets import TargetKind
from fusionbench.training import train
from tests import front
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


class Listening(nn.Module):
    """An encoder of somebody else's, around a recurrent layer of the library's."""

    def __init__(self, layer, packed=False):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.layer = layer(4, 5, batch_first=True)
        self.packed = packed

    def forward(self, steps):
        steps = self.first(steps)
        if self.packed:
            steps = nn.utils.rnn.pack_padded_sequence(steps, [steps.shape[1]] * len(steps), batch_first=True)
        found = self.layer(steps)[0]
        return nn.utils.rnn.pad_packed_sequence(found, batch_first=True)[0] if self.packed else found


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layer", precision.RECURRENT)
def test_without_a_kernel_a_layer_of_anybodys_computes_in_float32_and_the_rest_does_not(layer, packed, monkeypatch):
    able = precision.abilities(torch.device("cpu"))
    monkeypatch.setattr(precision, "abilities", lambda _: replace(able, recurrent=False))
    module = seeded(0, lambda: Listening(layer, packed))
    steps = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    seen = []
    module.first.register_forward_hook(lambda *found: seen.append(found[-1].dtype))

    def inside(stage):
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            return stage(steps)

    precision.guard_recurrent_layers(module)
    copy = deepcopy(module)
    found = inside(module)
    assert found.dtype == torch.float32
    assert seen == [torch.bfloat16]
    # the layer alone, on what came from the first stage
    before = inside(module.first).float()
    wanted = type(module.layer).forward(module.layer, before)[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    found.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in module.parameters())
    with torch.no_grad():
        copy.layer.weight_hh_l0.mul_(2)
    assert not torch.equal(inside(copy), inside(module))
    outside = torch.nn.functional.linear(steps, module.first.weight, module.first.bias)
    torch.testing.assert_close(module(steps), type(module.layer).forward(module.layer, outside)[0])


def test_what_this_processor_can_do_is_what_it_does():
    device = torch.device("cpu")
    able = precision.abilities(device)
    assert able.pays == able.native
    assert able.half
    assert precision.abilities(device) is able
    for layer in precision.RECURRENT:
        attempt = partial(precision._try_layer, layer, device)
        if able.recurrent:
            attempt()
    if not able.recurrent:
        with pytest.raises(RuntimeError, match="primitive"):
            precision._try_layer(nn.LSTM, device)


def test_a_library_held_to_old_instructions_has_neither_products_nor_layers():
    code = """
import torch
from fusionbench.precision import abilities
print(abilities(torch.device("cpu")), sep="")
"""
    found = front.python(code, ONEDNN_MAX_CPU_ISA="AVX2")
    assert found.stderr == ""
    assert "held to AVX2 by ONEDNN_MAX_CPU_ISA) has no instructions for bfloat16" in found.stdout
    assert "no kernel for recurrent layers" in found.stdout


@pytest.mark.parametrize(
    ("capability", "native"), [((7, 0), False), ((7, 5), False), ((8, 0), True), ((9, 0), True), ((12, 0), True)]
)
def test_of_cuda_devices_those_from_compute_capability_8_on_have_it(capability, native, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some Card")
    words, found = precision._cuda(torch.device("cuda", 1))
    assert found is native
    assert words == f"cuda:1 (Some Card, compute capability {capability[0]}.{capability[1]})"


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
