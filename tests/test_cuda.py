"""What a CPU cannot show. Skipped without a CUDA device; on one, run: pytest tests/test_cuda.py"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusionbench import InputSpec
from fusionbench.run.capacity import ON_CUDA, population_size
from fusionbench.training.loop import train
from fusionbench.training.model import FusionModel, seeded
from fusionbench.training.stages.step import TrainingStep
from fusionbench_plugins.encoders.lstm import Lstm
from tests.builders import STRATEGIES, make_member, make_model, make_rows, member_state, moved, outcome, settings

CUDA = torch.device("cuda")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def members(device, strategy="concat", number=3, series=False):
    table = make_rows()
    if series:
        steps = torch.randn(len(table.target), 6, 5, generator=torch.Generator().manual_seed(3))
        table = replace(table, values={**table.values, "a": steps}, zero={**table.zero, "a": torch.zeros(6, 5)})
    table = moved(table, device)

    def one(i):
        def build():
            base = make_model(strategy, "mean", i, spread=0.05 * i)
            if not series:
                return base
            lstm = seeded(i, lambda: Lstm(InputSpec("series", (6, 5)), hidden=5, dropout=0.2))
            return FusionModel({"a": lstm}, dict(base.project.items()), base.imputer, base.fusion)

        member = make_member(build, table, train=90, seed=i, learning_rate=0.01 * (i + 1))
        return replace(member, train=member.train.to(device), validation=member.validation.to(device))

    return [one(i) for i in range(number)]


def trained(given, **changes):
    population, fits = train(given, settings(**{"epochs": 2, **changes}), "auroc")
    return [(outcome(f), {n: t.cpu() for n, t in member_state(population, i).items()}) for i, f in enumerate(fits)]


def assert_close(found, wanted, tolerance):
    for (fit, state), (other, kept) in zip(found, wanted, strict=True):
        assert fit["failure"] is None
        assert fit["history"] == pytest.approx(other["history"], abs=tolerance)
        for name, value in state.items():
            torch.testing.assert_close(
                value, kept[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_models_train_as_on_the_cpu(strategy):
    assert_close(trained(members(CUDA, strategy)), trained(members(torch.device("cpu"), strategy)), 1e-3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_captured_step_trains_as_the_step_does(strategy):
    assert_close(trained(members(CUDA, strategy), graph=True), trained(members(CUDA, strategy)), 1e-5)


@pytest.mark.parametrize("graph", [False, True])
def test_a_stacked_lstm_trains_as_the_librarys_does_on_the_cpu(graph):
    wanted = trained(members(torch.device("cpu"), series=True))
    assert_close(trained(members(CUDA, series=True), graph=graph), wanted, 1e-3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_step_never_waits_for_the_device(strategy, monkeypatch):
    step = TrainingStep.take

    def guarded(self, *inputs):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step(self, *inputs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(TrainingStep, "take", guarded)
    assert all(fit["failure"] is None for fit, _ in trained(members(CUDA, strategy)))


def test_free_memory_gives_a_size():
    assert 1 <= population_size(members(CUDA, number=4), settings(), "auroc") <= ON_CUDA
