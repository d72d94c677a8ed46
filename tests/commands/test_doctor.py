"""The doctor: a sound installation passes, and what is wrong is named with what to do."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from packaging.requirements import Requirement

from fusionbench.commands import doctor
from fusionbench.plugins.catalogue import Plugins
from fusionbench.store.results import Store
from tests.front import TOY, distribution, fusionbench
from tests.store.test_results import result, study


def words(findings, about=None, *, wrong=None):
    return [f.words for f in findings if about in (None, f.about) and wrong in (None, f.wrong)]


@pytest.fixture
def workspace(tmp_path):
    store = Store(tmp_path / "runs" / "results")
    store.save(result("a" * 32))
    store.seal_study("b" * 32, study())
    return tmp_path / "runs"


def test_a_sound_installation_passes(workspace):
    found = fusionbench("doctor", "--workspace", workspace)
    assert found.code == 0, found.out
    assert "WRONG" not in found.out
    for about in ("python", "packages", "cpu", "cuda", "memory", "disk", "weights", "plugins", "store"):
        assert f"  {about} " in found.out, about
    assert "1 trained models and 1 finished studies" in found.out


def test_a_workspace_that_is_not_there_yet_is_not_made(tmp_path):
    found = fusionbench("doctor", "--workspace", tmp_path / "new" / "runs")
    assert found.code == 0, found.out
    assert "holds no results yet" in found.out
    assert not (tmp_path / "new").exists()


def test_a_plugin_that_does_not_load_is_wrong_and_says_how_to_leave_it_out(tmp_path, monkeypatch, workspace):
    (tmp_path / "ailing.py").write_text("import nothing_like_this\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "ailing-guest", {"strategies.ailing": "ailing"})))
    found = fusionbench("doctor", "--workspace", workspace)
    assert found.code == 1
    assert "strategies.ailing of ailing-guest does not load" in found.out
    assert "to do: mend it, or leave it out: --no-plugin strategies.ailing" in found.out
    assert fusionbench("doctor", "--workspace", workspace, "--no-plugin", "ailing-guest").code == 0


def test_a_name_that_two_offer_is_wrong(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "second-concat", {"strategies.concat": "nowhere"})))
    found = [f for f in doctor._plugins(Plugins()) if f.wrong]
    assert [f.words for f in found if "strategies.concat is refused" in f.words]
    assert "--no-plugin" in found[0].remedy


def test_plugins_given_by_file_are_counted():
    (before,), (after,) = (words(doctor._plugins(Plugins(extra))) for extra in ([], [TOY]))
    assert int(after.split()[0]) == int(before.split()[0]) + 1
    assert "file toy.py" in after


@pytest.mark.parametrize("folder", ["fits", "studies"])
def test_damaged_files_are_named_and_left_where_they_are(workspace, folder):
    path = next((workspace / "results" / folder).glob("*.*"))
    path.write_bytes(b"damaged")
    (finding,) = [f for f in doctor._stores(workspace) if f.wrong]
    assert finding.words == f"1 damaged: {path.name}"
    assert "run the benchmark again" in finding.remedy
    assert path.read_bytes() == b"damaged"


def test_files_that_were_set_aside_can_be_deleted(workspace):
    (workspace / "results" / "fits" / "x.safetensors.damaged").write_bytes(b"")
    (finding,) = [f for f in doctor._stores(workspace) if f.remedy]
    assert (finding.words, finding.wrong) == ("1 set aside as damaged: x.safetensors.damaged", False)


def test_failures_are_counted_by_reason(workspace):
    store = Store(workspace / "results")
    for key in "cd":
        store.save_failure(key * 32, {"cell": "x"}, "diverged: predictions are not finite")
    (finding,) = [f for f in doctor._stores(workspace) if f.wrong]
    assert finding.words == "2 failed: diverged: predictions are not finite"
    assert fusionbench("doctor", "--workspace", workspace).code == 1


def test_a_damaged_tracking_database_is_wrong_and_a_sound_one_is_not(workspace):
    path = workspace / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table t (a)")
        connection.commit()
    assert words(doctor._database(path)) == ["mlflow.db is sound"]
    path.write_bytes(b"not a database" * 100)
    assert [f.wrong for f in doctor._database(path)] == [True]


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("numpy>=1", None),
        ("numpy>=9999", "is installed, accepted: >=9999"),
        ("no-such-package-of-tests", "is not installed"),
    ],
)
def test_packages_are_held_against_what_is_required(requirement, said):
    found = doctor._unfit(Requirement(requirement))
    assert (found is None) == (said is None)
    if found is not None:
        assert said in found.words
        assert found.remedy == f"pip install '{requirement}'"


def test_versions_other_than_those_tested_are_a_note(monkeypatch):
    monkeypatch.setattr(doctor, "_constraints", lambda: {"numpy": "0.0.1", "no-such-package-of-tests": "1"})
    (note,) = [f for f in doctor._packages() if f.remedy]
    assert not note.wrong
    assert "1 differ from the versions tested together: numpy " in note.words
    assert "(tested 0.0.1)" in note.words


def test_constraints_are_read_from_the_checkout():
    found = doctor._constraints()
    assert {"torch", "mlflow", "pydantic"} <= set(found)
    assert all("=" not in v for v in found.values())


def test_little_room_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_DISK", 1e18)
    (finding,) = [f for f in doctor._room(tmp_path) if f.wrong]
    assert "GB free" in finding.words
    assert "--workspace" in finding.remedy


def test_weights_are_looked_for_in_the_cache_only(monkeypatch):
    monkeypatch.setattr(doctor, "_models_of_benchmarks", lambda: ["resnet34", "bert-base-uncased", "absent", "net"])
    monkeypatch.setattr(
        doctor, "_cached_repositories", lambda: ["timm/resnet34.a1_in1k", "google-bert/bert-base-uncased", "x/net34"]
    )
    found = {f.words.partition(":")[0]: f for f in doctor._weights()}
    assert found["resnet34"].words.endswith("in the local cache (timm/resnet34.a1_in1k)")
    assert found["bert-base-uncased"].remedy == ""
    assert {n for n, f in found.items() if f.remedy} == {"absent", "net"}
    assert not any(f.wrong for f in found.values())


def test_benchmarks_of_the_checkout_name_weights():
    assert {"resnet34", "bert-base-uncased"} <= set(doctor._models_of_benchmarks())


def test_a_workspace_in_the_way_of_a_file_is_wrong(tmp_path):
    (tmp_path / "file").write_text(json.dumps({}), encoding="utf-8")
    found = [f for f in doctor._room(tmp_path / "file" / "runs") if f.wrong]
    assert [f.words for f in found] == [f"{tmp_path / 'file'} cannot be written"]


def test_weights_are_compared_where_it_is_asked_for(workspace):
    import torch

    Store(workspace / "results").save_weights("a" * 32, {"w": torch.ones(3)})
    (path,) = (workspace / "results" / "weights").iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    plain = fusionbench("doctor", "--workspace", workspace)
    assert (plain.code, "compared with --deep" in plain.out) == (0, True)
    deep = fusionbench("doctor", "--workspace", workspace, "--deep")
    assert deep.code == 1
    assert f"1 damaged: {path.name}" in deep.out
    assert path.exists()
