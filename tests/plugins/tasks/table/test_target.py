"""The label: what it may be, how it is called, and what is no label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusionbench import TargetKind
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.lung_subtyping.manifest import read_cohort
from fusionbench_plugins.tasks.table import TableTask
from fusionbench_plugins.tasks.table.target import MOST_CLASSES, Target, one_valued, read_target
from tests.plugins.tasks.table.folder import ROWS, frame, prepare, problems, write


def made(**columns):
    return pd.DataFrame({name: pd.Series(cells, dtype="str") for name, cells in columns.items()})


def target(cells, kind=None, positive=None, **more):
    said: list[str] = []
    return read_target(made(y=[str(c) for c in cells], **more), ["y"], kind, said, positive), said


def refused(cells, kind=None, positive=None, **more) -> str:
    found, said = target(cells, kind, positive, **more)
    assert found is None
    (line,) = said
    return line


# ---------------------------------------------------------------- one value


@pytest.mark.parametrize("cells", [[0] * 30, [1] * 30, ["x"] * 30, ["true"] * 30])
@pytest.mark.parametrize("kind", [None, TargetKind.BINARY, TargetKind.MULTICLASS])
def test_a_label_with_one_value_is_refused_whatever_its_kind(cells, kind):
    assert "has one class only; nothing can be learned from it" in refused(cells, kind)


def test_labels_of_one_value_among_several_are_named():
    said = []
    assert read_target(made(a=["0", "1"], b=["1", "1"], c=["0", "0"]), ["a", "b", "c"], None, said) is None
    assert said == ["manifest: target: 2 of 3 labels have one value in all rows: b, c; nothing can be learned of them"]


def test_one_value_left_after_rows_fall_away_is_refused_too(tmp_path):
    label = np.where(frame()["has_scan"] == 1, "a", "b")
    assert "the label has one value in the rows that are left" in problems(
        write(tmp_path, frame(label=label)), modalities=["scan"]
    )
    label = ["a"] * 45 + ["b"] * 15
    assert "the label has one value in the training rows" in problems(write(tmp_path, frame(label=label)))
    folder = write(tmp_path, frame(label=label).assign(split="test", fold=[0] * 45 + [-1] * 15))
    assert "the label has one value in the rows that are left" in problems(folder, split=None)


def test_what_is_alike_in_rows_is_told_by_label():
    several = Target(np.array([[0, 1], [0, 0]]), TargetKind.MULTILABEL, ("a", "b"))
    assert one_valued(several, np.array([True, True])) == ["a"]
    assert one_valued(several, np.array([False, False])) == []


# ---------------------------------------------------------------- measurements, identifiers


def test_a_measurement_is_no_label_and_none_of_it_is_shown(tmp_path):
    values = np.random.default_rng(0).normal(60, 10, ROWS).round(3)
    said = problems(write(tmp_path, frame(label=values)))
    assert "holds 60 different numbers: regression is not offered" in said
    assert str(values[0]) not in said


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (np.linspace(0, 1, 200), "holds 200 different numbers: regression is not offered"),
        (np.arange(300).repeat(2), "holds 300 different numbers"),
        (["inf", *range(200)] * 3, "holds 201 different numbers"),
        ([f"P{i}" for i in range(40)], "has 40 classes in 40 rows, too few rows for each"),
        ([f"P{i % 30}" for i in range(90)], "has 30 classes in 90 rows"),
        ([f"2020-01-{i:02}" for i in range(1, 29)], "has 28 classes in 28 rows"),
        ([f"c{i % 1001}" for i in range(6006)], f"has 1001 classes, and {MOST_CLASSES} are accepted at most"),
    ],
)
def test_columns_that_are_no_label_are_refused_by_count(cells, why):
    assert why in refused(cells)
    assert "P1" not in refused(cells)


@pytest.mark.parametrize(
    ("cells", "kind", "classes"),
    [
        (np.arange(100).repeat(6), None, 100),
        (np.arange(300).repeat(6), TargetKind.MULTICLASS, 300),
        ([0.1, 0.5, 0.9] * 10, None, 3),
        (list("abcdefghijklmnopqrstuvwxyz") * 5, None, 26),
        (["10", "9", "9", "100"], None, 3),
    ],
)
def test_many_classes_with_rows_are_classes(cells, kind, classes):
    found, said = target(cells, kind)
    assert (len(found.outputs), said) == (classes, [])


@pytest.mark.parametrize(
    ("cells", "kind", "doubted"),
    [
        (np.arange(18, 90).repeat(6), None, True),
        (np.arange(18, 90).repeat(6), TargetKind.MULTICLASS, False),
        (np.arange(1, 51).repeat(6), None, False),
        (np.arange(0, 60, 2).repeat(6), None, True),
    ],
)
def test_whole_numbers_that_may_be_a_measurement_are_read_with_a_word(cells, kind, doubted):
    assert any("regression is not offered" in note for note in target(cells, kind)[0].notes) == doubted


def test_fractions_are_no_classes_whatever_is_said():
    assert "regression is not offered" in refused(np.linspace(0, 1, 50).repeat(9), TargetKind.MULTICLASS)


def test_classes_that_are_the_patients_are_refused(tmp_path):
    manifest = frame(
        label=[f"p{i % 12}" for i in range(ROWS)], person=[f"p{i % 12}" for i in range(ROWS)], split="train"
    )
    said = problems(write(tmp_path, manifest), group="person", split=None)
    assert "each class is one patient (column of 'group')" in said


# ---------------------------------------------------------------- two classes


@pytest.mark.parametrize(
    ("cells", "positive", "wanted"),
    [
        (["alive", "dead", "dead"], "dead", [0, 1, 1]),
        ([1, 2, 2], 2, [0, 1, 1]),
        (["1.0", "2.0", "1.0"], 1, [1, 0, 1]),
        ([0, 1, 1], 0, [1, 0, 0]),
        (["true", "false", "true"], True, [1, 0, 1]),
    ],
)
def test_one_of_two_classes_may_be_named_as_positive(cells, positive, wanted):
    found, said = target(cells, positive=str(positive))
    assert said == []
    assert (found.values.tolist(), found.kind, found.outputs) == (wanted, TargetKind.BINARY, (str(positive),))


def test_two_classes_are_offered_to_be_binary(tmp_path):
    folder = write(tmp_path, frame(label=np.tile(["alive", "dead"], ROWS // 2)))
    data = prepare(folder)
    assert data.kind is TargetKind.MULTICLASS
    assert any("positive: <class>" in warning for warning in data.warnings)
    assert not any("positive" in warning for warning in prepare(folder, kind="multiclass").warnings)
    assert "say which of them is 1 with positive: <class>" in problems(folder, kind="binary")
    made = prepare(folder, positive="dead")
    assert (made.kind, made.metric, made.outputs, made.warnings) == (TargetKind.BINARY, "auroc", ("dead",), ())
    assert made.target[:2].tolist() == [0, 1]


def test_a_class_that_is_not_there_or_one_of_three_is_no_positive(tmp_path):
    assert "no row has this class" in refused(["a", "b"], positive="c")
    assert "there are 3 classes" in refused(["a", "b", "c"], positive="c")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("cells", [["0", "1", "1"], ["false", "true", "true"]])
def test_a_binary_label_is_called_by_the_name_of_its_one(cells):
    found, said = target(cells, y_name=["alive", "dead", "dead"])
    assert (found.outputs, said) == (("dead",), [])


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "a", "a"], ["a", None, None]])
def test_names_that_do_not_tell_two_states_apart_are_a_problem(names):
    assert "does not name each class" in target(["0", "1", "1"], y_name=names)[1][0]


def test_numbers_that_print_alike_and_codes_with_zeros_stay_apart():
    assert target(["1234567.25", "1234567.5", "1234567.75"])[0].outputs == ("1234567.25", "1234567.5", "1234567.75")
    assert target(["01", "1", "2"])[0].outputs == ("01", "1", "2")
    assert target(["1", "1.0", "2"])[0].outputs == ("1", "2")


def test_escape_sequences_in_classes_are_shown_as_text():
    assert target(["\x1b[31mred", "b", "c\u202e"])[0].outputs == (r"\x1b[31mred", "b", r"c\u202e")


# ---------------------------------------------------------------- what is printed


def test_classes_of_few_rows_are_counted_and_not_named(tmp_path):
    label = ["common"] * 25 + ["other"] * 25 + ["Jane Doe"] * 5 + ["John Doe"] * 5
    folder = write(tmp_path, frame(label=np.random.default_rng(0).permutation(label)))
    text = "\n".join(TableTask(root=str(folder)).check(tmp_path, SilentProgress()).lines)
    assert "warning: 2 classes have fewer than 10 rows each and are not named here" in text
    assert "Doe" not in text
    assert "class common" in text


def test_lung_manifests_are_asked_the_same(tmp_path):
    rows = [{"patient": f"p{i}", "label": f"id-{i}", "ct": ""} for i in range(40)]
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    content, said = read_cohort(tmp_path, "manifest.csv", ["ct"])
    assert content is None
    assert "has 40 classes in 40 rows" in "\n".join(said)
