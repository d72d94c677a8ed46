"""Stages: what they freeze, keep, probe and hand on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusionbench.contract.stages import Stage
from fusionbench.training.loop import train
from fusionbench.training.members import planned_epochs
from fusionbench.training.stages.run import StageRun, first_epoch
from tests.builders import make_member, make_model, make_rows, member_state, settings
from tests.training.stages.staged import Heads, Staged, moved, states


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


@pytest.mark.parametrize(
    ("least", "steps", "stretch", "wanted"),
    [
        (0, 8, 25, 1),
        (100, 8, 25, 13),
        (100, 8, 5, 5),
        (None, 8, 25, 12),
        (None, 30, 25, 4),
        (None, 1, 60, 30),
        (None, 3, 1, 1),
    ],
)
def test_the_first_epoch_that_counts(least, steps, stretch, wanted):
    assert first_epoch(least, steps, stretch) == wanted


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


# --------------------------------------------------------------------------------------------
# each modality's own head picks its encoder


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


# --------------------------------------------------------------------------------------------
# rows set aside


def test_members_that_keep_differing_numbers_of_rows_train_together_as_alone():
    def made(rows):
        return make_member(lambda: make_model("g_blend", "mean"), make_rows(), train=rows)

    pair, fits = train([made(49), made(63)], settings(), "auroc")
    for i, rows in enumerate((49, 63)):
        alone, (fit,) = train([made(rows)], settings(), "auroc")
        assert fit.history == pytest.approx(fits[i].history, abs=1e-5)
        torch.testing.assert_close(alone.buffers["fusion.head_weights"][0], pair.buffers["fusion.head_weights"][i])
