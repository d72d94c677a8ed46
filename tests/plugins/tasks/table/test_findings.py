"""What there is to know about a table before training on it."""

from __future__ import annotations

import numpy as np

from fusionbench import TargetKind
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.table import TableTask
from fusionbench_plugins.tasks.table.blocks import Block
from fusionbench_plugins.tasks.table.content import Content
from fusionbench_plugins.tasks.table.findings import findings
from fusionbench_plugins.tasks.table.target import Target
from tests.plugins.tasks.table.folder import ROWS, frame, write


def test_the_check_counts_what_a_person_should_know(tmp_path):
    gene = np.random.default_rng(0).normal(size=(ROWS, 4)) * [1, 1, 1, 1e4]
    gene[:, 1] = 5
    scan = np.full((ROWS, 3), np.nan)
    scan[:45][frame()["has_scan"][:45] == 1] = 1.0
    manifest = frame(patient=np.arange(ROWS), has_scan=[*frame()["has_scan"][:45], *[0] * 15])
    gene[50] = gene[0]
    gene[2], gene[5] = gene[50], gene[53]
    lines = (
        TableTask(root=str(write(tmp_path, manifest, gene=gene, scan=scan)), group="patient")
        .check(tmp_path, SilentProgress())
        .lines
    )
    text = "\n".join(lines)
    for part in (
        "60 rows of 60 patients: 45 train, 15 test",
        "no validation part",
        "modality gene: 4 columns; present in 45 of 45 train, 15 of 15 test",
        "warning: modality scan is absent from every row of test",
        "class mid: 15 train, 5 test",
        "warning: mid has fewer than 20 rows in train and test",
        "warning: modality gene: 1 constant columns in training rows (1)",
        "warning: modality gene: column spreads differ",
        "2 rows repeat another row in every value; 2 such sets lie in more than one part",
    ):
        assert part in text


def test_the_check_of_a_broken_folder_lists_the_problems(tmp_path):
    lines = (
        TableTask(root=str(write(tmp_path, frame(split="train"), gene=np.ones((3, 2)))))
        .check(tmp_path, SilentProgress())
        .lines
    )
    assert len(lines) == 2
    assert all(line.startswith("problem: ") for line in lines)


def content(scan, *, available=None, split=None, groups=None, target=None):
    """As much of a table as is looked at: one modality of one column for each number."""
    values = np.array(scan, np.float32).reshape(len(scan), -1)
    rows = len(values)
    return Content(
        blocks={"scan": Block("scan", values, ())},
        available=np.ones((rows, 1), bool) if available is None else np.array(available)[:, None],
        target=Target(np.arange(rows) % 2 if target is None else np.array(target), TargetKind.BINARY, ("y",)),
        groups=np.arange(rows) if groups is None else np.array(groups),
        grouped=groups is not None,
        split=None if split is None else np.array(split),
        folds=None,
        funnel=(),
        notes=(),
    )


def warnings_of(found):
    return [line.removeprefix("warning: ") for line in findings(found) if line.startswith("warning: ")]


def test_sizes_are_said_by_part_and_by_patient():
    said = findings(content(range(4), split=["train", "train", "train", "test"], groups=[0, 0, 1, 2]))
    assert said[0] == "4 rows of 3 patients: 3 train, 1 test"
    assert "no validation part: splits.validation of the training rows is taken for it" in said


def test_without_patients_every_row_counts_as_one():
    assert findings(content(range(3)))[:2] == [
        "3 rows: 3 all",
        "no column of patients is named ('group'): every row counts as a patient of its own",
    ]


def test_a_modality_that_a_part_lacks_is_warned_about():
    said = warnings_of(
        content(range(4), available=[True, True, False, False], split=["train", "train", "test", "test"])
    )
    assert "modality scan is absent from every row of test" in said
    assert "modality scan holds values in 2 rows that are marked absent; they are not read" in said


def test_few_rows_of_a_class_are_warned_about_and_enough_are_not():
    assert "y = 1 has fewer than 20 rows in all" in warnings_of(content(range(59), target=[1] * 19 + [0] * 40))
    assert not any("fewer" in line for line in warnings_of(content(range(40))))


def test_constant_columns_and_units_that_differ_are_warned_about():
    said = warnings_of(content([[1, i, 1e5 * i] for i in range(4)]))
    assert "modality scan: 1 constant columns in training rows (0)" in said
    assert "modality scan: column spreads differ 100000-fold; look at units" in said


def test_rows_that_repeat_another_are_counted_and_those_across_parts():
    said = warnings_of(content([1, 1, 2, 2, 3], split=["train", "test", "train", "train", "test"]))
    assert "2 rows repeat another row in every value; 1 such sets lie in more than one part" in said
