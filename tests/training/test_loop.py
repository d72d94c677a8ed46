"""The loop: early stopping, best epochs, divergence, and what never enters training."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from fusionbench.contract.stages import TrainingClock
from fusionbench.metrics import scores as metrics
from fusionbench.missingness.corruption import Corruption
from fusionbench.targets import probabilities, row_losses
from fusionbench.training.loop import train
from fusionbench.training.members import last_stretch
from fusionbench.training.stages.stopping import EarlyStopping
from fusionbench_plugins.strategies.concat import Concat
from tests.builders import METHODS, ROWS, make_member, make_model, make_rows, member_state, outcome, settings


def concat(**changes):
    return make_member(lambda: make_model("concat", "mean"), make_rows(), **changes)


def validation_logits(population, member):
    rows = member.validation[None]
    with population.evaluating():
        return population.predict(population.view(rows, member.present[rows]))[0], member.table.target[
            member.validation
        ]


# --------------------------------------------------------------------------------------------
# which epoch is kept, and when training ends


@pytest.mark.parametrize("metric", ["auroc", "brier"])
def test_the_model_is_left_as_it_was_in_its_best_epoch(metric):
    member = concat(learning_rate=0.5)
    population, (fit,) = train([member], settings(epochs=12, patience=12), metric)
    assert fit.score == max(fit.history)
    assert fit.best_epoch == 1 + fit.history.index(fit.score) < len(fit.history)
    logits, target = validation_logits(population, member)
    found = float(metrics.score(metric, probabilities(logits, "binary"), target, member.table.kind))
    assert fit.score == pytest.approx(found if metric == "auroc" else -found, abs=1e-6)


def test_selection_by_loss_scores_epochs_by_the_negative_loss():
    member = concat(learning_rate=0.3)
    population, (fit,) = train([member], settings(epochs=10, patience=10, selection="loss"), "auroc")
    logits, target = validation_logits(population, member)
    assert fit.score == max(fit.history) == pytest.approx(-float(row_losses(logits, target, "binary").mean()), abs=1e-6)
    assert fit.best_epoch < len(fit.history)


@pytest.mark.parametrize(("steps", "first"), [(0, 1), (4, 2), (7, 3), (10**6, 12)])
def test_an_epoch_counts_from_the_least_number_of_steps_on_or_the_last_where_there_are_fewer(steps, first):
    member = concat(learning_rate=0.5)  # three steps an epoch
    _, (fit,) = train([member], settings(epochs=12, patience=12, least_steps=steps), "auroc")
    assert fit.score == max(fit.history[first - 1 :])
    assert fit.best_epoch == first + fit.history[first - 1 :].index(fit.score)


@pytest.mark.parametrize(("strategy", "imputer", "regularisers"), METHODS)
@pytest.mark.parametrize("epochs", [1, 7])
def test_no_method_uses_more_epochs_than_it_is_allowed(strategy, imputer, regularisers, epochs):
    member = make_member(lambda: make_model(strategy, imputer, regularisers=regularisers), make_rows())
    _, (fit,) = train([member], settings(epochs=epochs, patience=100), "auroc")
    assert 0 < fit.epochs <= fit.allowed
    assert fit.epochs == fit.allowed  # nobody stopped early: the limit is what is used at most, and no more
    stages = member.build().fusion.stages()
    assert last_stretch(stages, epochs) == epochs


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_training_ends_when_patience_is_over(patience):
    _, fits = train(
        [concat(learning_rate=r, seed=s) for r in (0.03, 0.5) for s in (0, 1)],
        settings(epochs=15, patience=patience),
        "auroc",
    )
    for fit in fits:
        assert fit.epochs == len(fit.history) == min(15, fit.best_epoch + patience)
        assert fit.rows == fit.epochs * (48 + 30 + 60)  # three batches of 16, validation, sums for the mean imputer
    assert min(f.epochs for f in fits) < 15


def test_a_member_that_has_stopped_does_not_move_while_others_go_on(monkeypatch):
    seen = []
    select = EarlyStopping.judge

    def spied(stopping, scores, epoch, state):
        select(stopping, scores, epoch, state)
        seen.append((stopping.active.clone(), state["fusion.head.weight"].detach().clone()))

    monkeypatch.setattr(EarlyStopping, "judge", spied)
    _, fits = train([concat(learning_rate=0.5), concat(learning_rate=0.001)], settings(epochs=15, patience=2), "auroc")
    assert fits[0].epochs != fits[1].epochs
    for (active, before), (_, after) in pairwise(seen):
        for member in range(2):
            assert torch.equal(before[member], after[member]) != bool(active[member])


def test_stopping_early_is_the_same_as_planning_fewer_epochs_in_what_it_keeps():
    member = concat(learning_rate=0.5)
    longer, (fit,) = train([member], settings(epochs=15, patience=3), "auroc")
    shorter, _ = train([member], settings(epochs=fit.best_epoch, patience=15), "auroc")
    for name, value in member_state(shorter, 0).items():
        torch.testing.assert_close(member_state(longer, 0)[name], value, msg=name)


def test_progress_is_reported_after_every_epoch():
    told = []
    train([concat()], settings(), "auroc", told.append)
    assert [(course.epochs, course.planned) for course in told] == [(1, 3), (2, 3), (3, 3)]
    best = [course.scores[0] for course in told]
    assert best == sorted(best)


# --------------------------------------------------------------------------------------------
# divergence


class Poisoned(Concat):
    """Its loss is not a number, or infinite, from a given epoch on."""

    def __init__(self, spec, at=1.0, value=float("nan")):
        super().__init__(spec)
        self.value = value
        self.hyper("at", at)
        self.register_buffer("epoch", torch.zeros(()))

    def loss(self, output, batch, target):
        return torch.where(self.epoch >= self.at, self.value, super().loss(output, batch, target))

    def update(self, statistics, clock: TrainingClock):
        return {"epoch": torch.full_like(self.epoch, float(clock.completed))}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_member_whose_loss_is_not_finite_fails_and_the_others_go_on(value):
    def member(at):
        return make_member(lambda: make_model(Poisoned, at=at, value=value), make_rows())

    good = [member(99), replace(member(99), seed=1)]
    _, wanted = train(good, settings(), "auroc")
    _, (first, bad, second) = train([good[0], member(1), good[1]], settings(), "auroc")
    assert [outcome(first), outcome(second)] == [outcome(f) for f in wanted]
    assert bad.failure == "diverged: the loss was not finite in epoch 2 of stage 'train'"
    assert bad.epochs == 2
    assert bad.best_epoch == 1


def test_a_learning_rate_that_is_far_too_large_does_not_touch_the_neighbours():
    calm, wild = concat(), concat(learning_rate=1e30)
    _, (alone,) = train([calm], settings(), "auroc")
    _, (beside, lost) = train([calm, wild], settings(), "auroc")
    assert outcome(beside) == outcome(alone)
    assert lost.failure is not None


# --------------------------------------------------------------------------------------------
# what never enters


HIDING = [
    ("concat", "zero", ()),
    ("concat", "mean", ()),
    ("concat", "learned", ()),
    ("concat", "zero_input", ()),
    ("dwfuse", "cra", ()),
    ("sum", "cra_cycle", ("tla",)),
    ("ogm_ge", "mean", ()),
    ("pmr", "zero", ()),
    ("medfuse", "zero", ()),
    ("g_blend", "mean", ()),
    ("unimodal", "zero", ()),
]


@pytest.mark.parametrize(("strategy", "imputer", "regularisers"), HIDING)
def test_what_a_record_lacks_or_a_condition_hides_is_never_looked_at(strategy, imputer, regularisers):
    clean, poisoned = make_rows(), make_rows()
    uniforms = torch.rand(clean.available.shape, generator=torch.Generator().manual_seed(3))
    present = clean.available & (uniforms < 0.6)
    present[:, 0] |= ~present.any(dim=1)
    present &= clean.available
    rows = present.any(dim=1).nonzero().squeeze(1)
    for column, values in enumerate(poisoned.values.values()):
        values[~present[:, column]] = 1e6

    def train_on(table):
        member = make_member(lambda: make_model(strategy, imputer, 0, regularisers), table, present=present)
        member = replace(member, train=rows[:60], validation=rows[-25:])
        if member.corruption.policy == "none":
            member = replace(member, corruption=Corruption("bernoulli", 0.3))
        population, (fit,) = train([member], settings(epochs=2), "auroc")
        return outcome(fit), member_state(population, 0)

    (fit, state), (wanted, reference) = train_on(poisoned), train_on(clean)
    assert fit == wanted
    assert fit["failure"] is None
    for name, value in reference.items():
        assert torch.equal(state[name], value), name


def test_neither_features_nor_labels_of_other_rows_are_looked_at():
    clean, poisoned = make_rows(), make_rows()
    for values in poisoned.values.values():
        values[60:100] = float("nan")
    poisoned.target[60:100] = 1 - poisoned.target[60:100]
    results = []
    for table in (clean, poisoned):
        member = make_member(lambda: make_model("pmr", "mean"), table)
        population, (fit,) = train([member], settings(), "auroc")
        results.append((outcome(fit), member_state(population, 0)))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(results[1][1][n], t) for n, t in results[0][1].items())
    assert ROWS > 100
