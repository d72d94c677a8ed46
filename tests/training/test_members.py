"""Members of a population: their batches, the rows that stages set aside, padding."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from fusionbench.contract.stages import Stage
from fusionbench.training.members import (
    MemberRows,
    allowed_epochs,
    generator_of,
    last_stretch,
    padded,
    planned_epochs,
    spans,
    stage_batches,
)
from tests.builders import make_rows
from tests.training.stages.staged import member


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


def test_rows_of_differing_number_are_padded_and_marked():
    table = make_rows()
    given = [member(()), member(())]
    padded = MemberRows(given, [torch.arange(3), torch.arange(5, 10)])
    assert padded.rows.shape == (2, 5)
    assert padded.counted.sum(dim=1).tolist() == [3, 5]
    assert torch.equal(padded.present, table.available[padded.rows])


@pytest.mark.parametrize(
    ("rows", "asked", "wanted"), [(60, 16, (16, 3)), (48, 16, (16, 3)), (10, 16, (10, 1)), (1, 2, (1, 1))]
)
def test_an_epoch_has_as_many_whole_batches_as_rows_fill(rows, asked, wanted):
    assert replace(member(()), train=torch.arange(rows)).batches(asked) == wanted


@pytest.mark.parametrize(
    ("epochs", "of", "wanted"), [(3, 50, 3), (1, 50, 1), (1.0, 50, 50), (0.5, 5, 2), (0.001, 50, 1), (7, 5, 7)]
)
def test_a_whole_number_of_epochs_is_that_many_and_any_other_a_share(epochs, of, wanted):
    assert planned_epochs(Stage("s", epochs), of) == wanted


PROBE = ({}, {}, {})


@pytest.mark.parametrize(
    ("stages", "of", "planned", "last", "allowed"),
    [
        ([Stage("train")], 7, [(7, 7)], 7, 7),
        ([Stage("before", 0.5), Stage("train")], 10, [(5, 5), (10, 10)], 10, 15),
        ([Stage("probe", 0.4, replicas=PROBE), Stage("train")], 10, [(4, 4), (10, 10)], 10, 22),
        # shares that are rounded one by one would add up to 12 of 8
        ([Stage(str(i), 0.25, resumes=i > 0) for i in range(4)], 10, [(2, 10), (3, 10), (3, 10), (2, 10)], 10, 10),
        (
            [Stage("a", 0.5), Stage("p", 1, replicas=PROBE), Stage("b", 0.5, resumes=True)],
            5,
            [(2, 5), (1, 1), (3, 5)],
            5,
            8,
        ),
        ([Stage("a", 30), Stage("b", 3, resumes=True)], 5, [(30, 33), (3, 33)], 33, 33),
    ],
)
def test_stages_that_resume_each_other_share_one_stretch_and_others_come_on_top(stages, of, planned, last, allowed):
    assert spans(stages, of) == planned
    assert (last_stretch(stages, of), allowed_epochs(stages, of)) == (last, allowed)


def test_rows_of_several_labels_are_set_aside_by_how_many_labels_they_have():
    labels = (torch.arange(130)[:, None] >= torch.tensor([30, 60])).long()  # 30 rows have none, 30 one, the others two
    many = replace(member(()), table=make_rows(target=labels), train=torch.arange(120))
    kept = many.in_stage(Stage("probe", holdout=0.25)).train
    held = many.train[~torch.isin(many.train, kept)]
    assert len(held) == 30
    for count, rows in ((0, 30), (1, 30), (2, 60)):
        assert int((labels[held].sum(dim=1) == count).sum()) == pytest.approx(rows / 4, abs=1)


def test_rows_are_made_equally_long_with_their_own_first_row():
    rows, counted = padded([torch.tensor([4, 5, 6]), torch.tensor([9])])
    assert rows.tolist() == [[4, 5, 6], [9, 9, 9]]
    assert counted.tolist() == [[True, True, True], [True, False, False]]


def test_draws_depend_on_purpose_fold_seed_epoch_and_stage_and_not_on_what_is_trained():
    def drawn(purpose="noise", epoch=0, stage="train", **changes):
        return float(torch.rand((), generator=generator_of(purpose, member((), **changes), epoch, Stage(stage))))

    others = [drawn("order"), drawn(epoch=1), drawn(stage="two"), drawn(seed=1), drawn(fold=1)]
    assert len({drawn(), *others}) == 6
    assert drawn() == drawn(learning_rate=0.5) == drawn(train_rows=40)
