"""Stacked optimisers against ``torch.optim``, model by model."""

from __future__ import annotations

import pytest
import torch

from fusionbench.training.optimisers import AdamW, Sgd

RATES, DECAYS = (0.1, 0.003, 0.03), (0.0, 0.1, 0.01)
SHAPES = {"weight": (3, 4), "bias": (3,), "scale": ()}
STEPS = 30


def gradients(step: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(step)
    scale = 10.0 ** (step % 5 - 3)  # of differing size, so that second moments matter
    return {n: scale * torch.randn(3, *s, generator=draw, dtype=torch.float64) for n, s in SHAPES.items()}


def start() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(99)
    return {n: torch.randn(3, *s, generator=draw, dtype=torch.float64) for n, s in SHAPES.items()}


def stacked(optimiser) -> dict[str, torch.Tensor]:
    parameters = start()
    for step in range(STEPS):
        for name, update in optimiser.updates(parameters, gradients(step)).items():
            parameters[name] = parameters[name] + update
    return parameters


def alone(model: int, make) -> dict[str, torch.Tensor]:
    parameters = {n: torch.nn.Parameter(t[model].clone()) for n, t in start().items()}
    optimiser = make(parameters.values(), RATES[model], DECAYS[model])
    for step in range(STEPS):
        for name, gradient in gradients(step).items():
            parameters[name].grad = gradient[model].clone()
        optimiser.step()
    return parameters


def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(RATES, dtype=torch.float64), torch.tensor(DECAYS, dtype=torch.float64)


@pytest.mark.parametrize("model", range(3))
def test_adamw_equals_torch_with_a_learning_rate_and_decay_of_its_own(model):
    wanted = alone(model, lambda p, r, d: torch.optim.AdamW(p, lr=r, weight_decay=d))
    found = stacked(AdamW(*vectors()))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name][model], value.data, rtol=0, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("model", range(3))
def test_sgd_equals_torch_with_a_learning_rate_and_decay_of_its_own(model, momentum):
    wanted = alone(model, lambda p, r, d: torch.optim.SGD(p, lr=r, weight_decay=d, momentum=momentum))
    found = stacked(Sgd(*vectors(), momentum=momentum))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name][model], value.data, rtol=0, atol=1e-12)


def test_a_parameter_without_gradient_is_left_alone_also_by_decay():
    optimiser = AdamW(*vectors())
    updates = optimiser.updates(start(), {"bias": gradients(0)["bias"]})
    assert set(updates) == {"bias"}


def test_gradients_and_parameters_are_not_changed_in_place():
    given, parameters = gradients(1), start()
    for optimiser in (AdamW(*vectors()), Sgd(*vectors())):
        optimiser.updates(parameters, given)
        optimiser.updates(parameters, given)
    assert all(torch.equal(given[n], gradients(1)[n]) and torch.equal(parameters[n], start()[n]) for n in SHAPES)
