"""The extracted folder as a source: the arrays of the raw tree, the parts of the list files, and what is refused."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusionbench import Dataset, TargetKind
from fusionbench.config.sections import SplitsSection
from fusionbench.data.splits import make_folds
from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.tables.variables import VARIABLES
from fusionbench_plugins.tasks.mimic_extracted import MimicExtracted
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.front import fusionbench, write_yaml
from tests.mimic_tree import PATIENTS, Tree, admission, small_tree
from tests.shared import shared_folder

HEADER = ["Hours", *(variable.published for variable in VARIABLES)]
IHM, PHENO = "in-hospital-mortality", "phenotyping"
LISTS = {
    "train": ("train_listfile.csv", "train"),
    "val": ("val_listfile.csv", "train"),
    "test": ("test_listfile.csv", "test"),
}
PARTS = ("train", "train", "train", "train", "val", "val", "test", "test")
# (hours, item, as charted, published name, as the scripts clean it)
CHARTED = (
    (0, 220045, 71, "Heart Rate", "71"),
    (0.5, 220045, 90, "Heart Rate", "90"),
    (3, 223761, 101.0, "Temperature", str((101.0 - 32) * 5 / 9)),
    (3, 223761, 101.0, "Temperature", str((101.0 - 32) * 5 / 9)),
    (7.25, 223835, 40, "Fraction inspired oxygen", "0.4"),
    (9, 220739, "To Speech", "Glascow coma scale eye opening", "To Speech"),
    (30, 223901, "Obeys Commands", "Glascow coma scale motor response", "Obeys Commands"),
    (47.99, 226707, 70, "Height", "70.0"),
)


def file_name(patient: int) -> str:
    return f"{10000000 + patient}_episode1_timeseries.csv"


def tree() -> Tree:
    """Return the small tree with a few values of every kind."""
    made = small_tree()
    for patient in range(PATIENTS):
        for hours, item, value, _, _ in CHARTED:
            made.chart(patient, hours + (0.1 * patient if hours > 1 else 0), item, value)
    return made


def lines(patient: int) -> list[list[str]]:
    """The time series of a patient as the scripts write it: a line for each time."""
    found: dict[float, dict[str, str]] = defaultdict(dict)
    found[1][HEADER[9]] = str(80 + patient)  # what small_tree charts
    for hours, _, _, name, clean in CHARTED:
        at = hours + (0.1 * patient if hours > 1 else 0)
        found[round(at * 3600) / 3600][name] = clean
    return [[str(at), *(row.get(name, "") for name in HEADER[1:])] for at, row in sorted(found.items()) if at < 48]


def write_lists(folder: Path, rows: list[dict[str, object]], parts=PARTS) -> None:
    """Write the three list files; each row has ``stay`` and the other columns."""
    for part, (name, _) in LISTS.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row, p in zip(rows, parts, strict=True) if p == part)


def write_series(folder: Path, name: str, part: str, body: list[list[str]]) -> None:
    below = folder / LISTS[part][1]
    below.mkdir(parents=True, exist_ok=True)
    with (below / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *body])


def write(root: Path, outcome: str = IHM) -> Path:
    """Write the folder for the patients of :func:`tree`; returns ``root``."""
    folder = root / outcome
    for patient, part in enumerate(PARTS):
        write_series(folder, file_name(patient), part, lines(patient))
    rows = [
        {"stay": file_name(p), "period_length": 0, "stay_id": 30000000 + p, "y_true": p % 2}
        if outcome == IHM
        else {
            "stay": file_name(p),
            "period_length": "72.000000",
            "stay_id": 30000000 + p,
            "Shock": p % 2,
            "Sepsis": p // 4,
        }
        for p in range(PATIENTS)
    ]
    write_lists(folder, rows)
    (root / "root").mkdir(exist_ok=True)
    stays = [
        {
            "subject_id": 10000000 + p,
            "hadm_id": 20000000 + p,
            "stay_id": 30000000 + p,
            "intime": admission(p),
            "outtime": "",
        }
        for p in range(PATIENTS)
    ]
    pd.DataFrame(stays).to_csv(root / "root" / "all_stays.csv", index=False)
    return root


def prepare(root: Path, **options: object) -> Dataset:
    return MimicExtracted(str(root), **options).prepare(root / "cache", SilentProgress())  # type: ignore[arg-type]


def problem(root: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        prepare(root, **options)
    said = str(caught.value)
    assert "1000000" not in said  # patients
    assert "3000000" not in said  # stays
    return said


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


# ---------------------------------------------------------------- the arrays are those of the raw tree


@pytest.mark.parametrize("step", [1, 2])
def test_arrays_labels_and_patients_equal_those_of_the_raw_tree(tmp_path, step):
    root, _ = tree().write(tmp_path / "raw")
    raw = MimicIhm(str(root), rules="medfuse", step_hours=step).prepare(tmp_path / "cache", SilentProgress())
    data = prepare(write(tmp_path / "extracted"), step_hours=step)
    assert data.modalities["ehr"].values.shape == (PATIENTS, 48 // step, 76)
    np.testing.assert_array_equal(data.modalities["ehr"].values, raw.modalities["ehr"].values)
    np.testing.assert_array_equal(data.target, raw.target)
    np.testing.assert_array_equal(data.groups, raw.groups)
    assert data.modalities["ehr"].columns == raw.modalities["ehr"].columns
    np.testing.assert_array_equal(data.modalities["ehr"].standardise, raw.modalities["ehr"].standardise)
    assert (data.kind, data.outputs) == (TargetKind.BINARY, ("died",))


def test_pictures_and_reports_are_linked_as_for_the_raw_tree(tmp_path):
    made = tree()
    made.image(2, 40, "a later one")
    made.image(3, 50, "after the window")
    made.image(5, 30, "from the side", view="LATERAL")
    root, cxr = made.write(tmp_path / "raw")
    raw = MimicIhm(str(root), str(cxr), rules="medfuse").prepare(tmp_path / "cache", SilentProgress())
    data = prepare(write(tmp_path / "extracted"), cxr_root=str(cxr))
    assert list(data.modalities) == ["ehr", "cxr", "report"]
    np.testing.assert_array_equal(data.available, raw.available)
    np.testing.assert_array_equal(data.modalities["cxr"].values, raw.modalities["cxr"].values)
    assert data.modalities["report"].values == raw.modalities["report"].values


@pytest.fixture(scope="module")
def open_demo(tmp_path_factory) -> Path:
    """The open demo as MedFuse's scripts leave it, from their own series and labels."""
    root = tmp_path_factory.mktemp("open-demo")
    oracle = shared_folder("data", "mimic-iv-demo-oracle")
    stays = pd.read_csv(oracle / "stays.csv", dtype=str, keep_default_na=False)
    patient = dict(zip(stays["stay_id"], stays["subject_id"], strict=True))
    for outcome, short in ((IHM, "ihm"), (PHENO, "pheno")):
        with gzip.open(oracle / f"series_{short}.csv.gz", "rt", newline="", encoding="utf-8") as file:
            header, *body = csv.reader(file)
        assert header == ["stay_id", *HEADER]
        series: dict[str, list[list[str]]] = defaultdict(list)
        for line in body:
            series[line[0]].append(line[1:])
        labels = pd.read_csv(oracle / f"{short}_labels.csv", dtype=str)
        names = {stay: f"{patient[stay]}_episode{n}_timeseries.csv" for n, stay in enumerate(labels["stay_id"], 1)}
        for stay, part in zip(labels["stay_id"], labels["split"], strict=True):
            write_series(root / outcome, names[stay], part, series[stay])
        lists = labels.drop(columns=[c for c in ("split", "peer_file", "period_length", "stay_id") if c in labels])
        lists.insert(0, "stay_id", labels["stay_id"])
        lists.insert(0, "period_length", labels["period_length"] if outcome == PHENO else "0")
        lists.insert(0, "stay", labels["stay_id"].map(names))
        write_lists(root / outcome, lists.to_dict("records"), labels["split"])
    (root / "root").mkdir()
    stays.to_csv(root / "root" / "all_stays.csv", index=False)
    return root


