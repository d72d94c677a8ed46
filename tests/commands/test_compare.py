"""Comparing two runs: what changed, which differences hold, and when nothing can be paired."""

from __future__ import annotations

import json
import random
import re
import shutil
from contextlib import suppress

import pytest

from fusionbench.commands.compare import compare_runs, find_run
from fusionbench.errors import DataError, FusionBenchError
from fusionbench.plugins.catalogue import Plugins
from fusionbench.report import Picture
from fusionbench.report.record import NAME
from tests.front import TOY, fusionbench, toy_benchmark, write_yaml
from tests.report.test_record import JUNK, changed, places

BASE = {
    "task": {"name": "toy", "rows": 240},
    "training": {"epochs": 4, "batch_size": 32},
    "observers": ["files", "html"],
}


def run(folder, workspace, **changes):
    config = write_yaml(folder / f"{workspace}.yaml", toy_benchmark(**{**BASE, **changes}))
    found = fusionbench("run", config, "-p", TOY, "--workspace", folder / workspace, "--quiet")
    assert found.code == 0, found.err
    return folder / workspace


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Six runs that differ in one thing each; so many take long."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:  # pictures are not what is compared
        patch.setattr("fusionbench.report.charts.drawing.draw", lambda name, *_, **__: Picture("<svg/>", "", "", name))
        return made(folder)


def made(folder):
    return {
        "base": run(folder, "base"),
        "same": run(folder, "same"),
        "longer": run(folder, "longer", training={"epochs": 25, "batch_size": 32}, strategies=["concat", "lmf"]),
        "masks": run(folder, "masks", missingness={"patterns": ["random"], "rates": [0, 0.3]}),
        "data": run(folder, "data", task={"name": "toy", "rows": 240, "seed": 1}),
        "splits": run(folder, "splits", splits={"folds": 3}),
    }


def compared(first, second):
    return list(compare_runs(find_run(first), find_run(second), Plugins([TOY])))


def rows(lines, *names):
    return {line.split("  ")[0]: line for line in lines if line.startswith(tuple(names))}


def test_equal_runs_are_the_same(runs):
    lines = compared(runs["base"], runs["same"])
    assert "nothing changed in configuration, data, plugins and packages" in lines
    found = rows(lines, "concat /", "sum /")
    assert len(found) == 2
    assert all(line.endswith("same") for line in found.values())
    assert not any(line.startswith("only in") for line in lines)


def test_what_changed_is_named_and_differences_are_paired(runs):
    lines = compared(runs["base"], runs["longer"])
    assert "  training.epochs: 4 -> 25" in lines
    assert "  strategies.lmf.name: not there -> lmf" in lines
    (line,) = rows(lines, "concat /").values()
    value, low, high = (float(v) for v in re.search(r"([+-]\S+) \[([+-]\S+), ([+-]\S+)\]", line).groups())
    a, b = (find_run(runs[n]).board["concat", "zero", ""]["area"] for n in ("base", "longer"))
    assert value == pytest.approx(b - a, abs=0.0006)
    assert 0 < low < value < high  # 25 epochs are far better than 4
    assert line.endswith("yes")
    assert "only in A: sum / zero" in lines
    assert "only in B: lmf / zero" in lines


def test_the_other_way_round_the_sign_turns(runs):
    there, back = (
        rows(compared(*pair), "concat /") for pair in ((runs["base"], runs["longer"]), (runs["longer"], runs["base"]))
    )
    assert there["concat / zero"].count("+.") == back["concat / zero"].count("-.") == 3


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("masks", "folds, seeds, conditions or masks differ"),
        ("data", "the data differ"),
        ("splits", "the splits differ"),
    ],
)
def test_what_cannot_be_paired_is_said_with_the_reason(runs, other, reason):
    lines = compared(runs["base"], runs[other])
    assert f"not paired, so only each run's own intervals are there (all lines): {reason}" in lines
    assert all(line.endswith("-") for line in rows(lines, "concat /", "sum /").values())
    assert not any(line.startswith("holds:") for line in lines)


def test_a_report_folder_outside_its_workspace_gives_intervals_only(runs, tmp_path):
    copy = shutil.copytree(runs["base"] / "reports" / "toy", tmp_path / "somewhere" / "copy")
    lines = compared(runs["base"], copy)
    assert any("the predictions of B are not beside its report" in line for line in lines)


def test_results_that_were_removed_are_not_paired(runs, tmp_path):
    copy = shutil.copytree(runs["base"], tmp_path / "copy")
    next((copy / "results" / "fits").glob("*")).unlink()
    lines = compared(runs["base"], copy)
    assert sum("not every model is stored" in line for line in lines) == 1


