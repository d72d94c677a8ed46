"""What a run computes in: as asked where the devices can, in float32 where they cannot, and stored under what it was."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from fusionbench.errors import ConfigError
from fusionbench.plan.arithmetic import FLOAT32, Arithmetic, outlook, settle
from fusionbench.training.devices import precision
from tests import front
from tests.builders import ABLE, make_run, run_toy, settings, shared_key

OLD = replace(ABLE, device="an old device", native=False, recurrent=False)
SLOW = replace(ABLE, device="a slow device", native=False)
PARTLY = replace(ABLE, device="a device without layers", recurrent=False)
IN_FLOAT32 = (
    "computed in float32: training.precision asks for bfloat16, and an old device has no instructions for bfloat16 and no kernel for "
    "recurrent layers in it; --set training.precision_forced=true computes in bfloat16 nevertheless"
)


def settled(*devices, **training):
    return settle(settings(**training), devices or (ABLE,))


def computed(arithmetic):
    return arithmetic.precision, arithmetic.recurrent, arithmetic.features


@pytest.mark.parametrize("device", [ABLE, OLD, SLOW, PARTLY])
def test_who_asks_for_float32_gets_it_everywhere_and_hears_nothing(device):
    found = settled(device)
    assert computed(found) == ("float32", "float32", "float32")
    assert (found.key, found.notes) == ({}, ())


@pytest.mark.parametrize(
    ("device", "forced", "wanted"),
    [
        (ABLE, False, ("bfloat16", "bfloat16")),
        (ABLE, True, ("bfloat16", "bfloat16")),
        (OLD, False, ("float32", "float32")),
        (OLD, True, ("bfloat16", "float32")),
        (SLOW, False, ("float32", "float32")),
        (SLOW, True, ("bfloat16", "bfloat16")),
        (PARTLY, False, ("bfloat16", "float32")),
        (PARTLY, True, ("bfloat16", "float32")),
    ],
)
def test_bfloat16_is_computed_where_it_pays_or_is_forced(device, forced, wanted):
    found = settled(device, precision="bfloat16", precision_forced=forced)
    assert computed(found)[:2] == wanted
    assert len(found.notes) == (device is not ABLE)
    assert all(device.device in note for note in found.notes)


def test_the_sentence_says_what_is_computed_what_was_asked_and_why():
    assert settled(OLD, precision="bfloat16").notes == (IN_FLOAT32,)
    assert settled(OLD, precision="bfloat16", precision_forced=True).notes[0] == (
        "computed in bfloat16, as training.precision_forced asks, though an old device has no instructions for bfloat16 and no kernel "
        "for recurrent layers in it; recurrent layers are computed in float32; expect it to be slower than float32"
    )
    assert settled(PARTLY, precision="bfloat16").notes[0] == (
        "computed in bfloat16, as training.precision asks, though a device without layers has instructions for bfloat16 and no kernel "
        "for recurrent layers in it; recurrent layers are computed in float32"
    )


def test_what_one_of_several_devices_cannot_do_none_does():
    assert computed(settled(ABLE, SLOW, precision="bfloat16"))[0] == "float32"
    assert computed(settled(ABLE, ABLE, precision="bfloat16"))[0] == "bfloat16"
    with pytest.raises(ConfigError, match="recurrent layers in two kinds of numbers"):
        settled(ABLE, OLD, precision="bfloat16", precision_forced=True)


def test_features_are_held_in_half_where_rows_can_be_read_from_it():
    assert computed(settled(OLD, features="float16"))[2] == "float16"
    found = settled(replace(OLD, half=False), features="float16")
    assert computed(found)[2] == "float32"
    assert found.notes == (
        "features are held in float32: training.features asks for float16, and an old device cannot read rows that are held in it",
    )


def test_a_key_names_what_was_computed_and_not_what_was_asked_for():
    def key(device, **training):
        return shared_key(device, training={"epochs": 2, **training})["training"]

    asked = {"precision": "bfloat16"}
    forced = {**asked, "precision_forced": True}
    plain = key(ABLE)
    assert "precision" not in plain
    assert "precision_forced" not in plain
    assert key(OLD, **asked) == key(SLOW, **asked) == plain
    assert key(ABLE, **asked) == key(ABLE, **forced) == key(SLOW, **forced) == {**plain, "precision": "bfloat16"}
    assert key(OLD, **forced) == {**plain, "precision": "bfloat16", "recurrent": "float32"}
    assert key(ABLE, features="float16") == {**plain, "features": "float16"}
    assert key(replace(OLD, half=False), features="float16") == plain


def test_in_words_and_as_data():
    assert str(FLOAT32) == "float32"
    assert str(Arithmetic("bfloat16", "float16", "float32")) == "bfloat16, features float16, recurrent float32"
    assert settled(OLD, precision="bfloat16").record == {
        "asked": {"precision": "bfloat16", "precision_forced": False, "features": "float32"},
        "computed": {"precision": "float32", "features": "float32", "recurrent": "float32"},
        "why": [IN_FLOAT32],
    }
    assert outlook(OLD).endswith("where training.precision asks for it, a run computes in float32")
    assert outlook(ABLE) == (
        "a device of the tests has instructions for bfloat16: where training.precision asks for it, a run computes in bfloat16"
    )


# ---------------------------------------------------------------------------------------- whole runs


@pytest.fixture
def old_device(monkeypatch):
    monkeypatch.setattr(precision, "abilities", lambda _: OLD)


def test_on_an_old_device_a_run_is_the_run_in_float32(tmp_path, old_device):
    asked, summary = run_toy(tmp_path, training={"epochs": 2, "precision": "bfloat16"})
    assert summary.failures == []
    assert IN_FLOAT32 in summary.notes
    plain = make_run(tmp_path, training={"epochs": 2})
    assert plain.plan.todo == []
    assert {f.key for f in plain.plan.fits} == {f.key for f in asked.plan.fits}


def test_forced_on_an_old_device_a_run_is_another_one(tmp_path, old_device):
    forced, summary = run_toy(tmp_path, training={"epochs": 2, "precision": "bfloat16", "precision_forced": True})
    assert summary.failures == []
    assert forced.blueprint.build(forced.plan.arms[0], 0, {}).precision == "bfloat16"
    plain = make_run(tmp_path, training={"epochs": 2})
    assert {f.key for f in plain.plan.fits}.isdisjoint(f.key for f in forced.plan.fits)


def test_terminal_report_record_and_dry_run_say_it(tmp_path, old_device):
    config = front.write_yaml(tmp_path / "toy.yaml", front.toy_benchmark(observers=["files", "html"]))
    asking = ("--set", "training.precision=bfloat16")
    dry = front.run_toy(config, tmp_path / "runs", *asking, "--dry-run")
    assert IN_FLOAT32 in dry.out
    outcome = front.run_toy(config, tmp_path / "runs", *asking)
    assert (outcome.code, outcome.err) == (0, "")
    assert IN_FLOAT32 in outcome.out
    folder = tmp_path / "runs" / "reports" / "toy"
    assert "computed in float32: training.precision asks for bfloat16" in (folder / "report.html").read_text("utf-8")
    assert json.loads((folder / "record.json").read_bytes())["arithmetic"]["why"] == [IN_FLOAT32]
    again = front.run_toy(config, tmp_path / "runs")
    assert "0 models trained" in again.out
    assert IN_FLOAT32 not in again.out
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        assert len([r for r in rows if r["strategy"] != "prevalence"]) == 2


def test_the_doctor_says_it_beforehand(tmp_path, old_device):
    outcome = front.fusionbench("doctor", "--workspace", tmp_path / "runs")
    assert f"ok    cpu       {outlook(OLD)}" in outcome.out
