"""Probes: replicas of a stage start alike, are judged on rows in and out of it, and leave no trace."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch

from fusionbench.contract.stages import Stage
from fusionbench.training.loop import train
from fusionbench.training.members import Fit
from fusionbench.training.prediction import assemble
from fusionbench.training.stages.probes import probe
from fusionbench_plugins.strategies.g_blend import GBlend
from tests.builders import DIMS, make_member, make_model, make_rows, settings
from tests.training.stages.staged import Staged, member, moved, states


class Spied(GBlend):
    """Gradient-Blending that keeps the losses it was told."""

    told: ClassVar[list] = []

    def _weights_from(self, probes):
        self.told.append(probes)
        return super()._weights_from(probes)


@pytest.fixture(scope="module")
def blended():
    Spied.told.clear()
    given = [make_member(lambda: make_model(Spied, "mean"), make_rows(), train=n, weight_decay=0.0) for n in (60, 50)]
    population, fits = train(given, settings(epochs=5), "auroc")
    return population, fits, list(Spied.told)


def test_a_probe_with_one_weight_trains_its_own_head_and_leaves_the_others(blended):
    _, _, told = blended
    names = (*DIMS, "joint")
    for probes in told:  # one for each member
        for name, losses in zip(names, probes, strict=True):
            assert losses.train_after[name] < losses.train_before[name]
            for other in DIMS:
                if name not in (other, "joint"):
                    assert losses.train_after[other] == pytest.approx(losses.train_before[other], abs=1e-6)


def test_probes_start_from_the_same_parameters(blended):
    for probes in blended[2]:
        assert all(p.train_before == probes[0].train_before for p in probes)
        assert all(p.holdout_before == probes[0].holdout_before for p in probes)


def test_what_the_probes_found_reaches_the_buffers_of_each_member(blended):
    population, _, told = blended
    reader = make_model("g_blend").fusion
    for i, probes in enumerate(told):
        wanted = reader._weights_from(probes)["head_weights"]
        assert torch.equal(population.buffers["fusion.head_weights"][i], wanted)
    assert not torch.equal(*population.buffers["fusion.head_weights"])


def test_the_ledger_counts_what_probes_cost(blended):
    _, fits, _ = blended
    for fit in fits:
        assert fit.epochs == len(fit.history) + 4 * 2  # four probes of 0.4 x 5 epochs
        assert fit.rows > len(fit.history) * 48


def test_probes_leave_no_trace_in_parameters():
    stage = Stage("probe", 0.4, replicas=({"mark": torch.ones(2)}, {"mark": torch.zeros(2)}), holdout=0.2)
    before, after, fit = states([stage])
    assert moved(before, after) == set()
    assert fit.epochs == 2


def test_what_one_probe_hands_on_the_next_one_sees():
    seen = []

    class Chain(Staged):
        def head_losses(self, output, batch, target):
            found = super().head_losses(output, batch, target)
            return {**found, "joint": found["joint"] * 0 + self.mark.sum()}

    def finish(losses):
        seen.append(losses[0].train_before["joint"])
        return {"mark": torch.tensor([3.0, 4.0])}

    plan = [Stage(n, 1, replicas=({},), finish=finish) for n in ("one", "two")] + [Stage("three", 1)]
    given = make_member(lambda: make_model(Chain, plan=plan), make_rows())
    population, _ = train([given], settings(), "auroc")
    assert seen == [0.0, 7.0]
    assert population.buffers["fusion.mark"].tolist() == [[3.0, 4.0]]


def test_losses_before_a_probe_are_those_of_a_model_with_its_statistics():
    seen = []

    plan = [Stage("probe", 1, replicas=({},), holdout=0.2, finish=lambda losses: seen.append(losses[0]) or {})]

    def build():
        return make_model(Staged, "mean", plan=plan)

    given = make_member(build, make_rows(), learning_rate=1e-12, weight_decay=0.0)
    train([given], settings(), "auroc")
    # nothing was learned, so nothing may look gained
    assert seen[0].train_before == pytest.approx(seen[0].train_after, abs=1e-6)
    assert seen[0].holdout_before == pytest.approx(seen[0].holdout_after, abs=1e-6)


def test_loss_means_do_not_depend_on_chunks(monkeypatch):
    stage = Stage("probe", 1, replicas=({},), holdout=0.2, finish=lambda losses: kept.append(losses[0]) or {})
    kept = []
    for rows in (1024, 7):
        monkeypatch.setattr("fusionbench.training.prediction.EVALUATION_ROWS", rows)
        train([member([stage])], settings(), "auroc")
    for first, second in zip(*kept, strict=True):
        assert first == pytest.approx(second, abs=1e-6)


def probed(stage, *given):
    """What ``finish`` was told of each member, what came of it, and the fits."""
    population, fits = assemble(given), [Fit() for _ in given]
    return probe(population, given, stage, settings(), "auroc", fits), fits


def test_how_sure_a_change_is_follows_from_the_rows_paired():
    told = []
    stage = Stage("probe", 2, replicas=({},), holdout=0.25, finish=lambda losses: told.append(losses[0]) or {})
    given = member(())
    made, _ = probed(stage, given)
    assert made == {}
    kept = given.in_stage(stage).train
    held = given.train[~torch.isin(given.train, kept)]
    rows = {"train": kept, "holdout": held}

    def row_losses(population, name):
        with population.evaluating():
            view = population.view(rows[name][None], given.present[rows[name]][None])
            return population.each("head_losses", view, population.table.target[rows[name]][None])["joint"][0]

    after = assemble([given])
    before = {n: row_losses(after, n) for n in rows}
    # the same stretch of training, by itself
    from fusionbench.training.stages.run import StageRun

    StageRun(after, [given], stage, settings(patience=100), "auroc").run([Fit()], None)
    for name in rows:
        change = (row_losses(after, name) - before[name]).double()
        wanted = math.sqrt(float(change.var(unbiased=True)) / len(change))
        assert getattr(told[0], f"{name}_error")["joint"] == pytest.approx(wanted, rel=1e-3)
        moved_by = getattr(told[0], f"{name}_after")["joint"] - getattr(told[0], f"{name}_before")["joint"]
        assert moved_by == pytest.approx(float(change.mean()), rel=1e-3)


def test_without_held_out_rows_validation_rows_take_their_place():
    told = []
    stage = Stage("probe", 1, replicas=({},), finish=lambda losses: told.append(losses[0]) or {})
    given = member((), validation=20)
    population = assemble([given])
    with population.evaluating():
        rows = given.validation[None]
        losses = population.each("head_losses", population.view(rows, given.present[rows]), given.table.target[rows])
    probed(stage, given)
    assert told[0].holdout_before["joint"] == pytest.approx(float(losses["joint"].mean()), rel=1e-5)


def test_a_stage_that_makes_nothing_of_its_probes_costs_what_they_cost():
    made, (fit,) = probed(Stage("probe", 3, replicas=({"mark": torch.ones(2)}, {})), member(()))
    assert made == {}
    assert fit.epochs == 2 * 3
    assert fit.history == []
