"""What parts keep between epochs: sums over every training row once, and buffers made of them."""

from __future__ import annotations

import pytest
import torch

from fusionbench.training.loop import train
from fusionbench.training.prediction import assemble
from fusionbench.training.stages.renewal import renew
from fusionbench_plugins.strategies.concat import Concat
from tests.builders import DIMS, make_member, make_model, make_rows, member_state, settings


class Witness(Concat):
    """Writes down when it was asked to update, and refuses to learn before it was."""

    def __init__(self, spec):
        super().__init__(spec)
        self.register_buffer("rows", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(9))
        self.register_buffer("planned", torch.zeros(()))

    def loss(self, output, batch, target):
        return torch.where(self.rows > 0, super().loss(output, batch, target), torch.nan)

    def statistics(self, output, batch, target, predict):
        return {"rows": torch.ones_like(target).sum(), "label": target.sum()}

    def update(self, statistics, clock):
        step = (torch.arange(9) == clock.completed).float()
        return {
            "rows": statistics["rows"].float(),
            "seen": self.seen + step,
            "planned": torch.full_like(self.planned, float(clock.planned)),
        }


def test_updates_come_before_the_first_epoch_and_after_each_and_know_the_clock(monkeypatch):
    monkeypatch.setattr("fusionbench.training.prediction.EVALUATION_ROWS", 20)
    sizes = (60, 48, 63)
    given = [make_member(lambda: make_model(Witness), make_rows(), train=n) for n in sizes]
    population, fits = train(given, settings(epochs=4), "auroc")
    for i, fit in enumerate(fits):
        state = member_state(population, i)
        assert fit.failure is None
        assert state["fusion.rows"] == sizes[i]
        assert state["fusion.planned"] == 4
        assert state["fusion.seen"].tolist() == [1.0] * (fit.best_epoch + 1) + [0.0] * (8 - fit.best_epoch)


@pytest.mark.parametrize("chunk", [1024, 20])
def test_the_means_that_fill_gaps_are_plain_means_over_each_members_training_rows(monkeypatch, chunk):
    monkeypatch.setattr("fusionbench.training.prediction.EVALUATION_ROWS", chunk)
    given = [make_member(lambda: make_model("concat", "mean"), make_rows(), train=n) for n in (60, 48, 63, 50)]
    population, _ = train(given, settings(), "auroc")
    for i, member in enumerate(given):
        rows = torch.stack([member.train] * 4)
        with torch.no_grad():
            seen = population.view(rows, member.present[rows])
        for column, name in enumerate(DIMS):
            weight, bias = (population.parameters[f"project.{name}.{p}"][i].detach() for p in ("weight", "bias"))
            embedded = seen.encoded[name][i] @ weight.T + bias
            wanted = embedded[member.present[member.train, column]].mean(dim=0)
            torch.testing.assert_close(population.buffers[f"imputer.mean_{name}"][i], wanted, rtol=1e-4, atol=1e-5)


class Growing(Witness):
    """Its buffer takes another shape with every epoch."""

    def update(self, statistics, clock):
        return {"seen": torch.zeros(9 + clock.completed)}


def members(strategy=Witness, sizes=(60, 41)):
    return [make_member(lambda: make_model(strategy), make_rows(), train=n) for n in sizes]


@pytest.mark.parametrize("chunk", [1024, 7])
def test_every_training_row_is_summed_once_whatever_the_size_of_chunks(monkeypatch, chunk):
    monkeypatch.setattr("fusionbench.training.prediction.EVALUATION_ROWS", chunk)
    given = members()
    population = assemble(given)
    assert renew(population, given, 2, 5)
    assert population.buffers["fusion.rows"].tolist() == [60, 41]
    assert population.buffers["fusion.planned"].tolist() == [5, 5]
    assert population.buffers["fusion.seen"][:, 2].tolist() == [1, 1]


def test_parts_that_keep_nothing_are_not_asked(monkeypatch):
    given = members("concat")
    population = assemble(given)
    monkeypatch.setattr(population, "view", None)
    assert renew(population, given, 0, 1)


def test_parameters_and_the_mode_are_as_they_were():
    given = members()
    population = assemble(given)
    before = {n: p.clone() for n, p in population.parameters.items()}
    renew(population, given, 0, 3)
    assert population.template.training
    assert all(torch.equal(before[n], p) for n, p in population.parameters.items())


def test_it_is_said_when_a_buffer_has_taken_another_place():
    given = members(Growing)
    population = assemble(given)
    assert renew(population, given, 0, 3)
    assert not renew(population, given, 1, 3)
    assert population.buffers["fusion.seen"].shape == (2, 10)
