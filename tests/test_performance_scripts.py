"""The scripts that measure populations and tuned encoders run, and the loop it compares them with learns."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

FOLDER = Path(__file__).parents[1] / "benchmarks" / "performance"


@pytest.fixture
def naive_loop(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import naive_loop

    return naive_loop


def rows_of(naive_loop, count=400):
    draw = torch.Generator().manual_seed(0)
    target = torch.randint(0, 2, (count,), generator=draw)
    values = {n: torch.randn(count, 4, generator=draw) + target[:, None] for n in ("a", "b")}
    present = torch.ones(count, 2, dtype=torch.bool)
    return [naive_loop.Rows(values, present, target, r) for r in (torch.arange(256), torch.arange(256, count))]


@pytest.mark.parametrize("strategy", ["concat", "dwfuse"])
def test_the_naive_loop_learns_and_keeps_its_best_epoch(strategy, naive_loop):
    train, validation = rows_of(naive_loop)
    torch.manual_seed(0)
    model = naive_loop.build(strategy, {"a": 4, "b": 4}, 8, seed=0)
    before = roc_auc_score(validation.target[validation.rows], naive_loop.scores(model, validation))
    trained = naive_loop.train_alone(model, train, validation, epochs=20, batch_size=32)
    after = roc_auc_score(validation.target[validation.rows], naive_loop.scores(trained, validation))
    assert after > max(before, 0.9)


def test_the_bootstrap_of_the_field_holds_the_value(naive_loop):
    draw = np.random.default_rng(0)
    target = draw.integers(0, 2, 300)
    scores = (target + draw.normal(size=300)).astype(np.float32)
    low, high = naive_loop.bootstrap(target, scores, 100)["auroc"]
    assert low < roc_auc_score(target, scores) < high


@pytest.mark.slow
def test_the_script_writes_tables_and_a_picture(tmp_path):
    command = [sys.executable, str(FOLDER / "populations.py"), "--quick", "--folder", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with (tmp_path / "training.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["trained by"] for line in lines} == {"naive loop", "population of 1", "population of 2"}
    assert all(float(line["samples x models / s"]) > 0 and 0 < float(line["floor"]) < 1.5 for line in lines)
    assert (tmp_path / "performance.png").stat().st_size > 10_000
    assert "| inputs |" in (tmp_path / "performance.md").read_text()


@pytest.mark.slow  # ten processes, each of which imports torch
def test_the_script_for_tuned_encoders_writes_a_line_for_every_switch(tmp_path):
    command = [sys.executable, str(FOLDER / "tuned_encoders.py"), "--quick", "--folder", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with (tmp_path / "tuned_encoders.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    switches = [(line["precision"], line["channels last"], line["augment"], line["encoder_rows"]) for line in lines]
    assert len(set(switches)) == len(lines) == 10
    assert all(float(line["images / s"]) > 0 for line in lines)
    assert "| images / s |" in (tmp_path / "tuned_encoders.md").read_text()
