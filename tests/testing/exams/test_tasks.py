"""Tasks that are wrong on purpose: each is rejected by the check that is meant for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusionbench import Dataset, Modality, TargetKind, Task
from fusionbench.testing import CHECKS, run_checks
from fusionbench.testing.checks import sentence


class GoodTask(Task):
    """Two noisy looks at a coin, and a sentence about it."""

    modality_names = ("look", "course", "words")

    def prepare(self, cache, progress):
        draw = np.random.default_rng(0)
        side = draw.integers(0, 2, 40)
        course = draw.normal(size=(40, 3, 2)).astype(np.float32)
        modalities = {
            "look": Modality("vector", draw.normal(size=(40, 2)).astype(np.float32)),
            "course": Modality("series", course, draw.integers(1, 4, 40), np.array([True, False])),
            "words": Modality("text", ["heads" if s else "" for s in side]),
        }
        parts = {"groups": np.arange(40) // 2, "folds": np.arange(40) // 2 % 4}
        return self.changed(
            Dataset(modalities, np.ones((40, 3), bool), side, TargetKind.BINARY, ("heads",), digest="coin", **parts)
        )

    def changed(self, data):
        return data


class NamesOthers(GoodTask):
    modality_names = ("look", "words")


class HasEmptyRows(GoodTask):
    def changed(self, data):
        return replace(data, available=np.arange(120).reshape(40, 3) > 2)


class GivesDoubleLengths(GoodTask):
    def changed(self, data):
        course = replace(data.modalities["course"], lengths=np.full(40, 6))
        return replace(data, modalities={**data.modalities, "course": course})


class CallsAVectorAnImage(GoodTask):
    def changed(self, data):
        look = replace(data.modalities["look"], kind="image")
        return replace(data, modalities={**data.modalities, "look": look})


class LeavesGaps(GoodTask):
    def changed(self, data):
        data.modalities["course"].values[3] = np.nan
        return data


class LabelsFromOne(GoodTask):
    def changed(self, data):
        return replace(data, target=data.target + 1)


class PredictsWhatNobodyHas(GoodTask):
    def changed(self, data):
        target = np.stack([data.target, np.zeros(40, int)], axis=1)
        return replace(data, target=target, kind=TargetKind.MULTILABEL, outputs=("heads", "edge"))


class CutsPatients(GoodTask):
    def changed(self, data):
        return replace(data, folds=np.arange(40) % 4)


class DrawsAnew(GoodTask):
    def changed(self, data):
        return replace(data, target=np.random.default_rng().permutation(data.target))


class HashesTheClock(GoodTask):
    def changed(self, data):
        return replace(data, digest=str(np.random.default_rng().random()))


class ReadsItsCacheOtherwise(GoodTask):
    def prepare(self, cache, progress):
        known = cache / "seen"
        again = known.exists()
        known.write_text("", encoding="utf-8")
        data = super().prepare(cache, progress)
        return replace(data, groups=data.groups + int(again))


class SeedsEverybody(GoodTask):
    def changed(self, data):
        np.random.seed(0)  # noqa: NPY002 (what it does wrong)
        return data


class Talks(GoodTask):
    def changed(self, data):
        print("40 rows")
        return data


class CeilingAboveOne(GoodTask):
    def changed(self, data):
        return replace(data, ceiling=np.full((40, 8), 1.5))


class CeilingOfModalities(GoodTask):
    def changed(self, data):
        return replace(data, ceiling=np.full((40, 3), 0.5))


WRONG_TASKS = [
    (NamesOthers, "the_class_says_what_it_predicts"),
    (HasEmptyRows, "every_row_has_a_modality"),
    (GivesDoubleLengths, "content_has_the_declared_kind"),
    (CallsAVectorAnImage, "content_has_the_declared_kind"),
    (LeavesGaps, "content_is_finite_everywhere"),
    (LabelsFromOne, "labels_are_what_the_kind_says"),
    (PredictsWhatNobodyHas, "labels_are_what_the_kind_says"),
    (CutsPatients, "patients_are_kept_together"),
    (DrawsAnew, "the_same_options_give_the_same_data"),
    (HashesTheClock, "the_same_options_give_the_same_data"),
    (ReadsItsCacheOtherwise, "the_same_options_give_the_same_data"),
    (SeedsEverybody, "preparing_leaves_everything_alone"),
    (Talks, "preparing_leaves_everything_alone"),
    (CeilingAboveOne, "the_ceiling_is_a_probability_for_each_subset"),
    (CeilingOfModalities, "the_ceiling_is_a_probability_for_each_subset"),
]


def test_a_correct_task_passes_everything():
    assert [(r.name, r.reason) for r in run_checks(GoodTask) if not r.ok] == []


@pytest.mark.parametrize(("plugin", "name"), WRONG_TASKS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_task_is_found_out_by_the_check_meant_for_it(plugin, name):
    (result,) = run_checks(plugin, only=[name])
    assert result.status == "failed"
    assert not result.reason.startswith("raised")


def test_every_check_of_tasks_rejects_some_wrong_task():
    assert {name for _, name in WRONG_TASKS} == {sentence(check) for check in CHECKS["task"]}
