"""The mortality cohort: who is in it, what is read, and how it becomes arrays."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionbench import Dataset, TargetKind
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.tables import arrays, cohort, extract, layout
from fusionbench_plugins.tasks.mimic.tables.database import Resources, database
from fusionbench_plugins.tasks.mimic.tables.rules import RULE_SETS, SOUND
from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS, CONTINUOUS, NAMES, VARIABLES
from fusionbench_plugins.tasks.mimic.tables.window import Window
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import PATIENTS, prepare, small_tree
from tests.shared import shared_folder

DEMO = ("data", "mimic-iv-demo")
ORACLE = ("data", "mimic-iv-demo-oracle")


def column(dataset: Dataset, name: str) -> np.ndarray:
    """Values of one column, ``[rows, steps]``."""
    return np.asarray(dataset.modalities["ehr"].values[..., COLUMNS.index(name)])


@pytest.fixture(scope="module")
def demo_caches(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


def demo(cache: Path, **options: object) -> Dataset:
    task = MimicIhm(str(shared_folder(*DEMO)), **options)  # type: ignore[arg-type]
    return task.prepare(cache, SilentProgress())


def demo_stays(cache: Path, rules: str):
    import pandas as pd

    folders = [f for f in cache.glob("events-*") if (f / "stays.parquet").is_file()]
    assert folders, rules
    return pd.read_parquet(folders[0] / "stays.parquet")


# ---------------------------------------------------------------- the open demo


@pytest.mark.parametrize("rules", RULE_SETS)
def test_demo_stays_and_labels_equal_the_peers(tmp_path, rules):
    dataset = demo(tmp_path, rules=rules)
    stays = demo_stays(tmp_path, rules)
    with shared_folder(*ORACLE, "ihm_labels.csv").open(encoding="utf-8") as file:
        expected = {int(row["stay_id"]): int(row["y_true"]) for row in csv.DictReader(file)}
    assert dict(zip(stays["stay_id"].tolist(), dataset.target.tolist(), strict=True)) == expected
    assert stays["stay_id"].is_monotonic_increasing


def test_demo_stays_before_the_length_rule_equal_the_peers(tmp_path):
    tables = layout.find_mimic_iv(shared_folder(*DEMO))
    with database(tmp_path, Resources("1GB", 1)) as connection:
        cohort.select_candidates(connection, tables, SOUND, Window(None, full=False))
        found = {stay for (stay,) in connection.execute("SELECT stay_id FROM adults").fetchall()}
    with shared_folder(*ORACLE, "stays.csv").open(encoding="utf-8") as file:
        assert found == {int(row["stay_id"]) for row in csv.DictReader(file)}


def test_demo_funnel_is_the_published_one(demo_caches):
    dataset = demo(demo_caches)
    assert [step.rows for step in dataset.funnel] == [74, 69, 69, 59, 59, 27, 27]
    assert dataset.funnel[-1].note.startswith("5 died; ")
    assert "differ for 0; published: 26,226, of whom 3,262 died" in dataset.funnel[-1].note
    assert "only 5 of 27 stays died: every interval is wide" in dataset.warnings


@pytest.mark.parametrize("step", [1, 2])
def test_demo_arrays_of_medfuse_equal_the_peers_cell_by_cell(demo_caches, step):
    dataset = demo(demo_caches, rules="medfuse", step_hours=step)
    with np.load(shared_folder(*ORACLE, f"ihm_{step}h.npz")) as expected:
        np.testing.assert_array_equal(dataset.modalities["ehr"].values, expected["X"])
        np.testing.assert_array_equal(dataset.target, expected["y"])


def test_columns_are_the_published_ones():
    expected = json.loads(shared_folder(*ORACLE, "columns.json").read_text(encoding="utf-8"))
    assert list(COLUMNS) == expected
    normaliser = json.loads(shared_folder(*ORACLE, "normalizer_ihm_1h.json").read_text(encoding="utf-8"))
    assert np.flatnonzero(CONTINUOUS).tolist() == normaliser["normalised_columns"]


def test_item_table_agrees_with_the_reference_table():
    ours = {}
    for variable in VARIABLES:
        for item in variable.items:
            limits = variable.limits
            ranges = (limits.reject_low, limits.low, limits.high, limits.reject_high) if limits else None
            ours[item.itemid] = (variable.name, item.table, item.peer, item.sound, ranges)
    with shared_folder("data", "mimic_variables.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "mimic-iv"]
    names = ("outlier_low", "valid_low", "valid_high", "outlier_high")
    for row in rows:
        table = "chart" if row["table"] == "icu/chartevents" else "lab"
        ranges = tuple(float(row[name]) for name in names) if row["kind"] == "continuous" else None
        expected = (row["variable"], table, row["in_medfuse"] == "1", row["recommended"] == "1", ranges)
        assert ours.pop(int(row["itemid"])) == expected
    assert not ours


def test_demo_dataset_keeps_the_contract(demo_caches):
    dataset = demo(demo_caches)
    ehr = dataset.modalities["ehr"]
    assert tuple(dataset.modalities) == ("ehr",)
    assert ehr.values.shape == (27, 24, 76)
    assert ehr.values.dtype == np.float32
    assert np.isfinite(ehr.values).all()
    assert ehr.columns == COLUMNS
    assert ehr.standardise.sum() == 12
    assert dataset.kind is TargetKind.BINARY
    assert dataset.outputs == ("died",)
    assert not dataset.synthetic
    assert dataset.available.all()
    first = [dataset.groups.tolist().index(group) for group in range(max(dataset.groups) + 1)]
    assert first == sorted(first)
    assert "modalities cxr and report are left out" in dataset.warnings[-1]


def test_demo_sound_series_fills_height_and_derives_the_total(demo_caches):
    values = np.asarray(demo(demo_caches, step_hours=1).modalities["ehr"].values)
    height = values[:, 0, COLUMNS.index("Height")]
    assert (height != 170).sum() == 19
    assert height.min() > 120
    scores = {name: _scores(values, name) for name in ("gcs_eye", "gcs_motor", "gcs_verbal", "gcs_total")}
    np.testing.assert_array_equal(scores["gcs_total"], scores["gcs_eye"] + scores["gcs_motor"] + scores["gcs_verbal"])


def _scores(values: np.ndarray, name: str) -> np.ndarray:
    variable = VARIABLES[NAMES.index(name)]
    score = {text: c.score for c in variable.categories for text in (c.column, *c.spellings)}
    block = [COLUMNS.index(f"{variable.published}->{text}") for text in variable.columns]
    assert (values[..., block].sum(axis=-1) == 1).all()
    return values[..., block] @ np.array([score[text] for text in variable.columns])


# ---------------------------------------------------------------- rules of values


def test_height_before_admission_starts_the_fill(tmp_path):
    tree = small_tree()
    tree.chart(0, -2, 226707, 70)
    tree.chart(1, -25, 226707, 70)
    height = column(prepare(tmp_path, tree), "Height")
    assert height[0] == pytest.approx([70 * 2.54] * 24)
    assert (height[1] == 170).all()
    assert (column(prepare(tmp_path, tree, rules="medfuse"), "Height") == 170).all()


def test_value_before_admission_is_not_measured_and_gives_way(tmp_path):
    tree = small_tree()
    tree.chart(0, -0.5, 226512, 70)
    tree.chart(0, 5, 224639, 72)
    dataset = prepare(tmp_path, tree)
    assert column(dataset, "Weight")[0].tolist() == [70] * 2 + [72] * 22
    assert column(dataset, "mask->Weight")[0].tolist() == [0, 0, 1] + [0] * 21


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


def test_measured_and_imputed_normal_light_the_same_column(tmp_path):
    tree = small_tree()
    tree.chart(0, 47, 220739, "Spontaneously", 4)
    spelling = "Glascow coma scale eye opening->{}".format
    sound, medfuse = prepare(tmp_path, tree), prepare(tmp_path, tree, rules="medfuse")
    assert (column(sound, spelling("Spontaneously"))[0] == 1).all()
    assert column(medfuse, spelling("4 Spontaneously"))[0].tolist() == [1] * 23 + [0]


def test_total_is_the_sum_of_the_parts(tmp_path):
    tree = small_tree()
    for itemid, text in ((220739, "to pain "), (223900, "No Response-ETT"), (223901, "Localizes Pain")):
        tree.chart(0, 1, itemid, text)
    dataset = prepare(tmp_path, tree)
    assert (column(dataset, "Glascow coma scale total->8")[0] == 1).all()
    assert (column(dataset, "Glascow coma scale total->15")[1] == 1).all()
    assert column(dataset, "mask->Glascow coma scale total")[0].tolist() == [1] + [0] * 23


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


def test_steps_are_closed_on_the_right(tmp_path):
    tree = small_tree()
    second = 1 / 3600
    for hours, rate in ((0, 60), (2, 62), (2 + second, 63), (48, 64), (48 + second, 65)):
        tree.chart(0, hours, 220045, rate)
    rate = column(prepare(tmp_path, tree), "Heart Rate")[0]
    assert rate.tolist() == [62] + [63] * 22 + [64]


def test_events_of_another_stay_or_admission_are_left_out(tmp_path):
    tree = small_tree()
    tree.chart(0, 47, 220045, 199)
    tree.tables["chartevents"][-1]["stay_id"] = 39999999
    tree.chart(1, 47, 220045, 199)
    tree.tables["chartevents"][-1]["hadm_id"] = ""
    assert column(prepare(tmp_path, tree), "Heart Rate").max() < 100


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=8), st.floats(-5, 5))
@settings(max_examples=50, deadline=None)
def test_fill_equals_a_loop(values, start):
    expected, last = [], start
    for value in values:
        last = last if value is None else value
        expected.append(last)
    table = np.array([np.nan if v is None else v for v in values])[None, :, None]
    assert arrays.fill_forward(table, np.array([[start]]))[0, :, 0].tolist() == expected


def test_event_after_the_window_is_refused(tmp_path):
    import pandas as pd

    events = tmp_path / "events.parquet"
    pd.DataFrame({"row": [0], "variable": [8], "hours": [48.5], "rank": [0], "number": [80.0]}).to_parquet(events)
    with pytest.raises(arrays.DataError, match="1 events lie after the end of what may be read"):
        arrays.write_series(events, np.array([48.0]), SOUND, 2, None, tmp_path, Resources("1GB", 1))


# ---------------------------------------------------------------- rules of the cohort


# ---------------------------------------------------------------- layouts, cache, options


@pytest.mark.parametrize(
    "shape", [{"plain": True}, {"old": True}, {"newline": "\r\n"}, {"plain": True, "old": True, "newline": "\r\n"}]
)
def test_every_published_layout_gives_the_same_data(tmp_path, shape):
    root, _ = small_tree().write(tmp_path / "shaped [1]'s", **shape)
    shaped = MimicIhm(str(root)).prepare(tmp_path / "cache [2]'s", SilentProgress())
    assert shaped.digest == prepare(tmp_path / "reference").digest


def test_second_prepare_reads_the_cache(tmp_path, monkeypatch):
    first = prepare(tmp_path, chest=True)
    monkeypatch.setattr(extract, "extract", lambda *_: pytest.fail("extracted again"))
    monkeypatch.setattr(arrays, "write_series", lambda *_: pytest.fail("encoded again"))
    roots = [str(tmp_path / name) for name in ("mimic-iv", "mimic-cxr")]
    second = MimicIhm(*roots).prepare(tmp_path / "cache", SilentProgress())
    assert second.digest == first.digest
    np.testing.assert_array_equal(second.modalities["ehr"].values, first.modalities["ehr"].values)


def test_changed_table_is_extracted_again(tmp_path):
    tree = small_tree()
    before = prepare(tmp_path, tree)
    tree.chart(0, 3, 220045, 120)
    after = prepare(tmp_path, tree)
    assert after.digest != before.digest
    assert column(after, "Heart Rate")[0, 1] == 120


def test_damaged_cache_entry_is_built_anew(tmp_path):
    before = prepare(tmp_path)
    expected = np.array(before.modalities["ehr"].values)
    (series,) = (tmp_path / "cache").glob("series-*/series.npy")
    del before
    series.write_bytes(series.read_bytes()[:-4])
    root = str(tmp_path / "mimic-iv")
    again = MimicIhm(root).prepare(tmp_path / "cache", SilentProgress())
    np.testing.assert_array_equal(again.modalities["ehr"].values, expected)


def test_failed_build_leaves_nothing_that_could_be_read(tmp_path, monkeypatch):
    def half(events, ends, rules, step, most, folder, resources):
        (folder / "series.npy").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(arrays, "write_series", half)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path)
    assert [path.name.split("-")[0] for path in (tmp_path / "cache").glob("[!.]*")] == ["events"]
    assert not list((tmp_path / "cache").glob(".*.partial"))
    assert len(prepare(tmp_path)) == PATIENTS


def test_a_copy_elsewhere_has_the_same_digest(tmp_path):
    here = prepare(tmp_path / "here", chest=True)
    shutil.copytree(tmp_path / "here" / "mimic-iv", tmp_path / "there" / "mimic-iv", copy_function=shutil.copyfile)
    shutil.copytree(tmp_path / "here" / "mimic-cxr", tmp_path / "there" / "mimic-cxr", copy_function=shutil.copyfile)
    roots = [str(tmp_path / "there" / name) for name in ("mimic-iv", "mimic-cxr")]
    there = MimicIhm(*roots, threads=1, memory_limit="500MB").prepare(tmp_path / "there" / "cache", SilentProgress())
    assert there.digest == here.digest


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


def test_tree_beside_a_synthetic_mark_is_labelled_and_has_a_ceiling(tmp_path):
    import pandas as pd

    tree = small_tree()
    tree.write(tmp_path)
    (tmp_path / "synthetic.json").write_text("{}", encoding="utf-8")
    ids = [30000000 + patient for patient in reversed(range(PATIENTS))]
    pd.DataFrame({"stay_id": ids, **{f"p_{k}": [k / 10 + i / 1000 for i in ids] for k in range(8)}}).to_parquet(
        tmp_path / "truth.parquet"
    )
    chest, alone = prepare(tmp_path, tree, chest=True), prepare(tmp_path, tree)
    assert chest.synthetic
    assert chest.description.startswith("SYNTHETIC")
    assert chest.ceiling.shape == (PATIENTS, 8)
    assert chest.ceiling[0, 5] == pytest.approx(0.5 + 30000.0)
    np.testing.assert_array_equal(alone.ceiling, chest.ceiling[:, :2])


def test_event_time_is_relative_to_admission_to_the_unit(tmp_path):
    tree = small_tree()
    tree.chart(0, 3, 220045, 90)
    tree.tables["icustays"][0]["intime"] += timedelta(minutes=90)  # the heart rate of hour 1 is now before it
    assert column(prepare(tmp_path, tree), "Heart Rate")[:2, 0].tolist() == [90, 81]


def test_synthetic_cohort_is_written_once_and_read_back_by_the_same_extraction(tmp_path):
    task = MimicIhm(synthetic={"stays": 40, "image_size": 32})
    first, second = (task.prepare(tmp_path, SilentProgress()) for _ in range(2))
    assert first.synthetic
    assert len(first) == 40
    assert list(first.modalities) == ["ehr", "cxr", "report"]
    assert first.ceiling.shape == (40, 8)
    assert np.isfinite(first.ceiling).all()
    assert second.digest == first.digest
    assert len(list(tmp_path.glob("synthetic-*"))) == 1
