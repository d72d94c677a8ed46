"""Bad data through the command line: one message and exit code 2, or a warning and the run goes on; never a traceback."""

from __future__ import annotations

import gzip
import io

import pytest
from PIL import Image

from tests import mimic_tree
from tests.front import fusionbench, write_yaml
from tests.mimic_tree import Tree, small_tree
from tests.shared import shared_folder

SECRETS = ("1000000", "2000000", "3000000", "p10", "picture-")  # parts of identifiers in the tree
EHR = {"ehr": "series_summary"}
ALL = {**EHR, "cxr": "image_grid", "report": "hashed_words"}


@pytest.fixture
def tree(monkeypatch):
    """Enough invented patients for two folds."""
    monkeypatch.setattr(mimic_tree, "PATIENTS", 32)
    return small_tree()


@pytest.fixture
def config(tmp_path):
    return write_yaml(
        tmp_path / "mimic.yaml",
        {
            "name": "mimic",
            "task": {"name": "mimic_ihm", "root": "${MIMIC_ROOT}", "cxr_root": "${MIMIC_CXR_ROOT:-}", "threads": 1},
            "encoders": ALL,
            "model": {"width": 4},
            "strategies": ["concat"],
            "missingness": {"rates": [0, 0.5]},
            "splits": {"folds": 2, "validation": 0.3},
            "training": {"epochs": 1, "batch_size": 16},
            "evaluation": {"resamples": 100},
            "observers": ["files"],
        },
    )


@pytest.fixture
def run(config, tmp_path, monkeypatch):
    """Write a tree, bend its files, and run the benchmark on it; nothing about a patient may be printed."""

    def run(tree: Tree, bend=lambda root, cxr: None, *, chest=False):
        root, cxr = tree.write(tmp_path / "data")
        bend(root, cxr)
        monkeypatch.setenv("MIMIC_ROOT", str(root))
        if chest:
            monkeypatch.setenv("MIMIC_CXR_ROOT", str(cxr))
        outcome = fusionbench("run", config, "--workspace", tmp_path / "runs")
        assert [s for s in SECRETS if s in (outcome.out + outcome.err).replace(str(tmp_path), "")] == []
        return outcome

    return run


def refused(outcome, *parts):
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("error: ")
    assert [p for p in parts if p not in outcome.err] == []
    assert "models trained" not in outcome.out


def test_an_unset_root_says_which_variable_and_where(config, tmp_path):
    outcome = fusionbench("run", config, "--workspace", tmp_path / "runs")
    assert outcome.code == 2
    assert outcome.err == (
        f"error: {config}:4: task.root: environment variable MIMIC_ROOT is not set; "
        "set it, or write ${MIMIC_ROOT:-default}\n"
    )


def test_a_root_that_is_no_folder(run, tree, tmp_path, monkeypatch, config):
    monkeypatch.setenv("MIMIC_ROOT", str(tmp_path / "nowhere"))
    refused(fusionbench("run", config, "--workspace", tmp_path / "runs"), str(tmp_path / "nowhere"), "is not a folder")


def test_missing_tables_and_columns(run, tree):
    del tree.tables["labevents"]
    for row in tree.tables["icustays"]:
        del row["los"]
    refused(run(tree), "table hosp/labevents (.csv or .csv.gz) is missing", "icu/icustays has no column los")


@pytest.mark.parametrize("size", [20, 200])
def test_a_truncated_gzip(run, tree, size):
    def cut(root, cxr):
        path = root / "icu" / "chartevents.csv.gz"
        path.write_bytes(path.read_bytes()[:size])

    refused(run(tree, cut), "icu/chartevents")


def test_a_value_of_the_wrong_type(run, tree):
    tree.tables["icustays"][3]["los"] = "Mr-Somebody"
    outcome = run(tree)
    refused(outcome, "icu/icustays", "los")
    assert "Somebody" not in outcome.out + outcome.err


def test_no_patient_left(run, tree):
    for row in tree.tables["patients"]:
        row["anchor_age"] = 5
    refused(run(tree), "no stay is left", "0  18 years or older")


def test_a_stay_that_occurs_twice(run, tree):
    tree.tables["icustays"].append(dict(tree.tables["icustays"][0]))
    refused(run(tree), "table icu/icustays: 1 values of stay_id occur more than once")


