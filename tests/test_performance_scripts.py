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

from fusionbench import TargetKind
from fusionbench.config.sections import TrainingSection
from fusionbench.data.table import RowTable
from fusionbench.targets import prevalence_logits
from fusionbench.training.loop import train
from fusionbench.training.members import Member

FOLDER = Path(__file__).parents[1] / "benchmarks" / "performance"


@pytest.fixture
def naive_loop(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import naive_loop

    return naive_loop


@pytest.fixture
def populations(naive_loop):
    import populations

    return populations


def rows_of(naive_loop, count=400, trained=256):
    draw = torch.Generator().manual_seed(0)
    target = torch.randint(0, 2, (count,), generator=draw)
    values = {n: torch.randn(count, 4, generator=draw) + target[:, None] for n in ("a", "b")}
    present = torch.ones(count, 2, dtype=torch.bool)
    return [naive_loop.Rows(values, present, target, r) for r in (torch.arange(trained), torch.arange(trained, count))]


@pytest.mark.parametrize("strategy", ["concat", "dwfuse"])
def test_the_naive_loop_learns_and_keeps_its_best_epoch(strategy, naive_loop):
    train, validation = rows_of(naive_loop)
    torch.manual_seed(0)
    model = naive_loop.build(strategy, {"a": 4, "b": 4}, 8, seed=0)
    before = roc_auc_score(validation.target[validation.rows], naive_loop.scores(model, validation))
    trained = naive_loop.train_alone(model, train, validation, epochs=20, batch_size=32)
    after = roc_auc_score(validation.target[validation.rows], naive_loop.scores(trained, validation))
    assert after > max(before, 0.9)


def modulated(naive_loop, begun=True, **options):
    """OGM-GE in the naive loop, four epochs of one batch of 128 rows; the first three modulate."""
    rows = rows_of(naive_loop, trained=128)
    model = naive_loop.build("ogm_ge", {"a": 4, "b": 4}, 8, seed=0, options=options)
    target = torch.as_tensor(rows[0].target[rows[0].rows])
    if begun:  # as every model of a run
        with torch.no_grad():
            model.fusion.start_at(prevalence_logits(target, TargetKind.BINARY, 1))
    torch.manual_seed(0)
    return naive_loop.train_alone(model, *rows, epochs=4).state_dict()


def test_the_naive_loop_modulates_as_a_population_of_one(naive_loop):
    # Adam divides a constant factor out: only a k that changes from step to step shows
    train_rows, validation = rows_of(naive_loop, trained=128)
    options = {"alpha": 0.8, "noise": False, "apply": "gradient"}
    table = RowTable(
        values=train_rows.values,
        lengths={},
        standardise={},
        zero={},
        zero_lengths={},
        available=train_rows.present,
        target=train_rows.target,
        kind=TargetKind.BINARY,
        num_outputs=1,
    )
    member = Member(
        build=lambda: naive_loop.build("ogm_ge", {"a": 4, "b": 4}, 8, seed=0, options=options),
        table=table,
        fold=0,
        seed=0,
        train=train_rows.rows,
        validation=validation.rows,
        present=table.available,
        learning_rate=1e-3,
        weight_decay=0.01,
    )
    population, _ = train([member], TrainingSection(epochs=4, patience=5, batch_size=128, least_steps=0), "auroc")
    found, plain = modulated(naive_loop, **options), modulated(naive_loop, **{**options, "alpha": 0.0})
    for name, value in population.state_of(0).items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=5e-6)
    weight = "project.a.weight"
    assert (found[weight] - plain[weight]).abs().max() > 1e-5


def test_the_naive_loop_adds_noise_to_the_gradients_of_projections(naive_loop):
    quiet, noisy = (modulated(naive_loop, begun=False, alpha=0.0, noise=n) for n in (False, True))
    far = {n for n in quiet if (quiet[n] - noisy[n]).abs().max() > 5e-4}  # half a step of Adam
    assert far == {"project.a.weight", "project.b.weight"}


def test_the_naive_loop_refuses_to_modulate_updates(naive_loop):
    with pytest.raises(ValueError, match="updates cannot"):
        modulated(naive_loop, begun=False, apply="update")


