"""Noise for gradients: each model's numbers come from its own generator, whoever is beside it."""

from __future__ import annotations

import torch

from fusionbench.training.gradient_noise import GradientNoise


def parameters(models, dtype=torch.float32):
    return {"weight": torch.zeros(models, 3, 2, dtype=dtype), "bias": torch.zeros(models, 2, dtype=dtype)}


def generators(*seeds):
    return [torch.Generator().manual_seed(s) for s in seeds]


def drawn(*seeds, dtype=torch.float32):
    given = parameters(len(seeds), dtype)
    noise = GradientNoise(given)
    noise.draw(generators(*seeds))
    return noise.like(given)


def test_a_model_draws_parameter_by_parameter_from_its_own_generator():
    found = drawn(4, 9)
    for model, seed in enumerate((4, 9)):
        (generator,) = generators(seed)
        for name, shape in (("weight", (3, 2)), ("bias", (2,))):
            # as torch fills a tensor of that shape
            assert torch.equal(found[name][model], torch.empty(shape).normal_(generator=generator)), name


def test_company_changes_no_number():
    alone, beside = drawn(7), drawn(1, 2, 7, 3)
    assert all(torch.equal(alone[n][0], beside[n][2]) for n in alone)


def test_the_next_step_has_other_noise():
    given, own = parameters(1), generators(0)
    noise = GradientNoise(given)
    noise.draw(own)
    first = {n: t.clone() for n, t in noise.like(given).items()}
    noise.draw(own)
    assert not any(torch.equal(first[n], t) for n, t in noise.like(given).items())


def test_in_every_precision_the_numbers_are_those_of_float32():
    single, double = drawn(5), drawn(5, dtype=torch.float64)
    assert double["weight"].dtype == torch.float64
    assert torch.equal(double["weight"].float(), single["weight"])


def test_only_gradients_that_are_there_are_given_noise():
    noise = GradientNoise(parameters(2))
    noise.draw(generators(0, 1))
    assert list(noise.like({"bias": torch.zeros(2, 2)})) == ["bias"]


def test_where_nobody_wants_noise_no_generator_is_touched():
    (generator,) = generators(0)
    before = generator.get_state()
    noise = GradientNoise({})
    noise.draw([generator])
    assert torch.equal(generator.get_state(), before)
    assert noise.like(parameters(1)) == {}
