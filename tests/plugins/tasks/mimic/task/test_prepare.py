"""Content to a data set: who is kept, whose ceiling it is, and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from fusionbench import Modality
from fusionbench.errors import ConfigError, DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.studies.images import Link
from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS
from fusionbench_plugins.tasks.mimic.task.prepare import _rows, _running_numbers, _subset_columns, outside
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import PATIENTS, prepare, small_tree
from tests.plugins.tasks.mimic.test_bad_input import fails
from tests.plugins.tasks.test_mimic_phenotyping import coded_tree
from tests.plugins.tasks.test_mimic_phenotyping import prepare as prepare_coded


def test_no_complete_stay_left_shows_the_funnel(tmp_path):
    tree = small_tree()
    tree.reports.clear()
    assert "0  every modality" in fails(tmp_path, tree, chest=True, cohort="paired")


def test_stays_may_be_asked_to_have_some_modalities_only(tmp_path):
    tree = small_tree()
    tree.reports.clear()
    del tree.metadata[:3]
    dataset = prepare(tmp_path, tree, chest=True, cohort=["ehr", "cxr"])
    names = list(dataset.modalities)
    assert dataset.available[:, [names.index("ehr"), names.index("cxr")]].all()
    assert not dataset.available[:, names.index("report")].any()
    assert dataset.funnel[-1][:2] == ("modalities ehr and cxr", len(dataset))
    assert "ehr and cxr cohort" in dataset.description
    assert 0 < len(dataset) < len(prepare(tmp_path / "all", small_tree(), chest=True))


def test_a_modality_that_the_files_do_not_hold_cannot_be_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="stays must have ehr, cxr, and the files hold no cxr"):
        prepare(tmp_path, small_tree(), cohort=["ehr", "cxr"])


@pytest.mark.parametrize("cohort", [[], ["ehr", "ehr"], ["ehr", "xray"]])
def test_a_list_that_makes_no_sense_is_refused(cohort):
    with pytest.raises(
        ValueError, match="a list of modalities that every stay must have, each once, of ehr, cxr, report"
    ):
        MimicIhm("x", cohort=cohort)


def test_truth_of_another_cohort(tmp_path):
    import pandas as pd

    (tmp_path / "synthetic.json").write_text("{}", encoding="utf-8")
    pd.DataFrame({"stay_id": [1], **{f"p_{k}": [0.5] for k in range(8)}}).to_parquet(tmp_path / "truth.parquet")
    with pytest.raises(DataError, match="8 stays of the cohort are not in it"):
        prepare(tmp_path)


def test_a_copy_elsewhere_has_the_same_digest(tmp_path):
    here = prepare(tmp_path / "here", chest=True)
    shutil.copytree(tmp_path / "here" / "mimic-iv", tmp_path / "there" / "mimic-iv", copy_function=shutil.copyfile)
    shutil.copytree(tmp_path / "here" / "mimic-cxr", tmp_path / "there" / "mimic-cxr", copy_function=shutil.copyfile)
    roots = [str(tmp_path / "there" / name) for name in ("mimic-iv", "mimic-cxr")]
    there = MimicIhm(*roots, threads=1, memory_limit="500MB").prepare(tmp_path / "there" / "cache", SilentProgress())
    assert there.digest == here.digest


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


def test_resources_do_not_decide_the_content(tmp_path):
    usual = prepare(tmp_path / "a").digest
    assert prepare(tmp_path / "b", temp_folder=str(tmp_path), threads=1, memory_limit="300MB").digest == usual


def test_long_series_are_cut_and_counted(tmp_path):
    tree = coded_tree()
    tree.tables["icustays"][0]["los"] = 1.0
    tree.chart(1, 30, 220045, 150)
    dataset = prepare_coded(tmp_path, tree, max_steps=15)
    ehr = dataset.modalities["ehr"]
    assert ehr.lengths.tolist() == [12, *[15] * (PATIENTS - 1)]
    assert ehr.values[1, -1, COLUMNS.index("Heart Rate")] == 150
    assert (
        f"7 of 8 series are cut after 15 steps: {7 * 21} later steps are left out (max_steps; the longest stay has 36)"
        in dataset.warnings
    )
    everything = prepare_coded(tmp_path, tree, max_steps=None)
    np.testing.assert_array_equal(everything.modalities["ehr"].values[:, :15], ehr.values)
    assert everything.digest != dataset.digest


def test_patients_are_numbered_in_the_order_of_their_first_row():
    assert _running_numbers(np.array([70, 30, 70, 90, 30])).tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (("ehr",), [0, 1]),
        (("ehr", "cxr"), [0, 1, 2, 3]),
        (("ehr", "report"), [0, 1, 4, 5]),
        (("ehr", "cxr", "report"), list(range(8))),
    ],
)
def test_subsets_of_the_modalities_at_hand_have_their_columns_among_those_of_all(names, columns):
    assert _subset_columns(names) == columns


def test_pictures_before_admission_and_after_the_end_are_counted():
    def link(row, hours):
        return Link(**dict.fromkeys(Link._fields, "") | {"row": row, "hours": hours})

    ends = np.array([48.0, 10.0])
    inside = [link(0, 0.0), link(0, 48.0), link(1, 10.0)]
    assert outside(inside, ends) == 0
    assert outside([*inside, link(0, -0.1), link(1, 10.1)], ends) == 2


def test_rows_that_are_kept_keep_their_text_and_their_length():
    keep = np.array([True, False, True])
    series = Modality("series", np.arange(6.0).reshape(3, 2, 1), np.array([1, 2, 2]))
    assert _rows(series, keep).values[:, 0, 0].tolist() == [0, 4]
    assert _rows(series, keep).lengths.tolist() == [1, 2]
    assert _rows(Modality("text", ("a", "b", "c")), keep).values == ("a", "c")
    assert _rows(series, np.ones(3, dtype=bool)) is series
