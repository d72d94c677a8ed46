"""What programs are told of a run: one JSON object a line."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusionbench.screen import jsonlines
from fusionbench.screen.jsonlines import JsonLines, JsonProgress
from tests.front import run_toy, toy_benchmark, write_yaml
from tests.screen.test_bars import BEST, Clock


def events(text):
    """Parse strictly: a line that is no object, or NaN, fails."""
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def of(kind, found):
    return [e for e in found if e["event"] == kind]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A run on the toy task, the same run again, and its dry run: what each wrote."""
    folder = tmp_path_factory.mktemp("json")
    config = write_yaml(folder / "b.yaml", toy_benchmark(tuning={"trials": 2}))
    outcomes = [run_toy(config, folder / "runs", "--json", *more) for more in ([], [], ["--dry-run"])]
    assert [o.code for o in outcomes] == [0, 0, 0]
    return folder, [events(o.out) for o in outcomes]


def test_a_run_is_told_as_json_from_the_plan_to_the_exit(told):
    folder, (first, _, _) = told
    (plan,) = of("plan", first)
    assert (plan["benchmark"], plan["rows"], plan["models"], plan["cells"]) == (
        "toy",
        120,
        8,
        8,
    )  # four with the defaults beside
    assert plan["arms"] == ["concat / zero", "sum / zero"]
    assert (plan["stored"], plan["trials"]) == (0, 8)
    assert sorted((c["strategy"], c["fold"]) for c in of("cell", first)) == [
        (s, f) for s in ("concat", "sum") for f in (0, 1)
    ]
    assert {(c["stored_before"], c["failure"]) for c in of("cell", first)} == {(False, None)}
    begun = [e["title"] for e in of("stage", first) if e["state"] == "begun"]
    assert begun == [e["title"] for e in of("stage", first) if e["state"] == "done"]
    assert {"tuning", "training"} <= set(begun)
    (done,) = of("done", first)
    assert (done["trained"], done["interrupted"]) == (8, False)  # four with the defaults beside
    assert first[-1] == {"event": "exit", "code": 0, "reason": None}
    assert all(Path(e["path"]).is_file() for e in of("file", first))
    board = pd.read_csv(folder / "runs" / "reports" / "toy" / "leaderboard.csv")
    assert [(e["strategy"], e["area"]) for e in of("leaderboard", first)] == [
        *board[["strategy", "area"]].itertuples(index=False, name=None)
    ]


def test_what_is_stored_is_told_as_such_and_a_dry_run_trains_nothing(told):
    _, (_, again, dry) = told
    assert [c["stored_before"] for c in of("cell", again)] == [True] * 4
    assert of("done", again)[0]["trained"] == 0
    assert of("estimate", dry) == [{"event": "estimate", "seconds": 0, "failures": []}]
    assert of("cell", dry) == []
    assert dry[-1]["code"] == 0


def test_quiet_json_leaves_out_stages_and_the_plan(tmp_path):
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark())
    found = events(run_toy(config, tmp_path / "runs", "--json", "--quiet").out)
    # what weakens the numbers is said however quiet a run is
    assert {e["event"] for e in found} - {"note"} == {
        "cell",
        "answer",
        "difference",
        "leaderboard",
        "file",
        "done",
        "exit",
    }
    notes = [e["message"] for e in found if e["event"] == "note"]
    assert notes
    assert not any("recorded" in n for n in notes)


@pytest.mark.parametrize(
    "changes", [{"trainin": {}}, {"strategies": ["conct"]}, {"encoders": {"a": "identity"}}], ids=str
)
def test_an_error_is_the_last_line_and_on_standard_error(tmp_path, changes):
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark(**changes))
    outcome = run_toy(config, tmp_path / "runs", "--json")
    last = events(outcome.out)[-1]
    assert (last["event"], last["code"], outcome.code) == ("exit", 2, 2)
    assert outcome.err == f"error: {last['reason']}\n"


def test_failures_and_incomplete_lines_are_told(tmp_path):
    plugin = tmp_path / "sulky.py"
    plugin.write_text(
        "from fusionbench import FusionStrategy, hookimpl\n"
        "class Sulky(FusionStrategy):\n"
        "    def forward(self, batch):\n"
        "        print('hidden')\n"
        "        raise RuntimeError('no')\n"
        "@hookimpl\n"
        "def register_fusion_strategies(register):\n"
        "    register('sulky', Sulky)\n",
        encoding="utf-8",
    )
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark(strategies=["sulky", "sum"]))
    outcome = run_toy(config, tmp_path / "runs", "--json", "-p", plugin)
    found = events(outcome.out)
    assert outcome.code == found[-1]["code"] == 1
    assert ["RuntimeError: no" in e["reason"] for e in of("failure", found)] == [True, True]
    failed = [c for c in of("cell", found) if c["failure"]]
    assert [c["strategy"] for c in failed] == ["sulky", "sulky"]


def test_an_interruption_is_told(tmp_path, monkeypatch):
    from fusionbench.run.runner import Run

    def interrupted(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "prepare", interrupted)
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark())
    outcome = run_toy(config, tmp_path / "runs", "--json")
    reason = "interrupted; the same command goes on where it stopped"
    assert events(outcome.out) == [{"event": "exit", "code": 130, "reason": reason}]
    assert (outcome.code, outcome.err) == (130, "")
    assert run_toy(config, tmp_path / "runs").out == f"{reason}\n"


def test_a_stage_under_way_says_how_far_it_is_its_rate_what_is_left_and_the_best():
    file, clock = io.StringIO(), Clock()
    with JsonProgress(JsonLines(file), clock).stage("training", 10, "models") as stage:
        clock.now += 0.5
        stage.advance(1, "too soon")
        clock.now += 2.0
        stage.advance(4, "arm [/x]")
        clock.now += 1.5
        stage.working(3, 1.0, "epochs", BEST)
    begun, running, working, done = events(file.getvalue())
    assert begun == {"event": "stage", "state": "begun", "title": "training", "done": 0, "total": 10, "unit": "models"}
    assert running == {
        **begun,
        "state": "running",
        "done": 5,
        "seconds": 2.5,
        "rate": pytest.approx(2.0, rel=0.01),
        "seconds_left": pytest.approx(2.5, rel=0.01),
        "best": None,
        "note": "arm [/x]",
    }
    assert (working["done"], working["best"], working["note"]) == (5, asdict(BEST), "epochs")
    assert (done["state"], done["seconds"], done["best"]) == ("done", 4.0, asdict(BEST))


def test_a_run_tells_its_best_validation_score(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonlines, "JSON_EVERY_SECONDS", 0.0)
    config = write_yaml(
        tmp_path / "b.yaml", toy_benchmark(training={"epochs": 2, "batch_size": 32, "selection": "loss"})
    )
    found = of("stage", events(run_toy(config, tmp_path / "runs", "--json").out))
    told = [e["best"] for e in found if e["title"] == "training" and e.get("best")]
    assert {b["measure"] for b in told} == {"loss"}
    assert [b["value"] for b in told] == sorted((b["value"] for b in told), reverse=True)
    assert {b["higher_is_better"] for b in told} == {False}
    assert 0 < told[-1]["value"] < 2  # nats, not their negative
    assert told[-1]["model"].split(",")[0] in ("concat / zero", "sum / zero")


def test_numbers_that_are_none_become_null():
    file = io.StringIO()
    JsonLines(file).say("x", values=(float("nan"), np.float32("inf"), np.int64(3), None, "NaN"), more={1: True})
    assert file.getvalue() == '{"event": "x", "values": [null, null, 3, null, "NaN"], "more": {"1": true}}\n'