def test_changed_plugins_and_packages_are_named(runs, tmp_path):
    copy = shutil.copytree(runs["base"], tmp_path / "copy")
    path = copy / "reports" / "toy" / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["parts"]["strategy concat"] |= {"version": "9.9", "source": "f" * 64}
    record["environment"]["torch"] = "1.0"
    path.write_text(json.dumps(record), encoding="utf-8")
    lines = compared(runs["base"], copy)
    assert any(line.startswith("  strategy concat: version ") and line.endswith("-> 9.9") for line in lines)
    assert any(line.startswith("  strategy concat: source ") and line.endswith(f"-> {'f' * 16}") for line in lines)
    assert any(line.startswith("  package torch: ") and line.endswith("-> 1.0") for line in lines)


def test_data_that_are_not_there_any_more_leave_the_intervals(runs):
    lines = list(compare_runs(find_run(runs["base"]), find_run(runs["same"]), Plugins()))
    assert any("the data cannot be read again: no task named 'toy'" in line for line in lines)


def test_runs_that_are_ranked_by_other_metrics_are_not_compared(runs, tmp_path):
    copy = shutil.copytree(runs["base"], tmp_path / "copy")
    path = copy / "reports" / "toy" / "record.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text(encoding="utf-8")), "metric": "accuracy"}), encoding="utf-8"
    )
    assert "no differences: A is ranked by auroc, B by accuracy" in compared(runs["base"], copy)


def test_the_command_takes_workspaces_and_report_folders(runs):
    found = fusionbench("compare", runs["base"], runs["same"] / "reports" / "toy", "-p", TOY)
    assert found.code == 0, found.err
    assert "leader of A: " in found.out


@pytest.mark.parametrize(
    ("change", "benchmark", "said"),
    [
        (None, None, "neither a workspace nor a report folder"),
        ("two", None, "holds reports of other, toy; choose one with --benchmark"),
        ("two", "tpy", "no report of 'tpy'; did you mean 'toy'"),
        ("format", None, "format 0; this version reads 1"),
        ("text", None, "cannot be read"),
    ],
)
def test_folders_without_a_run_are_said(runs, tmp_path, change, benchmark, said):
    folder = tmp_path / "workspace"
    if change is not None:
        shutil.copytree(runs["base"] / "reports", folder / "reports")
    if change == "two":
        shutil.copytree(folder / "reports" / "toy", folder / "reports" / "other")
    record = folder / "reports" / "toy" / "record.json"
    if change == "format":
        record.write_text('{"format": 0}', encoding="utf-8")
    if change == "text":
        record.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=said):
        find_run(folder, benchmark)


def test_what_was_computed_in_another_precision_than_asked_for_is_named(runs, tmp_path):
    other = shutil.copytree(runs["same"], tmp_path / "other")
    path = other / "reports" / "toy" / "record.json"
    record = json.loads(path.read_bytes())
    record["arithmetic"]["computed"]["precision"] = "bfloat16"
    path.write_text(json.dumps(record), encoding="utf-8")
    before, after = (f"features float32, precision {p}, recurrent float32" for p in ("float32", "bfloat16"))
    assert f"computed in: {before} -> {after}" in "\n".join(compared(runs["base"], other))


def test_a_spoilt_record_is_compared_or_refused_in_one_sentence(runs, tmp_path):
    """Whatever stands in another benchmark's record: lines, or an error that is meant for users."""
    folder = find_run(runs["base"]).folder
    found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    generator = random.Random(1)
    everywhere = [place for place in places(found) if place]
    for number in range(80):
        spoilt = changed(found, generator.choice(everywhere), generator.choice(JUNK), remove=generator.random() < 0.3)
        (tmp_path / NAME).write_text(json.dumps(spoilt), encoding="utf-8")
        first, second = (tmp_path, folder) if number % 2 else (folder, tmp_path)
        with suppress(FusionBenchError):
            assert compared(first, second)


@pytest.mark.parametrize("change", ["no fits", "other folds", "other points"])
def test_models_that_a_record_does_not_name_are_not_compared(runs, tmp_path, change):
    shutil.copytree(runs["base"], tmp_path / "ws")
    folder = find_run(tmp_path / "ws").folder
    found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    if change == "no fits":
        found["fits"] = []
    for fit in found["fits"]:
        fit["fold"] += 100 if change == "other folds" else 0
        fit["points"] = [] if change == "other points" else fit["points"]
    (folder / NAME).write_text(json.dumps(found), encoding="utf-8")
    assert any("not paired" in line for line in compared(folder, folder))