@pytest.mark.parametrize("step", [1, 2])
def test_mortality_of_the_open_demo_equals_the_published_arrays(open_demo, step):
    data = prepare(open_demo, step_hours=step)
    with np.load(shared_folder("data", "mimic-iv-demo-oracle", f"ihm_{step}h.npz")) as expected:
        np.testing.assert_array_equal(data.modalities["ehr"].values, expected["X"])
        np.testing.assert_array_equal(data.target, expected["y"])
    assert data.split is not None
    assert [(data.split == part).sum() for part in ("train", "validation", "test")] == [16, 5, 6]


@pytest.mark.parametrize("step", [1, 2])
def test_phenotyping_of_the_open_demo_equals_the_published_arrays(open_demo, step):
    data = prepare(open_demo, outcome=PHENO, step_hours=step, max_steps=None)
    ehr = data.modalities["ehr"]
    with np.load(shared_folder("data", "mimic-iv-demo-oracle", f"pheno_{step}h.npz")) as expected:
        np.testing.assert_array_equal(ehr.lengths, expected["length"])
        found = np.concatenate([row[:length] for row, length in zip(ehr.values, ehr.lengths, strict=True)])
        np.testing.assert_array_equal(found, expected["X"])
        np.testing.assert_array_equal(data.target, expected["Y"])
        assert data.outputs == tuple(expected["labels"].tolist())
    assert data.kind is TargetKind.MULTILABEL


