"""The mortality cohort: who is in it, what is read, and how it becomes arrays."""

from __future__ import annotations

import csv
import json
from datetime import timedelta

import numpy as np
import pytest

from fusionbench import Dataset
from fusionbench_plugins.tasks.mimic.tables import cohort, layout
from fusionbench_plugins.tasks.mimic.tables.database import Resources, database
from fusionbench_plugins.tasks.mimic.tables.rules import RULE_SETS, SOUND
from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS
from fusionbench_plugins.tasks.mimic.tables.window import Window
from tests.mimic_tree import PATIENTS, prepare, small_tree
from tests.shared import shared_folder

DEMO = ("data", "mimic-iv-demo")
ORACLE = ("data", "mimic-iv-demo-oracle")


def column(dataset: Dataset, name: str) -> np.ndarray:
    """Values of one column, ``[rows, steps]``."""
    return np.asarray(dataset.modalities["ehr"].values[..., COLUMNS.index(name)])


# ---------------------------------------------------------------- the open demo


def test_demo_stays_before_the_length_rule_equal_the_peers(tmp_path):
    tables = layout.find_mimic_iv(shared_folder(*DEMO))
    with database(tmp_path, Resources("1GB", 1)) as connection:
        cohort.select_candidates(connection, tables, SOUND, Window(None, full=False))
        found = {stay for (stay,) in connection.execute("SELECT stay_id FROM adults").fetchall()}
    with shared_folder(*ORACLE, "stays.csv").open(encoding="utf-8") as file:
        assert found == {int(row["stay_id"]) for row in csv.DictReader(file)}


# ---------------------------------------------------------------- rules of values


def test_height_before_admission_starts_the_fill(tmp_path):
    tree = small_tree()
    tree.chart(0, -2, 226707, 70)
    tree.chart(1, -25, 226707, 70)
    height = column(prepare(tmp_path, tree), "Height")
    assert height[0] == pytest.approx([70 * 2.54] * 24)
    assert (height[1] == 170).all()
    assert (column(prepare(tmp_path, tree, rules="medfuse"), "Height") == 170).all()


def test_heart_rate_before_admission_is_not_used(tmp_path):
    tree = small_tree()
    tree.chart(0, -0.5, 220045, 140)
    assert column(prepare(tmp_path, tree), "Heart Rate")[0, 0] == 80


def test_urine_is_not_blood(tmp_path):
    tree = small_tree()
    tree.lab(0, 3, 51491, "5", 5.0, stored=4)
    tree.lab(0, 3, 51478, "1000", 1000, stored=4)
    sound, medfuse = prepare(tmp_path, tree), prepare(tmp_path, tree, rules="medfuse")
    assert column(sound, "pH")[0].tolist() == pytest.approx([7.4] * 24)
    assert column(sound, "Glucose").max() == 140
    assert column(medfuse, "pH")[0, 1] == 5
    assert column(medfuse, "Glucose")[0, 1] == 1000


def test_masked_laboratory_text_still_gives_its_number(tmp_path):
    sound, medfuse = prepare(tmp_path), prepare(tmp_path, rules="medfuse")
    assert (column(sound, "Glucose") == 140).all()
    assert (column(medfuse, "Glucose") == 128).all()


@pytest.mark.parametrize("rules", RULE_SETS)
def test_eye_score_none_is_a_score(tmp_path, rules):
    tree = small_tree()
    tree.chart(0, 1, 220739, "None", 1)
    dataset = prepare(tmp_path, tree, rules=rules)
    assert (column(dataset, "Glascow coma scale eye opening->None")[0] == 1).all()
    assert column(dataset, "mask->Glascow coma scale eye opening")[0, 0] == 1


def test_capillary_refill_is_read_from_its_text(tmp_path):
    tree = small_tree()
    tree.chart(0, 3, 223951, "Abnormal >3 Seconds")
    tree.chart(1, 3, 224308, "Normal <3 Seconds")
    dataset = prepare(tmp_path, tree)
    assert column(dataset, "Capillary refill rate->1.0")[:2, 1].tolist() == [1, 0]
    assert column(dataset, "mask->Capillary refill rate")[:3, 1].tolist() == [1, 1, 0]


def test_unknown_text_is_left_out_and_counted(tmp_path):
    tree = small_tree()
    tree.chart(0, 3, 220739, "Winking")
    dataset = prepare(tmp_path, tree)
    assert (column(dataset, "mask->Glascow coma scale eye opening") == 0).all()
    assert any(warning.startswith("1 charted texts") for warning in dataset.warnings)
    assert "Winking" not in "".join(dataset.warnings)


def test_of_two_values_at_one_time_the_larger_number_wins_not_the_larger_text(tmp_path):
    tree = small_tree()
    tree.chart(0, 1, 220181, 93)
    tree.chart(0, 1, 220052, 101)
    sound, medfuse = prepare(tmp_path, tree), prepare(tmp_path, tree, rules="medfuse")
    assert column(sound, "Mean blood pressure")[0, 0] == 101
    assert column(medfuse, "Mean blood pressure")[0, 0] == 93


