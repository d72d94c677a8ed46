"""fusionbench init."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from fusionbench.commands.benchmarks.begin import Wished, begin
from fusionbench.config.reading import load_benchmark
from fusionbench.errors import ConfigError, DataError
from fusionbench.plugins.catalogue import Plugins
from fusionbench.progress import SilentProgress
from tests.front import fusionbench


@pytest.fixture
def data(tmp_path):
    """A user's own Parquet files."""
    folder, draw = tmp_path / "own", np.random.default_rng(0)
    folder.mkdir()
    died, ids = draw.integers(0, 2, 80), np.arange(500, 580)
    pd.DataFrame({"sample_id": ids, "patient": ids // 2, "died": died}).to_parquet(folder / "manifest.parquet")
    for name, width, kept in (("labs", 3, 80), ("ecg", 4, 60)):
        values = pd.DataFrame(
            draw.normal(size=(80, width)) + died[:, None], columns=[f"{name}{i}" for i in range(width)]
        )
        values.insert(0, "sample_id", ids)
        values[:kept].to_parquet(folder / f"{name}.parquet")
    return folder


OPTIONS = ("--set", "task.target=died", "--set", "task.group=patient")


def test_two_commands_lead_from_parquet_files_to_a_leaderboard(tmp_path, data):
    path, workspace = tmp_path / "my.yaml", tmp_path / "runs"
    written = fusionbench("init", path, "--data", data, *OPTIONS, "--trials", 0, "--workspace", workspace, "--quiet")
    assert (written.code, written.err) == (0, "")
    assert "modality ecg: 4 columns; present in 60 of 80 all" in written.out
    assert "left out: unimodal: needs modality" in written.out
    assert written.out.endswith(f"next: fusionbench run {path} --workspace {workspace}\n")
    benchmark = load_benchmark(path)
    assert list(benchmark.encoders) == ["ecg", "labs"]
    assert benchmark.task.options["group"] == "patient"
    assert len(benchmark.strategies) > 12
    few = [
        "training.epochs=1",
        "splits.folds=2",
        "strategies=[concat, sum]",
        "observers=[files]",
        "missingness.rates=[0, 0.3]",
    ]
    done = fusionbench("run", path, "--workspace", workspace, "--quiet", *[w for s in few for w in ("--set", s)])
    assert (done.code, done.err) == (0, "")
    board = pd.read_csv(workspace / "reports" / "my" / "leaderboard.csv")
    assert set(board["strategy"]) == {"concat", "sum", "prevalence"}


def test_problems_of_the_data_stop_it_and_say_what_mends_them(tmp_path, data):
    outcome = fusionbench("init", tmp_path / "my.yaml", "--data", data, "--quiet", "--workspace", tmp_path / "runs")
    assert outcome.code == 2
    assert "problem: manifest: target: no column 'label'; it has sample_id, patient, died" in outcome.out
    assert "--set task.KEY=VALUE ('fusionbench show table' lists them)" in outcome.err
    assert not (tmp_path / "my.yaml").exists()


def wished(tmp_path, data, **more):
    return Wished(tmp_path / "my.yaml", data, workspace=tmp_path / "runs", **more)


def test_a_person_is_asked_until_the_data_are_right(tmp_path, data):
    answers = iter(["task.target=died"])
    said = list(begin(wished(tmp_path, data), Plugins(), SilentProgress(), lambda question: next(answers)))
    assert any(line.startswith("problem:") for line in said)
    assert said[-2].startswith(f"written: {tmp_path / 'my.yaml'}")
    with pytest.raises(ConfigError, match="is there already"):
        list(begin(wished(tmp_path, data), Plugins(), SilentProgress(), None))


def test_a_split_and_chosen_strategies_are_kept(tmp_path, data):
    manifest = pd.read_parquet(data / "manifest.parquet").rename(columns={"died": "label"})
    manifest["split"] = ["train"] * 50 + ["validation"] * 14 + ["test"] * 16
    manifest.to_parquet(data / "manifest.parquet")
    list(begin(wished(tmp_path, data, strategies=["sum"], seeds=2), Plugins(), SilentProgress(), None))
    document = yaml.safe_load((tmp_path / "my.yaml").read_text(encoding="utf-8"))
    assert document["splits"] == {"source": "task", "seeds": [0, 1]}
    assert document["strategies"] == ["sum"]
    assert document["tuning"]["trials"] == 4


def test_where_it_goes_is_checked_first(tmp_path, data):
    with pytest.raises(ConfigError, match=r"a benchmark file ends in .yaml"):
        list(begin(Wished(tmp_path / "my.txt", data), Plugins(), SilentProgress(), None))
    with pytest.raises(ConfigError, match="no task recognises the files"):
        list(begin(Wished(tmp_path / "x.yaml", tmp_path), Plugins(), SilentProgress(), None))
    assert "name the folder of your data" in fusionbench("init", tmp_path / "x.yaml").err
    with pytest.raises(DataError):
        list(begin(wished(tmp_path, data), Plugins(), SilentProgress(), None))