# ---------------------------------------------------------------- parts, windows, cache


def test_the_parts_are_those_of_the_list_files(tmp_path):
    data = prepare(write(tmp_path))
    assert data.split is not None
    assert data.split.tolist() == ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    assert [step.rows for step in data.funnel] == [8, 8, 8]
    assert data.funnel[-1].note == "4 train, 2 validation, 2 test; used where splits.source is task"
    (fold,) = make_folds(data, SplitsSection(source="task"))
    assert fold.development.validation.tolist() == [4, 5]
    assert fold.test.open("digest").tolist() == [6, 7]


def test_an_own_split_takes_the_place_of_the_list_files(tmp_path):
    data = prepare(write(tmp_path), split={"folds": 2, "salt": "a"})
    assert data.split is None
    assert data.folds is not None
    assert set(data.folds.tolist()) == {0, 1}


def test_phenotyping_reads_whole_stays_or_a_window(tmp_path):
    data = prepare(write(tmp_path, PHENO), outcome=PHENO, step_hours=2)
    assert data.modalities["ehr"].values.shape == (PATIENTS, 36, 76)
    assert data.outputs == ("Shock", "Sepsis")
    assert data.target[5].tolist() == [1, 1]
    cut = prepare(tmp_path, outcome=PHENO, step_hours=2, window_hours=48)
    np.testing.assert_array_equal(cut.modalities["ehr"].values, data.modalities["ehr"].values[:, :24])
    assert "2 of 2 labels are 1 (or 0) in fewer than 50 stays" in data.warnings


def test_the_check_counts_without_opening_the_files_of_stays(tmp_path):
    write(tmp_path)
    (tmp_path / IHM / "train" / file_name(0)).write_text("", encoding="utf-8")
    lines = MimicExtracted(str(tmp_path)).check(tmp_path, SilentProgress()).lines
    assert lines == ["8 stays of 8 patients: 4 train, 2 validation, 2 test", "label y_true: 4 stays"]
    assert (
        MimicExtracted(str(tmp_path), outcome=PHENO).check(tmp_path, SilentProgress()).lines[0].startswith("problem: ")
    )


def test_a_benchmark_runs_on_the_folder_with_its_own_split_and_writes_no_identifier(tmp_path):
    benchmark = {
        "name": "extracted",
        "task": {"name": "mimic_extracted", "root": str(write(tmp_path)), "step_hours": 2},
        "encoders": {"ehr": "series_summary"},
        "model": {"width": 4},
        "strategies": ["concat"],
        "splits": {"source": "task"},
        "missingness": {"rates": [0]},
        "training": {"epochs": 2, "batch_size": 4},
        "evaluation": {"resamples": 100},
        "observers": ["files"],
    }
    outcome = fusionbench("run", write_yaml(tmp_path / "extracted.yaml", benchmark), "--workspace", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    assert "4 train, 2 validation, 2 test" in outcome.out + outcome.err
    written = [p.read_bytes() for p in (tmp_path / "runs" / "reports").rglob("*.*")]
    assert written
    assert not [1 for text in (outcome.out.encode(), outcome.err.encode(), *written) if b"1000000" in text]


def test_a_folder_is_recognised_by_the_folders_in_it(tmp_path):
    assert MimicExtracted.recognises(tmp_path) is None
    assert MimicExtracted.recognises(write(tmp_path, PHENO)) == {"root": str(tmp_path), "outcome": PHENO}
    assert MimicExtracted.recognises(write(tmp_path)) == {"root": str(tmp_path), "outcome": IHM}


# ---------------------------------------------------------------- what is refused


def test_options_that_are_not_valid_are_said_at_once():
    with pytest.raises(ValueError, match="root must name") as caught:
        MimicExtracted(None, step_hours=0, split={"test": 2})
    said = str(caught.value)
    assert "step_hours must be" in said
    assert "split: test must be above 0" in said
    with pytest.raises(ValueError, match="cohort must be") as caught:
        MimicExtracted("x", outcome="phenotypes", cohort="both")
    assert "must be 'in-hospital-mortality' or 'phenotyping', found 'phenotypes'; did you mean 'phenotyping'?" in str(
        caught.value
    )
    with pytest.raises(ValueError, match="the files of in-hospital-mortality end after 48 hours, found 72"):
        MimicExtracted("x", window_hours=72)
