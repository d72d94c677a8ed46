"""What there is to know about a lung cohort before training on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fusionbench import TargetKind
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.lung_subtyping import LungSubtyping
from fusionbench_plugins.tasks.lung_subtyping.findings import findings
from fusionbench_plugins.tasks.lung_subtyping.manifest import Cohort
from fusionbench_plugins.tasks.table.target import Target
from tests.plugins.tasks.lung_subtyping.folder import cohort, write


def test_the_check_says_what_is_there_and_what_is_thin(tmp_path):
    manifest = cohort(tmp_path).assign(split=["train"] * 24 + ["test"] * 12)
    manifest.loc[24:, "pet"] = ""
    lines = LungSubtyping(str(write(tmp_path, manifest))).check(tmp_path, SilentProgress()).lines
    assert "36 rows of 18 patients: 24 train, 12 test" in lines
    assert "modality ct: 24 train, 12 test, 108 slices" in lines
    assert "modality pet: 19 train, 0 test, 19 slices" in lines
    assert "warning: modality pet is absent from every row of test" in lines
    assert "class small cell: 8 train, 4 test" in lines
    assert "warning: small cell has fewer than 20 rows in train and test" in lines
    assert any(line.startswith("modality report: ") and "characters in the median" in line for line in lines)


def lungs(available, texts, labels, **changes):
    """As much of a cohort as is looked at: a CT of two slices and a report."""
    rows = len(labels)
    has = np.array(available, bool).reshape(rows, 2)
    made = Cohort(
        numbers=np.arange(1, rows + 1),
        slices={"ct": tuple((Path("1"), Path("2")) if there else () for there in has[:, 0])},
        texts=tuple(texts),
        available=has,
        names=("ct", "report"),
        target=Target(np.array(labels), TargetKind.MULTICLASS, ("x", "y")),
        groups=np.arange(rows) // 2,
        split=None,
        folds=None,
        funnel=(),
        notes=("a note",),
    )
    return replace(made, **changes)


def test_notes_come_first_and_rows_patients_slices_and_characters_are_counted():
    said = findings(lungs([[1, 1], [1, 0], [0, 1], [1, 1]], ["abc", "", "abcde", "abcd"], [0, 1, 0, 1]))
    assert said[:2] == ["warning: a note", "4 rows of 2 patients: 4 all"]
    assert "modality ct: 3 all, 6 slices" in said
    assert "modality report: 3 all" in said
    assert said[-1] == "modality report: 4 characters in the median, 5 at most; encoders cut at 'max_length'"


def test_a_modality_that_a_part_lacks_and_a_rare_class_are_warned_about():
    split = np.array(["train"] * 30 + ["test"] * 30)
    labels = [0] * 25 + [1] * 5 + [0] * 5 + [1] * 25
    said = findings(lungs([[1, 1]] * 30 + [[1, 0]] * 30, ["a"] * 60, labels, split=split))
    assert "warning: modality report is absent from every row of test" in said
    assert "warning: x has fewer than 20 rows in test" in said
    assert "warning: y has fewer than 20 rows in train" in said
