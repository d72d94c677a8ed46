"""Schedules, warm-up and clipping against torch's own, model by model, and that none of it depends on the company."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.optim import lr_scheduler

from fusionbench.training.loop import train
from fusionbench.training.optimisers import AdamW, FusedAdamW, Sgd
from fusionbench.training.pace import Pace, clip_factors, of_models, plateau_patience
from fusionbench.training.packing import packed
from tests.builders import make_member, make_model, make_rows, member_state, settings

STEPS = 23
RATES, DECAYS = (0.1, 0.003, 0.03), (0.0, 0.1, 0.01)
SHAPES = {"weight": (3, 4), "bias": (3,), "scale": ()}


def gradients(step):
    draw = torch.Generator().manual_seed(step)
    return {n: 3 * torch.randn(3, *s, generator=draw, dtype=torch.float64) for n, s in SHAPES.items()}


def start():
    draw = torch.Generator().manual_seed(99)
    return {n: torch.randn(3, *s, generator=draw, dtype=torch.float64) for n, s in SHAPES.items()}


def torch_schedule(given, optimiser):
    """The same schedule, of torch's own parts."""
    after = {
        "constant": lambda: lr_scheduler.ConstantLR(optimiser, 1.0, 1),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimiser, STEPS - given.warmup),
    }[given.schedule]
    if not given.warmup:
        return after()
    warm = lr_scheduler.LinearLR(optimiser, 1 / (given.warmup + 1), 1.0, given.warmup)
    return lr_scheduler.SequentialLR(optimiser, [warm, after()], [given.warmup])


@pytest.mark.parametrize("warmup", [0, 1, 7])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_rates_are_those_of_torch(schedule, warmup):
    given = settings(schedule=schedule, warmup=warmup)
    pace = Pace(given, 2, STEPS)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    wanted = torch_schedule(given, optimiser)
    for _ in range(STEPS):
        assert pace.factors() == pytest.approx([optimiser.param_groups[0]["lr"]] * 2, abs=1e-12)
        optimiser.step()
        wanted.step()
        pace.advance()
    assert pace.varies is (schedule == "cosine" or warmup > 0)


def test_a_plateau_halves_the_rate_of_each_model_as_torch_does():
    given = settings(schedule="plateau", patience=6)
    assert plateau_patience(given) == 2
    scores = [(0.5, 0.5), (0.6, 0.5), (math.nan, 0.5), (0.6, 0.51), (0.59, 0.4), (0.7, 0.4), (0.1, 0.4), (0.1, 0.4)]
    scores += [(0.1, 0.3)] * 7
    pace, optimisers = Pace(given, 2, 0), [torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0) for _ in "ab"]
    like = [
        lr_scheduler.ReduceLROnPlateau(o, "max", factor=0.5, patience=2, threshold=0.0, threshold_mode="abs", eps=0)
        for o in optimisers
    ]
    for epoch in scores:
        pace.judge(epoch)
        for one, score in zip(like, epoch, strict=True):
            one.step(score)
        assert pace.factors() == [o.param_groups[0]["lr"] for o in optimisers]
    assert pace.factors()[0] != pace.factors()[1]


@pytest.mark.parametrize("longest", [0.5, 5.0, 1e6])
def test_gradients_are_as_long_as_torch_leaves_them(longest):
    for step in range(3):
        given = gradients(step)
        factors = clip_factors(given, longest)
        for model in range(3):
            alone = {n: torch.nn.Parameter(torch.zeros(s, dtype=torch.float64)) for n, s in SHAPES.items()}
            for name, parameter in alone.items():
                parameter.grad = given[name][model].clone()
            torch.nn.utils.clip_grad_norm_(alone.values(), longest)
            for name, parameter in alone.items():
                found = given[name] * of_models(factors, given[name])
                torch.testing.assert_close(found[model], parameter.grad, rtol=0, atol=1e-14)


