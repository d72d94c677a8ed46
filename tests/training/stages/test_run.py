"""Stages: what they freeze, keep, probe and hand on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from torch import nn

from fusionbench.contract.learners import FusionStrategy
from fusionbench.contract.stages import Stage
from fusionbench.training.loop import train
from fusionbench.training.members import MemberRows, planned_epochs, stage_batches
from fusionbench.training.stages.run import StageRun
from fusionbench_plugins.strategies.concat import Concat
from fusionbench_plugins.strategies.g_blend import GBlend
from tests.builders import DIMS, make_member, make_model, make_rows, member_state, settings


class Staged(Concat):
    """Concat in stages that a test decides."""

    def __init__(self, spec, plan=()):
        super().__init__(spec)
        self.plan = plan
        self.register_buffer("mark", torch.zeros(2))

    def stages(self):
        return self.plan


def member(plan, train_rows=60, **changes):
    return make_member(lambda: make_model(Staged, plan=plan), make_rows(), train=train_rows, **changes)


def states(plan, **changes):
    """Initial and final state of one member."""
    given = member(plan, **changes)
    population, (fit,) = train([given], settings(), "auroc")
    return make_model(Staged, plan=plan).state_dict(), member_state(population, 0), fit


def moved(before, after):
    return {n for n, t in after.items() if not torch.equal(before[n], t)}


def test_a_frozen_prefix_does_not_move():
    before, after, _ = states([Stage("one", frozen=("project.a.", "fusion."))])
    assert moved(before, after) == {"project.b.weight", "project.b.bias", "project.c.weight", "project.c.bias"}


def test_frozen_in_one_stage_is_free_in_the_next():
    before, after, _ = states([Stage("one", frozen=("project.",)), Stage("two", frozen=("fusion.",))])
    assert moved(before, after) >= {"project.a.weight", "fusion.head.weight"}


def test_what_a_stage_does_not_keep_goes_back_to_its_initial_value():
    before, after, _ = states([Stage("one", keep=("project.a.",))])
    assert moved(before, after) == {"project.a.weight", "project.a.bias"}


def test_keeping_nothing_starts_again():
    plan = [Stage("one", keep=()), Stage("two")]
    again = states(plan)[1]
    only = states([Stage("two")])[1]
    assert all(torch.equal(again[n], t) for n, t in only.items())


def test_overrides_hold_from_their_stage_on_and_later_ones_win():
    mark = torch.tensor([1.0, 2.0])
    assert torch.equal(states([Stage("one", overrides={"mark": mark}), Stage("two")])[1]["fusion.mark"], mark)
    plan = [Stage("one", overrides={"mark": mark}), Stage("two", overrides={"mark": mark + 5})]
    assert torch.equal(states(plan)[1]["fusion.mark"], mark + 5)


def test_a_whole_number_of_epochs_is_taken_and_a_share_is_rounded():
    assert [planned_epochs(Stage("s", e), 10) for e in (3, 1, 1.0, 0.25, 0.01)] == [3, 1, 10, 2, 1]
    assert states([Stage("one", 2), Stage("two", 1.0)])[2].epochs == 5


def test_each_stage_starts_a_new_optimiser_and_order():
    once = states([Stage("one", 2)])[1]
    twice = states([Stage("one", 1), Stage("two", 1)])[1]
    assert not torch.equal(once["fusion.head.weight"], twice["fusion.head.weight"])


class OneOrder(Staged):
    """Stages whose batches come in one order whatever the stage is called, to compare stretches with one training."""

    def stages(self):
        return [replace(s, name="same") for s in self.plan]


def in_one_order(plan, patience=100, **changes):
    given = make_member(lambda: make_model(OneOrder, plan=plan), make_rows(), train=64, **changes)
    population, (fit,) = train([given], settings(epochs=8, patience=patience, batch_size=64), "auroc")
    return member_state(population, 0), fit


def test_stages_that_resume_equal_one_training_when_each_epoch_is_one_batch():
    # one batch holds every row: the order of rows within it decides rounding only
    whole, whole_fit = in_one_order([Stage("a", 8)])
    parts, fit = in_one_order([Stage("a", 3), Stage("b", 5, resumes=True)])
    restarted, _ = in_one_order([Stage("a", 3), Stage("b", 5)])
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-5)
    assert fit.history == pytest.approx(whole_fit.history)
    assert (fit.epochs, fit.best_epoch) == (8, whole_fit.best_epoch)
    assert not torch.allclose(restarted["fusion.head.weight"], whole["fusion.head.weight"], rtol=1e-3)


def test_patience_and_the_best_epoch_run_on_through_stages_that_resume():
    plan = [Stage("a", 5), Stage("b", 3, resumes=True)]
    rate = {"learning_rate": 1.0}  # steps so large that the first epochs are the best
    whole, parts = (in_one_order(p, patience=3, **rate) for p in ([Stage("a", 8)], plan))
    assert 5 < parts[1].epochs == whole[1].epochs < 8
    assert parts[1].best_epoch == whole[1].best_epoch
    assert parts[1].score == max(parts[1].history)
    torch.testing.assert_close(parts[0]["fusion.head.weight"], whole[0]["fusion.head.weight"], rtol=1e-3, atol=1e-4)


def test_probes_between_stages_that_resume_start_from_the_last_epoch_and_leave_no_trace():
    probes = Stage(
        "probe", 2, replicas=({"mark": torch.ones(2)},), holdout=0.25, finish=lambda losses: {"mark": torch.ones(2)}
    )
    plain, _ = in_one_order([Stage("a", 3), Stage("b", 5, resumes=True)])
    probed, _ = in_one_order([Stage("a", 3), probes, Stage("b", 5, resumes=True)])
    for name, value in plain.items():
        if name != "fusion.mark":
            assert torch.equal(probed[name], value), name


def test_stages_of_another_name_see_rows_in_another_order():
    given = member(())
    population, _ = train([member([Stage("one")])], settings(epochs=1), "auroc")
    orders = [
        StageRun(population, [given], Stage(n), settings(), "auroc").order.of(0).rows for n in ("one", "two", "one")
    ]
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[1])


# --------------------------------------------------------------------------------------------
# each modality's own head picks its encoder


class Heads(FusionStrategy):
    """A head for each modality, in one stage that selects by them."""

    def __init__(self, spec):
        super().__init__(spec)
        self.heads = nn.ModuleDict({n: nn.Linear(d, 1) for n, d in spec.dims.items()})

    def forward(self, batch):
        return sum(head(batch.completed(n)) for n, head in self.heads.items())

    def modality_logits(self, output, batch):
        return {n: head(batch.completed(n)) for n, head in self.heads.items()}

    def stages(self):
        return (Stage("encoders", select="per_modality"),)


def test_every_encoder_is_kept_from_the_epoch_in_which_its_own_head_was_best():
    given = [make_member(lambda: make_model(Heads), make_rows()) for _ in range(2)]
    population, _ = train(given, settings(epochs=1), "auroc")
    run = StageRun(population, given, given[0].build().fusion.stages()[0], settings(), "auroc")
    # columns: the prediction, a, b, c; the second member is best in other epochs
    scores = torch.tensor([[[0.5, 0.9, 0.5, 0.5], [0.7, 0.5, 0.5, 0.6]], [[0.6, 0.8, 0.7, 0.5], [0.6, 0.6, 0.4, 0.7]]])
    for epoch in range(2):
        with torch.no_grad():
            for p in population.parameters.values():
                p.fill_(float(epoch + 1))
        run.stopping.judge(scores[epoch], epoch + 1, {**population.parameters, **population.buffers})
    kept = {
        n: run.stopping.best_state[f"{n}.weight"].flatten(1)[:, 0].tolist()
        for n in ("project.a", "project.b", "project.c")
    }
    assert kept == {"project.a": [1, 2], "project.b": [2, 1], "project.c": [1, 2]}
    assert run.stopping.best_state["fusion.heads.a.weight"].flatten(1)[:, 0].tolist() == [2, 1]
    assert run.stopping.best_epoch.tolist() == [[2, 1, 2, 1], [1, 2, 1, 2]]


def test_a_head_is_scored_on_the_rows_that_have_its_modality():
    given = make_member(lambda: make_model(Heads), make_rows())
    population, _ = train([given], settings(epochs=1), "auroc")
    run = StageRun(population, [given], given.build().fusion.stages()[0], settings(), "auroc")
    before = run.validation.scores()
    rows = given.validation
    lacking = rows[~given.present[rows, 1]]
    assert len(lacking) > 1
    given.table.target[lacking] = 1 - given.table.target[lacking]
    after = run.validation.scores()
    assert after[0, 2] == before[0, 2]
    assert after[0, 0] != before[0, 0]


def test_a_head_that_cannot_be_scored_is_named():
    table = make_rows()
    rows = torch.arange(100, 130)
    table.available[rows, 2] = False
    given = make_member(lambda: make_model(Heads), table, validation=30)
    for selection in ("metric", "loss"):
        _, (fit,) = train([given], settings(selection=selection), "auroc")
        assert "on the validation rows that have c is undefined" in fit.failure


# --------------------------------------------------------------------------------------------
# rows set aside


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_rows_set_aside_are_a_stratified_share_of_the_training_rows(share):
    whole = member((), 60)
    stage = Stage("probe", holdout=share)
    kept = whole.in_stage(stage).train
    held = whole.train[~torch.isin(whole.train, kept)]
    assert torch.isin(kept, whole.train).all()
    assert len(kept) + len(held) == len(whole.train) == len(set(kept.tolist()) | set(held.tolist()))
    assert len(held) == pytest.approx(share * 60, abs=1)
    classes = Counter(whole.table.target[whole.train].tolist())
    for label, count in Counter(whole.table.target[held].tolist()).items():
        assert count == pytest.approx(share * classes[label], abs=1)
    assert torch.equal(kept, member((), 60).in_stage(stage).train)
    assert not torch.equal(kept, member((), 60, seed=1).in_stage(stage).train)


def test_nothing_is_set_aside_unless_asked():
    whole = member(())
    assert whole.in_stage(Stage("train")) is whole


@limits(deadline=None, max_examples=50)
@given(st.integers(2, 400), st.integers(2, 40), st.floats(0.01, 0.99))
def test_a_stage_has_as_many_batches_as_every_such_member_can_fill(rows, batch_size, share):
    stage = Stage("probe", holdout=share)
    given = member((), 60)
    object.__setattr__(given, "train", torch.arange(rows) % 130)
    size, steps = stage_batches(given, stage, batch_size)
    every = max(2, round(1 / share))
    assert 1 <= size * steps <= rows - -(-rows // every)
    assert size <= batch_size
    others = [
        n
        for n in range(rows, rows + batch_size)
        if (min(batch_size, n), n // min(batch_size, n)) == given.batches(batch_size)
    ]
    for more in others:
        object.__setattr__(given, "train", torch.arange(more) % 130)
        assert stage_batches(given, stage, batch_size) == (size, steps)


def test_members_that_keep_differing_numbers_of_rows_train_together_as_alone():
    def made(rows):
        return make_member(lambda: make_model("g_blend", "mean"), make_rows(), train=rows)

    pair, fits = train([made(49), made(63)], settings(), "auroc")
    for i, rows in enumerate((49, 63)):
        alone, (fit,) = train([made(rows)], settings(), "auroc")
        assert fit.history == pytest.approx(fits[i].history, abs=1e-5)
        torch.testing.assert_close(alone.buffers["fusion.head_weights"][0], pair.buffers["fusion.head_weights"][i])


# --------------------------------------------------------------------------------------------
# replicas


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


def test_rows_of_differing_number_are_padded_and_marked():
    table = make_rows()
    given = [member(()), member(())]
    padded = MemberRows(given, [torch.arange(3), torch.arange(5, 10)])
    assert padded.rows.shape == (2, 5)
    assert padded.counted.sum(dim=1).tolist() == [3, 5]
    assert torch.equal(padded.present, table.available[padded.rows])