def test_graph_adds_the_largest_population_with_its_step_recorded(populations, monkeypatch):
    monkeypatch.setattr(populations, "train", lambda members, settings, *_: (len(members), settings.graph))
    case = populations.Case("small", {"a": 4, "b": 4}, 8, series=False, rows=512, sizes=[1, 2])
    given = populations.contenders(case, "concat", 1, torch.device("cpu"), graph=True)
    recorded = {c.label: c.call() for c in given[1:] if "side by side" not in c.label}
    assert recorded.pop("population of 2, recorded step") == (2, True)
    assert set(recorded.values()) == {(1, False), (2, False)}


def test_graph_without_cuda_is_refused_in_a_line(populations, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["populations.py", "--graph", "--folder", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        populations.main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "CUDA" in said[0]
    assert not (tmp_path / "out").exists()


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
    with (tmp_path / "training.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    names = {line["trained by"] for line in lines if "side by side" not in line["trained by"]}
    assert names == {"naive loop", "population of 1", "population of 2"}
    # what is measured depends on what else the machine does; that it is a number does not
    assert all(float(line[n]) > 0 for line in lines for n in ("samples x models / s", "floor", "against naive"))
    assert all(float(line["building"]) >= 0 for line in lines)
    assert (tmp_path / "performance.png").stat().st_size > 10_000
    assert "| inputs |" in (tmp_path / "performance.md").read_text(encoding="utf-8")


@pytest.mark.slow  # ten processes, each of which imports torch
def test_the_script_for_tuned_encoders_writes_a_line_for_every_switch(tmp_path):
    command = [sys.executable, str(FOLDER / "tuned_encoders.py"), "--quick", "--folder", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with (tmp_path / "tuned_encoders.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    switches = [(line["precision"], line["channels last"], line["augment"], line["encoder_rows"]) for line in lines]
    assert len(set(switches)) == len(lines) == 10
    assert all(float(line["images / s"]) > 0 for line in lines)
    assert "| images / s |" in (tmp_path / "tuned_encoders.md").read_text(encoding="utf-8")


@pytest.fixture
def lstm_limits(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import lstm_limits

    return lstm_limits


def test_the_cell_that_is_measured_against_the_librarys_gives_its_gradients(lstm_limits):
    encoder = lstm_limits.Encoder(lstm_limits.Sizes(batch=3, steps=5, channels=4, hidden=6))
    encoder.inputs = encoder.inputs.double()
    encoder.layers = [layer.double() for layer in encoder.layers]
    torch.testing.assert_close(encoder.by_cell(), encoder.by_library(), rtol=1e-10, atol=1e-12)


def test_the_operations_of_an_lstms_products_are_counted(lstm_limits):
    from torch.utils.flop_counter import FlopCounterMode

    from fusionbench_plugins.encoders.lstm import plain_lstm

    sizes = lstm_limits.Sizes(batch=3, steps=5, channels=4, hidden=6)
    encoder = lstm_limits.Encoder(sizes)
    with FlopCounterMode(display=False) as counter:
        x = encoder.inputs
        for layer in encoder.layers:
            x = plain_lstm(x, layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0 + layer.bias_hh_l0)
        x[:, -1].sum().backward()
    before_the_first_step = (
        2 * 3 * 4 * 6 * 6
    )  # of each layer, forward and for its weights: the plain cell multiplies zeros
    assert sizes.operations == counter.get_total_flops() - 4 * before_the_first_step


def test_the_limits_of_an_lstm_are_a_table_of_processor_times(lstm_limits):
    from threading import Barrier

    sizes = lstm_limits.Sizes(batch=3, steps=5, channels=4, hidden=6)
    threads = torch.get_num_threads()
    try:
        found = lstm_limits.rounds_of(sizes, 2, Barrier(1))
    finally:
        torch.set_num_threads(threads)
    lines = lstm_limits.lines_of([found, found], sizes.operations)
    assert [len(f) for f in found.values()] == [2] * 5
    assert len(lines) == 2 + len(found)
    assert "| 1.00 (1.00, 1.00) |" in lines[2]
