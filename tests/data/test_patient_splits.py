"""Splits that the user brings: lists of patients in MedFuse's format, and a salted hash of the patient's number."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionbench.config.sections import SplitsSection
from fusionbench.data.patient_splits import PatientHash, PatientLists, patient_split
from fusionbench.data.splits import make_folds
from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import PATIENTS, prepare

FIRST = 10000000  # the patients of the small tree are this and the seven after it


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def medfuse_lists(folder: Path, test=(6, 7), validation=(4, 5), on=range(PATIENTS)) -> dict[str, str]:
    """Write both lists as MedFuse ships them: every known patient with 0 or 1; validation lists no test patient."""
    return {
        "test": write(folder / "testset_iv.csv", *(f"{FIRST + p},{int(p in test)}" for p in on)),
        "validation": write(
            folder / "valset_iv.csv", *(f"{FIRST + p},{int(p in validation)}" for p in on if p not in test)
        ),
    }


def problem(lists: dict[str, str]) -> str:
    with pytest.raises(DataError) as caught:
        assign(lists, range(PATIENTS))
    assert str(FIRST)[:6] not in str(caught.value)
    return str(caught.value)


def assign(option: dict[str, object], patients):
    rule = patient_split(option)
    assert rule is not None
    return rule.assign(np.asarray(list(patients), dtype=np.int64) + FIRST)


# ---------------------------------------------------------------- lists


def test_the_lists_of_medfuse_place_the_stays_of_the_mortality_task(tmp_path):
    data = prepare(tmp_path, split=medfuse_lists(tmp_path))
    assert data.split is not None
    assert data.split.tolist() == ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    assert data.funnel[-1].step == "parts by lists of patients"
    assert data.funnel[-1].note == "4 train, 2 validation, 2 test; used where splits.source is task"
    (fold,) = make_folds(data, SplitsSection(source="task"))
    assert fold.test.open("digest").tolist() == [6, 7]
    assert fold.development.validation.tolist() == [4, 5]


def test_patients_on_no_list_count_as_training_and_are_counted(tmp_path):
    data = prepare(tmp_path, split=medfuse_lists(tmp_path, on=range(2, PATIENTS)))
    assert data.split is not None
    assert data.split.tolist()[:2] == ["train", "train"]
    said = "2 rows of 2 patients are on no split list: they count as training rows, as in MedFuse"
    assert said in data.warnings


def test_patients_on_no_list_may_be_left_out(tmp_path):
    lists = {**medfuse_lists(tmp_path, on=range(2, PATIENTS)), "unlisted": "leave_out"}
    data = prepare(tmp_path, split=lists)
    assert len(data) == PATIENTS - 2
    assert data.split is not None
    assert len(data.split) == PATIENTS - 2
    assert data.funnel[-1].rows == PATIENTS - 2
    assert "2 rows of 2 patients are on no split list: they are left out" in data.warnings


def test_rows_of_one_patient_fall_into_one_part_in_any_order(tmp_path):
    parts = assign(medfuse_lists(tmp_path), [7, 0, 4, 7, 0])
    assert parts.split is not None
    assert parts.split.tolist() == ["test", "train", "validation", "test", "train"]


def test_a_list_may_hold_patients_alone_under_a_header(tmp_path):
    lists = {part: write(tmp_path / part, "subject_id", str(FIRST + p)) for part, p in (("train", 0), ("test", 1))}
    parts = assign(lists, [0, 1, 2])
    assert parts.split is not None
    assert parts.split.tolist() == ["train", "test", "train"]
    assert parts.warnings == ("1 rows of 1 patients are on no split list: they count as training rows, as in MedFuse",)


def test_with_a_list_of_training_patients_a_mark_of_0_is_no_place(tmp_path):
    lists = medfuse_lists(tmp_path)
    lists["train"] = write(tmp_path / "train.csv", *(str(FIRST + p) for p in range(3)))
    parts = assign({**lists, "unlisted": "leave_out"}, range(PATIENTS))
    assert parts.used.tolist() == [True] * 3 + [False] + [True] * 4


def test_without_a_list_of_validation_patients_a_share_of_the_training_rows_is_taken(tmp_path):
    lists = {"test": medfuse_lists(tmp_path)["test"]}
    (fold,) = make_folds(prepare(tmp_path, split=lists), SplitsSection(source="task", validation=0.3))
    assert fold.test.open("digest").tolist() == [6, 7]
    assert len(fold.development.validation) == 2


def test_a_patient_on_two_lists_is_an_error(tmp_path):
    lists = medfuse_lists(tmp_path)
    write(Path(lists["validation"]), f"{FIRST + 6},1", f"{FIRST + 7},1", f"{FIRST},1")
    assert "2 patients are on more than one list (validation, test)" in problem(lists)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["10000000,0", "10000001,2"], "line 2: must be 'subject_id,0' or 'subject_id,1', or a subject_id alone"),
        (["10000000,0", "patient,1"], "line 2: must be"),
        (["10000000,0,1"], "line 1: must be"),
        (["10000000,1", "", "10000000,0"], "line 3: the patient stands in an earlier line with the other mark"),
        (["10000000,0"], "marks no patient with 1"),
        ([], "marks no patient with 1"),
    ],
)
def test_a_malformed_list_is_refused_with_its_line(tmp_path, lines, why):
    assert f"test: list.csv{',' if 'line' in why else ':'} {why}" in problem(
        {"test": write(tmp_path / "list.csv", *lines)}
    )


def test_missing_and_unreadable_lists_are_named_together(tmp_path):
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe1")
    said = problem({"test": str(tmp_path / "nowhere.csv"), "validation": str(tmp_path / "bytes.csv")})
    assert "nowhere.csv: No such file or directory" in said
    assert "bytes.csv, line 1: not UTF-8 text, it may be UTF-16" in said


# ---------------------------------------------------------------- hash


def test_the_hash_is_that_of_the_documentation(tmp_path):
    data = prepare(tmp_path, split={"test": 0.3, "validation": 0.2, "salt": "mine"})
    expected = []
    for patient in range(PATIENTS):
        place = int.from_bytes(hashlib.sha256(f"mine/{FIRST + patient}".encode()).digest()[:8], "big") / 2**64
        expected.append("test" if place < 0.3 else "validation" if place < 0.5 else "train")
    assert data.split is not None
    assert data.split.tolist() == expected
    assert len(set(expected)) > 1


@given(st.lists(st.integers(1, 10**8), min_size=1, max_size=50), st.integers(2, 9))
def test_a_place_depends_on_the_patient_alone(patients, folds):
    rule, shares = PatientHash(folds=folds), PatientHash()
    together, parts = rule.assign(np.array(patients)), shares.assign(np.array(patients))
    assert together.folds is not None
    assert parts.split is not None
    for position, patient in enumerate(patients):
        alone = rule.assign(np.array([patient])).folds
        assert alone is not None
        assert 0 <= alone[0] == together.folds[position] < folds
        alone_part = shares.assign(np.array([patient])).split
        assert alone_part is not None
        assert alone_part[0] == parts.split[position]


def test_shares_and_folds_are_close_to_what_was_asked_for_and_salts_differ():
    patients = np.arange(10000000, 10010000)
    parts = patient_split({"test": 0.2, "validation": 0.1})
    assert parts == PatientHash()
    found = PatientHash().assign(patients).split
    assert found is not None
    assert abs((found == "test").mean() - 0.2) < 0.02
    assert abs((found == "validation").mean() - 0.1) < 0.02
    other = PatientHash(salt="other").assign(patients).split
    assert other is not None
    assert 0.4 < (found == other).mean() < 0.7  # 0.54 for independent draws
    folds = PatientHash(folds=5).assign(patients)
    assert folds.folds is not None
    assert np.abs(np.bincount(folds.folds) / len(patients) - 0.2).max() < 0.02
    assert folds.note.startswith(f"{np.bincount(folds.folds)[0]} in fold 0, ")


def test_folds_by_hash_are_used_as_they_are(tmp_path):
    data = prepare(tmp_path, split={"folds": 2})
    assert data.folds is not None
    made = make_folds(data, SplitsSection(source="task", folds=2, validation=0.3))
    assert [f.test.open("digest").tolist() for f in made] == [np.flatnonzero(data.folds == k).tolist() for k in (0, 1)]


def test_fewer_folds_than_the_data_come_with_are_refused(tmp_path):
    data = prepare(tmp_path, split={"folds": 3, "salt": "b"})
    assert data.folds is not None
    assert data.folds.max() == 2
    with pytest.raises(DataError, match=r"the data come with 3 folds and splits.folds is 2; set it to 3"):
        make_folds(data, SplitsSection(source="task", folds=2))


def test_another_split_is_another_digest(tmp_path):
    digests = {
        prepare(tmp_path, split=split).digest
        for split in (None, {"folds": 2}, {"folds": 3}, {"test": 0.5}, medfuse_lists(tmp_path))
    }
    assert len(digests) == 5


# ---------------------------------------------------------------- the option


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("testset_iv.csv", "split must be {test: file, validation: file}"),
        ({}, "split must be"),
        ({"tests": "a.csv", "test": "b.csv"}, "unknown key 'tests'; did you mean 'test'?"),
        ({"test": "a.csv", "salt": "b"}, "unknown key 'salt'"),
        ({"test": 0.2, "unlisted": "train"}, "unknown key 'unlisted'"),
        ({"folds": 5, "test": 0.2}, "unknown key 'test'"),
        ({"test": 0.2, "validation": "v.csv"}, "the lists of patients must be files, and 'test' one of them"),
        ({"validation": "v.csv"}, "the lists of patients must be files, and 'test' one of them"),
        ({"test": "t.csv", "unlisted": "drop"}, "unlisted must be 'train' or 'leave_out', found 'drop'"),
        ({"test": 0.8, "validation": 0.3}, "test must be above 0, and test + validation below 1"),
        ({"test": 0, "validation": 0.3}, "test must be above 0"),
        ({"test": True}, "split must be"),
        ({"salt": 3}, "salt must be text"),
        ({"folds": 1}, "folds must be a whole number from 2, found 1"),
    ],
)
def test_an_option_that_is_none_of_the_forms_is_refused_when_the_task_is_built(option, why):
    with pytest.raises(ValueError, match="split") as caught:
        MimicIhm("somewhere", split=option)
    assert why in str(caught.value)


def test_no_option_is_no_split_and_files_are_not_opened_before_they_are_needed(tmp_path):
    assert patient_split(None) is None
    rule = patient_split({"test": "~/nowhere.csv"})
    assert isinstance(rule, PatientLists)
    assert rule.lists["test"] == Path("~/nowhere.csv").expanduser()
    assert prepare(tmp_path).split is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            f"{FIRST};1\n".encode(),
            "line 1: must be 'subject_id,0' or 'subject_id,1', or a subject_id alone; cells are separated by commas",
        ),
        (f"{FIRST}\t1\n".encode(), "cells are separated by commas"),
        (b"9" * 5000 + b",1\n", "line 1: must be"),
        ("١٢,1\n".encode(), "line 1: must be"),
        (f"{FIRST}.0,1\n".encode(), "line 1: must be"),
        (f'"{FIRST},1\n'.encode(), "line 1: a quoted cell that begins here does not end"),
        (f"subject_id,in\n\n{FIRST},2\n".encode(), "line 3: must be"),
        (b"PK\x03\x04", "a zip file (an Excel sheet is one)"),
        (f"{FIRST},1\n".encode("utf-16"), "it may be UTF-16"),
    ],
)
def test_lists_are_read_as_strictly_as_tables(tmp_path, content, why):
    (tmp_path / "list.csv").write_bytes(content)
    assert why in problem({"test": str(tmp_path / "list.csv")})


def test_a_list_of_any_editor_is_read(tmp_path):
    (tmp_path / "list.csv").write_bytes(
        b"\xef\xbb\xbf" + f"subject_id,test\r\n{FIRST},1\r\n\r\n {FIRST + 1} , 0 \r\n".encode()
    )
    assert assign({"test": str(tmp_path / "list.csv")}, [0, 1]).split.tolist() == ["test", "train"]
