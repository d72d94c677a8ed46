"""Models that run side by side in threads give what they give one after the other."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

from fusionbench import InputSpec
from fusionbench.training.devices.threads import at_once, pool, side_by_side
from fusionbench.training.loop import train
from fusionbench.training.model import FusionModel, seeded
from fusionbench_plugins.encoders.lstm import Lstm
from tests.builders import make_member, make_model, make_rows, member_state, outcome, settings


@contextmanager
def cores(number):
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def networks(number):
    return [
        seeded(i, lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()) for i in range(number)
    ]


def call(module, member):
    parameters, inputs = member
    return functional_call(module, parameters, (inputs,))


@pytest.mark.parametrize("models", [2, 3, 5])
def test_results_and_gradients_are_those_of_the_models_alone(models):
    given = networks(models)
    stacked, _ = stack_module_state(given)
    x = torch.randn(models, 6, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.arange(1.0, models + 1, dtype=torch.float64).reshape(-1, 1, 1)
    found = side_by_side(call, given[:2], (stacked, x))
    gradients = torch.autograd.grad((weights * found.square()).sum(), [*stacked.values(), x])
    for i, network in enumerate(given):
        alone = network(x[i])
        wanted = torch.autograd.grad((weights[i] * alone.square()).sum(), [*network.parameters(), x])
        torch.testing.assert_close(found[i], alone, rtol=0, atol=1e-12)
        for one, other in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(one[i], other[i] if one is gradients[-1] else other, rtol=0, atol=1e-12)


def test_without_gradients_nothing_is_kept_for_them():
    stacked, _ = stack_module_state(networks(2))
    seen = []

    def noting(module, member):
        seen.append(torch.is_grad_enabled())
        return call(module, member)

    with torch.no_grad():
        found = side_by_side(noting, networks(2), (stacked, torch.ones(2, 1, 3, dtype=torch.float64)))
    assert seen == [False, False]
    assert not found.requires_grad


def test_what_no_result_depends_on_has_no_gradient():
    unused = torch.ones(2, 3, requires_grad=True)
    by_some = torch.ones(2, 3, requires_grad=True)
    by_all = torch.ones(2, 3, requires_grad=True)
    number = iter(range(2))
    lock = threading.Lock()

    def choosing(module, member):
        with lock:
            first = next(number) == 0
        _, some, every = member
        return every * some if first else every * 2

    found = side_by_side(choosing, networks(2), (unused, by_some, by_all))
    gradients = torch.autograd.grad(found.sum(), [unused, by_some, by_all], allow_unused=True)
    assert gradients[0] is None
    assert sorted(gradients[1].sum(dim=1).tolist()) == [0.0, 3.0]
    assert sorted(gradients[2].sum(dim=1).tolist()) == [3.0, 6.0]


def test_models_run_in_as_many_threads_as_there_are_modules_and_the_rest_after_them():
    seen = []

    def noting(module, member):
        seen.append((threading.current_thread().name.startswith("fusionbench"), id(module)))
        return member[0]

    given = networks(2)
    found = side_by_side(noting, given, (torch.arange(5.0).reshape(5, 1),))
    assert found.flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert sorted(s for s in seen if s[0]) == sorted([(True, id(m)) for m in given] * 2)
    assert [s for s in seen if not s[0]] == [(False, id(given[0]))]
    assert seen[-1][0] is False


def test_what_a_model_raises_arrives():
    def failing(module, member):
        raise ValueError("a plugin's own words")

    with pytest.raises(ValueError, match="a plugin's own words"):
        side_by_side(failing, networks(2), (torch.ones(2, 1),))


def test_modules_that_share_a_part_do_not_run_at_a_time():
    with cores(3):
        first, second, third, fourth = networks(4)
        assert at_once([first, second, third, fourth]) == [first, second, third]
        shared = nn.Sequential(first[0], nn.ReLU())
        assert at_once([first, shared, second]) == [first, second]
    with cores(1):
        assert at_once([first, second]) == [first]


def test_threads_share_the_cores_and_leave_the_caller_its_own():
    with cores(4):
        pool.cache_clear()
        assert list(pool(2).map(lambda _: torch.get_num_threads(), range(2))) == [2, 2]
        assert torch.get_num_threads() == 4
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [4]
    pool.cache_clear()


@pytest.mark.parametrize("encoder_rows", [None, 5])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_population_trains_alike_with_one_core_and_with_several(precision, encoder_rows):
    table = make_rows()
    steps = torch.randn(len(table.target), 6, 5, generator=torch.Generator().manual_seed(3))
    table = replace(table, values={**table.values, "a": steps}, zero={**table.zero, "a": torch.zeros(6, 5)})

    def member(i):
        def build():
            base = make_model("concat", "zero_input", i)
            encoder = seeded(i, lambda: Lstm(InputSpec("series", (6, 5)), hidden=5, dropout=0.2))
            parts = (dict(base.project.items()), base.imputer, base.fusion)
            return FusionModel({"a": encoder}, *parts, precision=precision, encoder_rows=encoder_rows)

        return make_member(build, table, seed=i)

    found = []
    for number in (1, 2):
        with cores(number):
            population, fits = train([member(i) for i in range(3)], settings(), "auroc")
            found.append([(outcome(f), member_state(population, i)) for i, f in enumerate(fits)])
    exact = precision == "float32"
    for (fit, state), (other, kept) in zip(*found, strict=True):
        assert fit["failure"] is None
        assert fit["history"] == pytest.approx(other["history"], abs=1e-5 if exact else 0.05)
        for name, value in state.items():
            torch.testing.assert_close(value, kept[name], rtol=0, atol=1e-5 if exact else 0.02)
