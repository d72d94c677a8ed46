"""Files between elements of a queue and the run that waits: what is written is what is read, and half a file is nothing yet."""

from __future__ import annotations

import json

import pytest

from fusionbench import Message, Problem, Unit, UnitResult
from fusionbench.progress import Best
from fusionbench_plugins.executors._desk import Desk

UNIT = Unit("0123456789ab", "concat", ("k1", "k2"), 4)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path / "slurm")


def test_nothing_is_said_at_first(desk):
    assert desk.said(UNIT.name) is None
    assert desk.ended(UNIT.name) is None
    assert desk.job(UNIT.name) is None


@pytest.mark.parametrize(
    "message",
    [Message(), Message(1.5, "epoch 3", Best("concat", "auroc", 0.8, higher_is_better=True)), Message(2, line="a")],
)
def test_what_is_said_is_heard(desk, message):
    desk.say(UNIT.name, "node1", 7, message)
    assert desk.said(UNIT.name) == ("node1", 7, message)


@pytest.mark.parametrize(
    "outcome",
    [
        UnitResult(frozenset({"k1"}), {"k2": ("a model", "it diverged")}, {}, 3.5),
        Problem("another version", everywhere=True),
    ],
)
def test_what_came_of_a_unit_is_read_back(desk, outcome):
    desk.end(UNIT.name, "node1", outcome)
    assert desk.ended(UNIT.name) == ("node1", outcome)


def test_half_a_file_is_nothing_yet(desk):
    desk.say(UNIT.name, "node1", 1, Message())
    desk.folder.joinpath(f"{UNIT.name}.said.json").write_text('{"worker": "no', encoding="utf-8")
    assert desk.said(UNIT.name) is None


def test_a_job_is_remembered_until_the_unit_is_cleared(desk):
    desk.submitted(UNIT, "12_3", "order")
    assert desk.job(UNIT.name) == {"job": "12_3", "order": "order", "models": ["k1", "k2"]}
    desk.end(UNIT.name, "node1", UnitResult())
    desk.clear(UNIT.name)
    assert list(desk.folder.glob("*.json")) == []


def test_results_hold_no_prediction(desk):
    desk.end(UNIT.name, "node1", UnitResult(frozenset({"k1"}), {}, {"fits/k1.safetensors": b"rows"}))
    (path,) = desk.folder.glob("*.ended.json")
    assert json.loads(path.read_bytes())["result"] == {"trained": ["k1"], "failures": {}, "seconds": 0.0}
