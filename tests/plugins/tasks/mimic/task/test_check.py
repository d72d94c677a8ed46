"""``data check`` of a MIMIC tree: what it says, what it warns of, and that it says nothing about a single patient."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fusionbench import Findings
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.task.task import MimicTask
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from fusionbench_plugins.tasks.mimic_phenotyping import MimicPhenotyping
from tests.front import fusionbench
from tests.mimic_tree import PATIENTS, Tree, small_tree
from tests.plugins.tasks.test_mimic_phenotyping import coded_tree
from tests.shared import shared_folder


def check(
    folder: Path, tree: Tree, task: type[MimicTask] = MimicIhm, *, chest: bool = True, **options: object
) -> Findings:
    root, cxr = tree.write(folder)
    found = task(str(root), str(cxr) if chest else None, **options).check(folder / "cache", SilentProgress())  # type: ignore[call-arg, arg-type]
    assert found is not None
    return found


def line(found: Findings, beginning: str) -> str:
    (one,) = [text for text in found.lines if text.startswith(beginning)]
    return one


def row(found: Findings, variable: str) -> list[str]:
    return line(found, f"{variable} ").split()[1:]


def warnings(found: Findings) -> str:
    return "\n".join(text for text in found.lines if text.startswith("warning:"))


def test_version_funnel_and_published_sizes_are_shown(tmp_path):
    found = check(tmp_path, small_tree())
    assert line(found, "MIMIC-IV: layout of v2.2 to v3.1 (hosp/, icu/; column race), 6 tables as .csv.gz")
    assert "icustays 8" in line(found, "rows read:")
    last = line(found, "         8  a diagnosis code, and an event in the first 48 h")
    assert "4 died" in last
    assert "published: 26,226" in last
    assert line(found, "label died: 4 of 8 rows (50.0%)")
    assert found.lines[0].startswith("In-hospital mortality from the first 48 h of 8 ICU stays")


def test_synthetic_data_are_called_so(tmp_path):
    small_tree().write(tmp_path)
    (tmp_path / "synthetic.json").write_text("{}", encoding="utf-8")
    assert check(tmp_path, small_tree()).lines[0].startswith("SYNTHETIC. ")


def test_an_older_layout_is_named(tmp_path):
    root, _ = small_tree().write(tmp_path, old=True, plain=True)
    found = MimicIhm(str(root)).check(tmp_path / "cache", SilentProgress())
    assert "layout of v1.0 (core/, hosp/, icu/; column ethnicity), 6 tables as .csv," in line(found, "MIMIC-IV:")
    assert line(found, "MIMIC-CXR: no root was given")


def test_everything_that_is_missing_is_named_at_once(tmp_path):
    root, cxr = small_tree().write(tmp_path)
    (root / "icu" / "chartevents.csv.gz").unlink()
    (cxr / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    found = MimicIhm(str(root), str(cxr)).check(tmp_path / "cache", SilentProgress())
    assert [text.startswith("problem:") for text in found.lines] == [True, True]
    assert "icu/chartevents" in found.lines[0]
    assert "mimic-cxr-*-metadata" in found.lines[1]
    assert found.draw is None


def test_values_in_another_unit_and_impossible_ones_are_counted_by_variable(tmp_path):
    tree = small_tree()
    tree.chart(0, 1, 223762, 98.6)  # Celsius item, typed in Fahrenheit
    tree.chart(1, 1, 223762, 36.6)
    tree.chart(0, 1, 223835, 0.4)
    tree.chart(0, 1, 220052, -27)
    tree.chart(1, 1, 220052, 5)
    tree.chart(2, 1, 220052, 80)
    found = check(tmp_path, tree)
    # read, other unit, impossible, clipped, stays with a value, steps with a value
    assert row(found, "temperature") == ["2", "50.00%", ".", ".", "25.0%", "1.0%"]
    assert row(found, "fio2")[:2] == ["1", "100.00%"]
    assert row(found, "mbp") == ["3", ".", "33.33%", "33.33%", "25.0%", "1.0%"]
    assert row(found, "heart_rate")[:4] == ["8", ".", ".", "."]
    assert "temperature: 1 of 2 values are in another unit" in warnings(found)
    assert "mbp: 1 of 3 values are impossible" in warnings(found)


def test_what_is_impossible_does_not_depend_on_the_rule_set(tmp_path):
    tree = small_tree()
    tree.chart(0, 1, 220052, -27)
    sound, medfuse = (check(tmp_path, tree, rules=rules) for rules in ("sound", "medfuse"))
    assert row(sound, "mbp")[2] == row(medfuse, "mbp")[2] == "100.00%"
    assert row(sound, "mbp")[4] == "0.0%"  # removed
    assert row(medfuse, "mbp")[4] == "12.5%"  # kept


def test_a_variable_without_a_known_value_is_warned_of(tmp_path):
    tree = small_tree()
    tree.chart(0, 1, 223951, "___")
    assert "capillary_refill: none of 1 events holds a value that is known" in warnings(check(tmp_path, tree))


def test_the_total_of_the_coma_scale_counts_stays_with_all_parts(tmp_path):
    tree = small_tree()
    for itemid, text in ((220739, "None"), (223901, "No response"), (223900, "No Response")):
        tree.chart(0, 1, itemid, text)
    tree.chart(1, 1, 220739, "None")
    found = check(tmp_path, tree)
    assert row(found, "gcs_total")[-2:] == ["12.5%", "0.5%"]
    assert row(found, "gcs_eye")[-2] == "25.0%"


def test_missing_modalities_are_counted_alone_and_together(tmp_path):
    tree = small_tree()
    path = f"files/p10/p{10000000}/s{tree.metadata[0]['study_id']}"
    del tree.reports[f"{path}.txt"]
    tree.metadata[1]["ViewPosition"] = "LATERAL"
    tree.metadata[2]["ViewPosition"] = "LATERAL"
    found = check(tmp_path, tree)
    assert line(found, f"         5  stays ({5 / PATIENTS:.1%}) have ehr+cxr+report")
    assert line(found, f"         2  stays ({2 / PATIENTS:.1%}) have ehr")
    assert line(found, f"         1  stays ({1 / PATIENTS:.1%}) have ehr+cxr")
    assert line(found, "died: 50.0% of the stays with cxr, 50.0% of those without")


def test_late_results_and_late_reports_are_leak_warnings(tmp_path):
    tree = small_tree()
    tree.lab(0, 47.5, 50820, "7.1", 7.1, stored=49)
    tree.image(1, 47, "late")
    sound, medfuse = (check(tmp_path, tree, rules=rules) for rules in ("sound", "medfuse"))
    assert line(sound, "1 laboratory results were stored after that end: left out by rule set sound")
    assert "1 laboratory results were stored after that end: kept all the same by rule set medfuse" in warnings(medfuse)
    assert "1 of 8 reports belong to a picture of the last 6 h" in warnings(sound)
    assert "reports belong to a picture" not in warnings(check(tmp_path, tree, report_margin_hours=6))


def test_patients_in_two_parts_are_counted(tmp_path):
    tree = small_tree()
    found = check(tmp_path, tree, split={"test": 0.4, "validation": 0.2, "salt": "s"})
    assert line(found, "0 patients are in more than one part of the split")


def test_whole_stays_are_warned_of_and_windows_are_not(tmp_path):
    whole = check(tmp_path, coded_tree(), MimicPhenotyping)
    window = check(tmp_path, coded_tree(), MimicPhenotyping, window_hours=48)
    assert "series are as long as the stay (median 3.0 days, longest 3.0)" in warnings(whole)
    assert "series are as long" not in warnings(window)
    assert line(whole, "25 labels, 25 of 200 are 1; the rarest two and the most frequent two:")


def test_bad_content_is_a_problem_and_not_a_traceback(tmp_path):
    tree = small_tree()
    tree.tables["icustays"] = [{**stay, "los": 1.0} for stay in tree.tables["icustays"]]
    root, _ = tree.write(tmp_path)
    found = fusionbench("data", "check", root, "--task", "mimic_ihm", "--workspace", tmp_path / "ws")
    assert found.code == 2
    assert "\nproblem: no stay is left in the cohort" in found.out


def test_a_folder_is_recognised_checked_and_drawn(tmp_path):
    small_tree().write(tmp_path / "tree")
    found = fusionbench("data", "check", tmp_path / "tree", "--workspace", tmp_path / "ws", "--quiet")
    assert found.code == 0, found.err
    assert "checked as mimic_ihm; also possible: --task mimic_phenotyping" in found.out
    assert "have ehr+cxr+report" in found.out
    folder = tmp_path / "ws" / "reports" / "mimic_ihm"
    assert f"picture: {folder / 'data.png'} (and data.svg)" in found.out
    assert (folder / "data.png").read_bytes().startswith(b"\x89PNG")
    svg = (folder / "data.svg").read_text(encoding="utf-8")
    assert svg.rstrip().endswith("</svg>")


@pytest.mark.parametrize("name", ["mimic_phenotyping", "table", "mimic_imh"])
def test_a_folder_of_nothing_is_refused_whoever_is_asked(tmp_path, name):
    found = fusionbench("data", "check", tmp_path, "--task", name)
    assert found.code == 2
    assert ("did you mean 'mimic_ihm'" if name == "mimic_imh" else "does not recognise the files") in found.err


def test_no_line_and_no_picture_holds_an_identifier(tmp_path):
    tree = coded_tree()
    tree.chart(0, 1, 220052, -27.125)
    found = check(tmp_path, tree, MimicPhenotyping)
    assert found.draw is not None
    found.draw([tmp_path / "data.svg"])
    text = "\n".join(found.lines) + re.sub(
        r'\b(d|id|href)="[^"]*"', "", (tmp_path / "data.svg").read_text(encoding="utf-8")
    )
    assert not re.search(r"\b[1-5]0{4,6}\d+\b", "\n".join(found.lines))  # patients, admissions, stays, studies
    for number in ("10000003", "20000003", "30000003", "50000003", "27.125", "lungs are clear"):
        assert number not in text


def test_open_demo_is_described_as_it_is_known(tmp_path):
    root, cxr = shared_folder("data", "mimic-iv-demo"), shared_folder("data", "mimic-cxr-made-up")
    found = MimicIhm(str(root), str(cxr)).check(tmp_path, SilentProgress())
    assert line(found, "MIMIC-CXR: 7 of 27 stays have an AP picture in time")
    assert row(found, "mbp")[:3] == ["1,612", ".", "0.12%"]
    assert row(found, "height")[-2:] == ["70.4%", "0.0%"]
    assert line(found, "0 events lie after that end")
    assert len(found.lines) < 60
