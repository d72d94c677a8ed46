"""Losses and gradients are the same from the models and from a list, whatever the strategy does to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusionbench import FusionStrategy, InputSpec
from fusionbench.contract.stages import Stage
from fusionbench.heads import mlp_head
from fusionbench.training.loop import train
from fusionbench.training.model import FusionModel, seeded
from fusionbench.training.prediction import assemble
from fusionbench.training.recording.recorded import Programs
from fusionbench.training.stages.differentiation import Differentiation
from fusionbench.training.stages.order import EpochOrder
from fusionbench_plugins.encoders.lstm import Lstm
from tests.builders import DIMS, METHODS, make_member, make_model, make_rows, member_state, outcome, settings


def members(strategy="concat", imputer="mean", regularisers=(), dtype=torch.float64, models=3):
    table = make_rows(dtype=dtype)
    return [
        make_member(lambda i=i: make_model(strategy, imputer, i, regularisers, dtype), table, seed=i, fold=i % 2)
        for i in range(models)
    ]


def differentiated(given, change="none", programs=None, noise=None, **changes):
    population = assemble(given)
    programs = Programs() if programs is None else programs
    trained = [n for n, p in population.parameters.items() if p.requires_grad]
    call = Differentiation(population, trained, programs)
    population.draw_noise(16, [torch.Generator().manual_seed(i) for i in range(len(given))])
    rows = next(iter(EpochOrder(given, Stage("train"), 16, 3).batches(0)))
    made = {} if noise is None else {n: noise(p) for n, p in population.parameters.items()}
    return call(rows, made, change, **changes), programs, population


# names of what is trained from: by four epochs the roundings of a step would have grown to something
@pytest.mark.parametrize(("strategy", "imputer", "regularisers"), METHODS)
def test_four_epochs_from_lists_and_from_the_models_give_the_same_parameters(strategy, imputer, regularisers):
    given = members(strategy, imputer, regularisers)
    found = {}
    for recorded in (True, False):
        programs = Programs(wanted=recorded)
        population, fits = train(given, settings(epochs=4), "auroc", programs=programs)
        assert programs.reasons == {}
        assert bool(programs._known) == recorded  # or the two would be compared with themselves
        found[recorded] = [(outcome(f), member_state(population, i)) for i, f in enumerate(fits)]
    for (fit, state), (wanted, reference) in zip(found[True], found[False], strict=True):
        assert fit["epochs"] == wanted["epochs"]
        assert fit["history"] == pytest.approx(wanted["history"], abs=1e-11)
        for name, value in state.items():
            # a gradient that is zero but for its rounding (a bias of keys in attention) becomes a step of Adam's; how large depends
            # on the processor: 1.3e-11 were seen
            torch.testing.assert_close(value, reference[name], rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


def test_gradients_are_put_where_they_are_wanted():
    given = members()
    plain, _, population = differentiated(given, programs=Programs(wanted=False))
    places = {n: torch.zeros_like(p) for n, p in population.parameters.items()}
    for wanted in (True, False):
        found, _, _ = differentiated(given, programs=Programs(wanted=wanted), into=places)
        for name, gradient in found.gradients.items():
            assert gradient is places[name]
            torch.testing.assert_close(gradient, plain.gradients[name], rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(found.losses, plain.losses)


class Halving(FusionStrategy):
    """Halves what it is given, and adds noise where there is some."""

    gradient_noise = True

    def __init__(self, spec):
        super().__init__(spec)
        self.head = mlp_head(sum(spec.dims.values()), 1, 4)

    def forward(self, batch):
        return self.head(torch.cat([batch.completed(n) for n in batch.names], dim=1))

    def modulate(self, gradients, output, batch, target, noise):
        assert output.logits.shape == (16, 1)
        assert set(batch.features) == set(DIMS)
        return {n: g / 2 + noise.get(n, 0) for n, g in gradients.items()}


@pytest.mark.parametrize("recorded", [True, False])
def test_what_a_strategy_changes_is_changed_in_the_step_or_when_it_is_asked_later(recorded):
    given = members(Halving)
    plain = differentiated(given, programs=Programs(wanted=False))[0].gradients
    changed, programs, _ = differentiated(given, "gradients", Programs(wanted=recorded), torch.ones_like)
    later = differentiated(given, "later", Programs(wanted=recorded), torch.ones_like)[0]
    for name, gradient in plain.items():
        torch.testing.assert_close(changed.gradients[name], gradient / 2 + 1)
        torch.testing.assert_close(later.gradients[name], gradient)
    updates = later.modulate({n: torch.full_like(g, 3) for n, g in plain.items()})
    assert all(torch.equal(u, torch.full_like(u, 2.5)) for u in updates.values())
    assert programs.reasons == {}


@pytest.mark.parametrize("change", ["none", "gradients"])
def test_encoders_that_run_one_by_one_have_the_gradients_they_would_have_together(change):
    table = make_rows(dtype=torch.float64)
    steps = torch.randn(len(table.target), 6, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    table = replace(table, values={**table.values, "a": steps}, zero={**table.zero, "a": torch.zeros(6, 5).double()})

    def member(i, cell):
        def build():
            base = make_model(Halving, "zero_input", i, dtype=torch.float64)
            encoder = seeded(i, lambda: Lstm(InputSpec("series", (6, 5)), hidden=5, cell=cell)).double()
            return FusionModel({"a": encoder}, dict(base.project.items()), base.imputer, base.fusion)

        return make_member(build, table, seed=i)

    found = {}
    for cell in ("fused", "plain"):
        given = [member(i, cell) for i in range(3)]
        assert assemble(given).apart == (["a"] if cell == "fused" else [])
        found[cell], programs, _ = differentiated(given, change, noise=torch.ones_like)
        assert programs.reasons == {}
    assert found["fused"].gradients.keys() == found["plain"].gradients.keys()
    for name, gradient in found["plain"].gradients.items():
        torch.testing.assert_close(found["fused"].gradients[name], gradient, rtol=1e-9, atol=1e-10)


class Asking(Halving):
    """Asks for a number in every step."""

    stackable = False

    def forward(self, batch):
        logits = super().forward(batch)
        return logits * 1.0 if float(logits.detach().sum()) > -1e9 else logits


def test_a_strategy_whose_step_cannot_be_recorded_trains_as_it_is_and_says_why():
    programs = Programs()
    population, fits = train(members(Asking, "zero"), settings(epochs=2), "auroc", programs=programs)
    assert programs.reasons == {"the step of training": "asks for a number (aten::_local_scalar_dense)"}
    plain, wanted = train(members(Asking, "zero"), settings(epochs=2), "auroc", programs=Programs(wanted=False))
    assert [outcome(f) for f in fits] == [outcome(f) for f in wanted]
    assert all(torch.equal(p, plain.parameters[n]) for n, p in population.parameters.items())