MADE = {
    "adamw": (lambda p, r, d: torch.optim.AdamW(p, lr=r, weight_decay=d), AdamW),
    "sgd": (lambda p, r, d: torch.optim.SGD(p, lr=r, weight_decay=d, momentum=0.9), Sgd),
    "fused": (lambda p, r, d: torch.optim.AdamW(p, lr=r, weight_decay=d), FusedAdamW),
}


@pytest.mark.parametrize("kind", MADE)
def test_whole_courses_with_warm_up_cosine_and_clipping_are_torchs(kind):
    given, longest = settings(schedule="cosine", warmup=4), 2.0
    alone, stacked = MADE[kind]
    parameters = start()
    buffers, held = packed(parameters)
    if kind == "fused":
        ours = FusedAdamW(buffers, RATES, DECAYS)
        parameters = held
    else:
        ours = stacked(torch.tensor(RATES, dtype=torch.float64), torch.tensor(DECAYS, dtype=torch.float64))
    pace = Pace(given, 3, STEPS)
    for step in range(STEPS):
        ours.pace(pace.factors())
        pace.advance()
        found = gradients(step)
        factors = clip_factors(found, longest)
        found = {n: g * of_models(factors, g) for n, g in found.items()}
        if kind == "fused":
            for name, gradient in found.items():
                ours.gradients[name].copy_(gradient)
            ours.step(list(found), [True] * 3)
        else:
            for name, update in ours.updates(parameters, found).items():
                parameters[name] = parameters[name] + update
    for model in range(3):
        wanted = {n: torch.nn.Parameter(t[model].clone()) for n, t in start().items()}
        optimiser = alone(list(wanted.values()), RATES[model], DECAYS[model])
        schedule = torch_schedule(given, optimiser)
        for step in range(STEPS):
            for name, gradient in gradients(step).items():
                wanted[name].grad = gradient[model].clone()
            torch.nn.utils.clip_grad_norm_(wanted.values(), longest)
            optimiser.step()
            schedule.step()
        for name, value in wanted.items():
            torch.testing.assert_close(parameters[name][model], value.data, rtol=0, atol=1e-11)


CHANGES = {
    "cosine": {"schedule": "cosine", "warmup": 5},
    "plateau": {"schedule": "plateau", "patience": 3},
    "clip": {"clip": 0.05},
    "all": {"schedule": "plateau", "patience": 4, "warmup": 3, "clip": 0.3},
}


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=list(CHANGES))
def test_a_model_is_the_same_to_the_last_bit_whatever_its_company(changes, optimiser):
    table = make_rows()

    def member(i):
        given = make_member(lambda: make_model("ogm_ge", seed=i), table, seed=i)
        return replace(given, learning_rate={"adamw": 0.3, "sgd": 2.0}[optimiser] / (i + 1), weight_decay=0.1 * i)

    whole = {"optimiser": optimiser, "epochs": 8, "least_steps": 10**6}  # kept as it ends
    given = settings(**whole, **changes)
    together, fits = train([member(i) for i in range(3)], given, "auroc")
    alone, (fit,) = train([member(1)], given, "auroc")
    assert fit.history == fits[1].history
    own = member_state(together, 1)
    assert all(torch.equal(value, own[name]) for name, value in member_state(alone, 0).items())
    plain, _ = train([member(1)], settings(**whole), "auroc")
    assert any(not torch.equal(value, own[name]) for name, value in member_state(plain, 0).items())


@pytest.mark.parametrize("changes", CHANGES.values(), ids=list(CHANGES))
def test_recorded_steps_are_those_of_the_models_themselves(changes):
    member = make_member(lambda: make_model("medfuse"), make_rows())
    found = [
        member_state(train([member], settings(epochs=4, record=record, **changes), "auroc")[0], 0)
        for record in (True, False)
    ]
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-4, atol=1e-5)


def test_stages_that_resume_go_on_with_the_pace_that_was():
    def trained(**options):
        member = make_member(lambda: make_model("g_blend", mode="online", **options), make_rows(), train=64)
        _, (fit,) = train([member], settings(epochs=8, batch_size=64, schedule="cosine", optimiser="sgd"), "auroc")
        return fit

    assert len(trained(super_epochs=4).history) == len(trained(super_epochs=3).history) == 8
