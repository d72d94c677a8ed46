"""One step of training against torch's own optimisers, model by model."""

from __future__ import annotations

import pytest
import torch

from fusionbench.contract.stages import Stage
from fusionbench.training.prediction import assemble
from fusionbench.training.stages.order import EpochOrder
from fusionbench.training.stages.step import TrainingStep
from fusionbench_plugins.strategies.concat import Concat
from tests.builders import make_member, make_model, make_rows, settings

RATES, DECAYS = (0.1, 0.02), (0.0, 0.3)


class Halving(Concat):
    """Halves the gradients, or the updates, of its head."""

    def modulate(self, gradients, output, batch, target, noise):
        return {n: g / 2 if n.startswith("fusion.") else g for n, g in gradients.items()}


class Shaken(Halving):
    """Takes noise for gradients."""

    gradient_noise = True

    def modulate(self, gradients, output, batch, target, noise):
        assert noise.keys() == gradients.keys()
        return noise


def members(strategy="concat"):
    table = make_rows()
    return [
        make_member(lambda i=i: make_model(strategy, seed=i), table, seed=i, learning_rate=r, weight_decay=d)
        for i, (r, d) in enumerate(zip(RATES, DECAYS, strict=True))
    ]


def stepped(given, stage=Stage("train"), active=(True, True), times=1, **changes):  # noqa: B008
    """Take steps; return the population before and after, the losses, and the rows of the steps."""
    population = assemble(given)
    before = population.snapshot()
    step = TrainingStep(population, given, stage, settings(optimiser="sgd", momentum=0.9, **changes))
    step.running = list(active)
    batches = list(EpochOrder(given, stage, 16, 3).batches(0))[:times]
    noise = [torch.Generator().manual_seed(7 + i) for i in range(2)]
    losses = [step(rows, torch.tensor(active), noise).clone() for rows in batches]
    return before, population, losses, batches


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_steps_are_those_of_torch_for_each_model_alone(optimiser):
    given = members()
    population = assemble(given)
    step = TrainingStep(population, given, Stage("train"), settings(optimiser=optimiser, momentum=0.9))
    batches = list(EpochOrder(given, Stage("train"), 16, 3).batches(0))
    solo = [make_model(seed=i) for i in range(2)]
    for i, model in enumerate(solo):
        model.load_state_dict(population.state_of(i))
    kinds = {
        "sgd": lambda p, r, d: torch.optim.SGD(p, r, 0.9, weight_decay=d),
        "adamw": lambda p, r, d: torch.optim.AdamW(p, r, weight_decay=d),
    }
    wanted = [kinds[optimiser](list(m.parameters()), r, d) for m, r, d in zip(solo, RATES, DECAYS, strict=True)]
    for rows in batches:
        losses = step(rows, torch.ones(2, dtype=torch.bool), [])
        view = population.view(rows.rows, rows.shown, rows.present)
        for i, model in enumerate(solo):
            own = type(view)(*({n: t[i] for n, t in p.items()} for p in view[:2]), view.present[i], view.available[i])
            wanted[i].zero_grad()
            loss = model.learn(own, given[i].table.target[rows.rows[i]]).loss
            loss.backward()
            wanted[i].step()
            assert float(losses[i]) == pytest.approx(float(loss.detach()), rel=1e-4)
    for i, model in enumerate(solo):
        for name, value in model.named_parameters():
            torch.testing.assert_close(population.parameters[name][i], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_model_that_is_not_active_does_not_move(optimiser):
    given = members()
    population = assemble(given)
    before = population.snapshot()
    step = TrainingStep(population, given, Stage("train"), settings(optimiser=optimiser))
    step.running = [False, True]
    for rows in EpochOrder(given, Stage("train"), 16, 3).batches(0):
        step(rows, torch.tensor([False, True]), [])
    for name, value in population.parameters.items():
        assert torch.equal(value[0], before[name][0]), name
        assert not torch.equal(value[1], before[name][1]), name


def test_frozen_prefixes_stay_and_the_others_move():
    before, population, _, _ = stepped(members(), Stage("one", frozen=("project.a.", "fusion.")))
    still = {n for n, p in population.parameters.items() if torch.equal(p, before[n])}
    assert still == {"project.a.weight", "project.a.bias", "fusion.head.weight", "fusion.head.bias"}


@pytest.mark.parametrize("kind", ["gradient", "update"])
def test_what_a_strategy_changes_are_gradients_before_or_updates_after_the_optimiser(kind, monkeypatch):
    monkeypatch.setattr(Halving, "modulates", kind)
    before, plain, _, _ = stepped(members())
    _, halved, _, _ = stepped(members(Halving))
    for i in range(2):
        for name in plain.parameters:
            start = before[name][i]
            whole, found = plain.parameters[name][i] - start, halved.parameters[name][i] - start
            decay = -RATES[i] * DECAYS[i] * start if kind == "gradient" else 0  # decay is no gradient of the loss
            wanted = (whole - decay) / 2 + decay if name.startswith("fusion.") else whole
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_noise_for_gradients_comes_from_the_generator_of_each_model():
    before, population, _, _ = stepped(members(Shaken))
    for i in range(2):
        generator = torch.Generator().manual_seed(7 + i)
        for name, value in population.parameters.items():
            noise = torch.empty(value[i].shape).normal_(generator=generator)
            wanted = before[name][i] - RATES[i] * (noise + DECAYS[i] * before[name][i])
            torch.testing.assert_close(value[i], wanted, rtol=1e-5, atol=1e-6)