def test_monitored_rate_is_preferred_to_a_later_spontaneous_rate(tmp_path):
    tree = small_tree()
    tree.chart(0, 0.5, 220210, 18)
    tree.chart(0, 1.0, 224690, 17)
    tree.chart(0, 1.5, 224689, 0)
    tree.chart(0, 2.5, 224689, 9)
    tree.chart(0, 3.0, 224690, 14)
    sound, medfuse = prepare(tmp_path, tree), prepare(tmp_path, tree, rules="medfuse")
    assert column(sound, "Respiratory rate")[0, :2].tolist() == [18, 14]
    assert column(medfuse, "Respiratory rate")[0, :2].tolist() == [0, 14]


def test_impossible_values_are_removed_and_doubtful_ones_clipped(tmp_path):
    tree = small_tree()
    tree.chart(0, 1, 220052, -27)
    tree.chart(1, 1, 220052, 5)
    tree.chart(2, 1, 220052, 801)
    dataset = prepare(tmp_path, tree)
    assert column(dataset, "Mean blood pressure")[:3, 0].tolist() == [77, 14, 77]
    assert column(dataset, "mask->Mean blood pressure")[:3, 0].tolist() == [0, 1, 0]
    assert column(prepare(tmp_path, tree, rules="medfuse"), "Mean blood pressure")[2, 0] == 801


def test_units_become_one(tmp_path):
    tree = small_tree()
    for itemid, number in ((223835, 40), (223761, 98.6), (226531, 150), (220277, 0.97)):
        tree.chart(0, 1, itemid, number)
    for itemid, number in ((223835, 0.4), (223762, 98.6)):
        tree.chart(1, 1, itemid, number)
    dataset = prepare(tmp_path, tree)
    first = {name: column(dataset, name)[:, 0] for name in COLUMNS}
    assert first["Fraction inspired oxygen"][:2] == pytest.approx([0.4, 0.4])
    assert first["Temperature"][:2] == pytest.approx([37, 37])
    assert first["Weight"][0] == pytest.approx(150 * 0.453592)
    assert first["Oxygen saturation"][0] == pytest.approx(97)
    assert column(prepare(tmp_path, tree, rules="medfuse"), "Fraction inspired oxygen")[1, 0] == pytest.approx(0.004)


def test_blood_pressure_text_with_a_slash_is_split(tmp_path):
    tree = small_tree()
    tree.chart(0, 1, 220179, "120/80")
    tree.chart(0, 1, 220180, "120/80")
    dataset = prepare(tmp_path, tree, rules="medfuse")
    assert column(dataset, "Systolic blood pressure")[0, 0] == 120
    assert column(dataset, "Diastolic blood pressure")[0, 0] == 80


def test_result_that_was_not_known_at_the_end_is_left_out(tmp_path):
    tree = small_tree()
    tree.lab(0, 47.5, 50820, "7.1", 7.1, stored=49)
    tree.lab(1, 47.5, 50820, "7.1", 7.1, stored=48)
    assert column(prepare(tmp_path, tree), "pH")[:2, -1].tolist() == pytest.approx([7.4, 7.1])
    assert column(prepare(tmp_path, tree, rules="medfuse"), "pH")[0, -1] == pytest.approx(7.1)


def test_events_of_another_stay_or_admission_are_left_out(tmp_path):
    tree = small_tree()
    tree.chart(0, 47, 220045, 199)
    tree.tables["chartevents"][-1]["stay_id"] = 39999999
    tree.chart(1, 47, 220045, 199)
    tree.tables["chartevents"][-1]["hadm_id"] = ""
    assert column(prepare(tmp_path, tree), "Heart Rate").max() < 100


# ---------------------------------------------------------------- layouts, cache, options


def test_shorter_window_admits_shorter_stays_and_makes_shorter_series(tmp_path):
    tree = small_tree()
    tree.tables["icustays"][0]["los"] = 1.0
    dataset = prepare(tmp_path, tree, window_hours=24, step_hours=0.5)
    assert dataset.modalities["ehr"].values.shape == (PATIENTS, 48, 76)


def test_manifest_has_the_funnel_the_counts_and_the_hash_of_every_table(tmp_path):
    prepare(tmp_path)
    (path,) = (tmp_path / "cache").glob("events-*/manifest.json")
    facts = json.loads(path.read_text(encoding="utf-8"))["facts"]
    assert facts["funnel"][-1][1] == PATIENTS
    assert facts["counts"]["kept"] == 2 * PATIENTS
    assert set(facts["tables"]) == {f"{spec.folders[0]}/{spec.name}" for spec in layout.MIMIC_IV}


def test_event_time_is_relative_to_admission_to_the_unit(tmp_path):
    tree = small_tree()
    tree.chart(0, 3, 220045, 90)
    tree.tables["icustays"][0]["intime"] += timedelta(minutes=90)  # the heart rate of hour 1 is now before it
    assert column(prepare(tmp_path, tree), "Heart Rate")[:2, 0].tolist() == [90, 81]
