"""The order of rows, and what is hidden of them: by purpose, fold, seed, stage and epoch alone."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch

from fusionbench.contract.learners import FusionStrategy
from fusionbench.contract.stages import Stage
from fusionbench.missingness.corruption import Corruption
from fusionbench.training.loop import train
from fusionbench.training.stages.order import EpochOrder
from fusionbench.training.stages.run import StageRun
from fusionbench_plugins.strategies.concat import Concat
from tests.builders import make_member, make_model, make_rows, settings
from tests.training.stages.staged import member

STAGE = Stage("train")


def plain(**changes):
    return make_member(make_model, make_rows(), **changes)


def test_an_epoch_has_training_rows_each_once_and_drops_what_fills_no_batch():
    rows, had, shown = EpochOrder([plain()], STAGE, 16, 3).of(0)
    assert rows.shape == (1, 48)
    assert len(set(rows[0].tolist())) == 48
    assert set(rows[0].tolist()) <= set(range(60))
    assert torch.equal(had[0], plain().present[rows[0]])
    assert shown is had or torch.equal(shown, had)


def test_batches_are_the_epoch_cut_in_its_order():
    order = EpochOrder([plain(), plain(seed=1)], STAGE, 16, 3)
    whole, parts = order.of(4), list(order.batches(4))
    assert [p.rows.shape for p in parts] == [(2, 16)] * 3
    for kind in range(3):
        assert torch.equal(torch.cat([p[kind] for p in parts], dim=1), whole[kind])


def test_a_model_sees_its_rows_whatever_is_trained_beside_it():
    one, other = plain(seed=3, corruption=Corruption("uniform_subset")), plain(seed=5, train=50)
    alone, beside = (EpochOrder(given, STAGE, 16, 3).of(1) for given in ([one], [other, one]))
    for a, b in zip(alone, beside, strict=True):
        assert torch.equal(a[0], b[1])


def test_folds_stages_and_epochs_have_orders_of_their_own():
    def first(stage="train", epoch=0, **changes):
        return tuple(EpochOrder([plain(**changes)], Stage(stage), 16, 3).of(epoch).rows[0].tolist())

    orders = [first(), first(epoch=1), first(fold=1), first(seed=1), first("other")]
    assert len(set(orders)) == 5
    assert first() == orders[0]


def test_what_is_hidden_does_not_change_the_order():
    hiding = replace(plain(), corruption=Corruption("bernoulli", 0.5))
    shown, hidden = (EpochOrder([m], STAGE, 16, 3).of(0) for m in (plain(), hiding))
    assert torch.equal(shown.rows, hidden.rows)
    assert torch.equal(shown.present, hidden.present)
    assert not torch.equal(shown.shown, hidden.shown)


class Listener(FusionStrategy):
    """Keeps what it was shown; runs one at a time, so that there is something to keep."""

    stackable = False
    corruption = "uniform_subset"
    shown: ClassVar[list] = []

    def __init__(self, spec):
        super().__init__(spec)
        self.inner = Concat(spec)

    def forward(self, batch):
        if self.training:
            names = batch.names
            self.shown.append([torch.stack([p[n] for n in names], dim=1) for p in (batch.present, batch.available)])
        return self.inner(batch)


def test_hiding_takes_from_what_is_there_and_nothing_else():
    Listener.shown.clear()
    member = make_member(lambda: make_model(Listener), make_rows())
    train([member], settings(epochs=6, record=False), "auroc")  # it listens to every call
    present, available = (torch.cat(parts) for parts in zip(*Listener.shown, strict=True))
    assert len(present) == 6 * 48
    assert not (present & ~available).any()
    assert (available & ~present).any()
    assert present.any(dim=1).all()
    records = {tuple(row) for row in member.present[member.train].tolist()}
    assert {tuple(row) for row in available.tolist()} <= records


def test_without_a_policy_everything_is_shown(monkeypatch):
    Listener.shown.clear()
    monkeypatch.setattr(Listener, "corruption", "none")
    train([make_member(lambda: make_model(Listener), make_rows())], settings(), "auroc")
    assert all(torch.equal(present, available) for present, available in Listener.shown)


def test_order_and_hiding_do_not_depend_on_the_method():
    kept = []
    for name in ("concat", "sum"):
        member = make_member(lambda name=name: make_model(name), make_rows(), corruption=Corruption("bernoulli", 0.3))
        population, _ = train([member], settings(epochs=1), "auroc")
        run = StageRun(population, [member], member.build().fusion.stages()[0], settings(), "auroc")
        kept.append(run.order.of(2))
    assert all(torch.equal(a, b) for a, b in zip(*kept, strict=True))
    rows, had, shown = kept[0]
    assert len(set(rows[0].tolist())) == rows.shape[1] == 48
    assert (had & ~shown).any()


def test_epochs_see_rows_in_another_order_and_seeds_too():
    member = make_member(lambda: make_model("concat", "mean"), make_rows())
    population, _ = train([member, replace(member, seed=1)], settings(epochs=1), "auroc")
    run = StageRun(
        population, [member, replace(member, seed=1)], member.build().fusion.stages()[0], settings(), "auroc"
    )
    first, second = run.order.of(0)[0], run.order.of(1)[0]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)
    assert torch.equal(run.order.of(0)[0], first)


def test_stages_of_another_name_see_rows_in_another_order():
    given = member(())
    population, _ = train([member([Stage("one")])], settings(epochs=1), "auroc")
    orders = [
        StageRun(population, [given], Stage(n), settings(), "auroc").order.of(0).rows for n in ("one", "two", "one")
    ]
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[1])