def test_a_stay_with_two_labels(run, tree):
    row = tree.tables["admissions"][0]
    tree.tables["admissions"].append({**row, "hospital_expire_flag": 1 - int(str(row["hospital_expire_flag"]))})
    refused(run(tree), "table hosp/admissions: 1 admissions have two different labels")


def test_one_outcome_only(run, tree):
    for row in tree.tables["admissions"]:
        row["hospital_expire_flag"] = 0
    refused(run(tree), "0 of 32 stays died")


def test_too_few_patients_for_the_folds(run, config):
    config.write_text(config.read_text(encoding="utf-8").replace("folds: 2", "folds: 9"), encoding="utf-8")
    refused(run(small_tree()), "folds is too large")


def test_unreadable_pictures_and_empty_reports_are_warned_about_and_the_run_goes_on(run, tree):
    pictures, reports = sorted(tree.files), sorted(tree.reports)
    tree.files[pictures[0]] = b"\xff\xd8 no picture"
    tree.files[pictures[1]] = b""
    tree.files[pictures[2]] = tree.files[pictures[2]][:200]
    del tree.files[pictures[3]]
    tree.reports[reports[4]] = b""
    tree.reports[reports[5]] = b"\xff\xfe\x00broken"
    del tree.reports[reports[6]]
    outcome = run(tree, chest=True)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    warnings = [line for line in outcome.out.splitlines() if line.startswith("warning: ")]
    assert any("damaged" in w and "missing" in w for w in warnings), warnings
    assert any("report" in w for w in warnings), warnings
    assert "32 samples; with ehr 32, cxr 28, report " in outcome.out
    assert "done: 2 models trained" in outcome.out


def test_without_pictures_their_encoders_are_not_used_and_that_is_said(run, tree):
    outcome = run(tree)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert "warning: the data hold no cxr, report; their encoders are not used" in outcome.out


def test_a_plain_table_named_gz(run, tree):
    def unpack(root, cxr):
        path = root / "hosp" / "patients.csv.gz"
        path.write_bytes(gzip.decompress(path.read_bytes()))

    refused(run(tree, unpack), "hosp/patients")


@pytest.mark.parametrize(("grey", "how"), [(0, "black"), (90, "equal")])
def test_pictures_that_are_all_black_or_equal_stop_a_run_and_are_a_problem_of_the_data(run, tree, tmp_path, grey, how):
    drawn = io.BytesIO()
    Image.new("L", (80, 100), grey).save(drawn, format="JPEG")
    tree.files = dict.fromkeys(tree.files, drawn.getvalue())
    refused(run(tree, chest=True), f"modality cxr: all 32 pictures are {how}, so nothing can be learnt from them")
    found = fusionbench(
        "data", "check", tmp_path / "data", "--task", "mimic_ihm", "--workspace", tmp_path / "runs", "--quiet"
    )
    assert found.code == 2
    assert f"problem: modality cxr: all 32 pictures are {how}" in found.out
    assert "32 of 32 linked chest X-rays are one even grey" in found.out


@pytest.mark.parametrize("name", ["18", "19"])
def test_an_encoder_of_texts_that_reads_nothing_stops_a_run(run, tree, config, name):
    folder = shared_folder("faults", name)
    text = config.read_text(encoding="utf-8").replace(
        "report: hashed_words", f"report: {{name: hf_text, path: {folder}}}"
    )
    config.write_text(text, encoding="utf-8")
    said = "two different texts have one embedding" if name == "18" else "'model.safetensors' is a Git-LFS pointer"
    outcome = run(tree, chest=True)
    assert outcome.code == 2
    assert said in outcome.err.partition("error: ")[2]  # before it, the library shows that it loads weights


def test_lengths_in_hours_are_refused(run, tree):
    for row in tree.tables["icustays"]:
        row["los"] = float(str(row["los"])) * 24
    refused(run(tree), "it is in hours")


def test_a_table_with_an_index_is_read(run, tree):
    for rows in (*tree.tables.values(), tree.metadata):
        rows[:] = [{"": number, **row} for number, row in enumerate(rows)]
    assert run(tree, chest=True).code == 0
