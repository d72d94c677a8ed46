"""Six classes in three levels of risk, however they are spelled; everything else is counted and not printed."""

from __future__ import annotations

import pytest

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.lung_subtyping.levels import CLASSES, LEVELS, level_of
from tests.plugins.tasks.lung_subtyping.folder import ROWS, cohort, prepare, write


@pytest.mark.parametrize(
    ("spelled", "level"),
    [
        *zip(CLASSES, (0, 0, 1, 1, 2, 2), strict=True),
        ("aah", 0),
        (" Ais ", 0),
        ("IA1", 1),
        ("ia-1", 1),
        ("IA_2", 2),
        ("IAC3", 2),
        ("IA Grade 3", 2),
        ("IA I", 1),
        ("ia iii", 2),
        ("IA G2", 2),
        ("IA 4", None),
        ("IA", None),
        ("adenocarcinoma", None),
        ("", None),
        ("1", None),
        ("AAH?", None),
    ],
)
def test_spellings(spelled, level):
    assert level_of(spelled) == level


def labelled(folder, labels, **columns):
    manifest = cohort(folder).assign(label=[labels[r % len(labels)] for r in range(ROWS)], **columns)
    return write(folder, manifest)


def test_rows_get_the_level_of_their_class(tmp_path):
    dataset = prepare(labelled(tmp_path, CLASSES), risk_levels=True)
    assert dataset.outputs == LEVELS
    assert dataset.target.tolist() == [(r % 6) // 2 for r in range(ROWS)]
    assert prepare(tmp_path).outputs == tuple(sorted(CLASSES))  # false: the classes as they are


def test_names_of_classes_count_where_labels_are_codes(tmp_path):
    names = [CLASSES[r % 6] for r in range(ROWS)]
    dataset = prepare(labelled(tmp_path, (1, 2, 3, 4, 5, 6), label_name=names), risk_levels=True)
    assert (dataset.outputs, dataset.target[:6].tolist()) == (LEVELS, [0, 0, 1, 1, 2, 2])


def test_what_is_no_class_is_counted_and_not_printed(tmp_path):
    labels = [*CLASSES, "Patient Meier", "AIS?"]
    with pytest.raises(DataError) as caught:
        prepare(labelled(tmp_path, labels), risk_levels=True)
    assert "column 'label': 8 rows (first: row 7) hold 2 values that are none of the six classes" in str(caught.value)
    assert "IA grade 1" in str(caught.value)
    assert "Meier" not in str(caught.value)


def test_a_missing_label_is_said_as_it_is_without_levels(tmp_path):
    manifest = cohort(tmp_path).assign(label=[CLASSES[r % 6] for r in range(ROWS)])
    manifest.loc[3, "label"] = None
    said = []
    for levels in (False, True):
        with pytest.raises(DataError) as caught:
            prepare(write(tmp_path, manifest), risk_levels=levels)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_the_option_is_true_or_false():
    from fusionbench_plugins.tasks.lung_subtyping import LungSubtyping

    with pytest.raises(ValueError, match="risk_levels must be true or false, found 'yes'"):
        LungSubtyping("x", risk_levels="yes")
