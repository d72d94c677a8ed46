"""Runs under other protocol settings: after the run, in its workspace, and never at its cost."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from fusionbench.errors import ConfigError
from fusionbench.run.runner import Run
from tests.builders import make_run, stored, toy_dataset
from tests.front import TOY, fusionbench, toy_benchmark, write_yaml

MLP = {"name": "mlp projections", "set": {"model.projection": "mlp"}}
SGD = {"name": "sgd", "set": {"training": {"optimiser": "sgd", "learning_rate": 0.05}}}
TWO = {"splits": {"folds": 2, "seeds": [0, 1]}, "robustness": [MLP, SGD]}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("robust"), toy_dataset(), **TWO)
    return run, run.execute()


def test_every_setting_is_run_and_its_leaderboard_is_that_of_a_run_of_its_own(done, tmp_path):
    _, summary = done
    found = summary.robustness.lines
    assert list(dict.fromkeys(found["setting"])) == ["main", "mlp projections", "sgd"]
    alone = make_run(tmp_path, toy_dataset(), **{**TWO, "robustness": [], "model": {"width": 4, "projection": "mlp"}})
    board = alone.execute().tables.leaderboard
    mine = found[found["setting"] == "mlp projections"].set_index("strategy")
    for _, row in board[board["strategy"] != "prevalence"].iterrows():
        for column in ("area", "area_low", "area_high", "group", "p_best", "rank"):
            assert mine.loc[row["strategy"], column] == row[column], column
    assert summary.trained == 3 * 2 * 2 * 2
    assert summary.failures == []


def test_the_run_itself_is_as_it_would_be_without_them(done, tmp_path):
    run, summary = done
    plain = make_run(tmp_path, toy_dataset(), **{**TWO, "robustness": []})
    tables = plain.execute().tables
    assert [f.key for f in plain.plan.fits] == [f.key for f in run.plan.fits]
    pd.testing.assert_frame_equal(tables.cells, summary.tables.cells)
    pd.testing.assert_frame_equal(tables.comparisons, summary.tables.comparisons)


def test_what_is_stored_is_not_trained_again(done):
    run, summary = done
    again = make_run(run.workspace, toy_dataset(), **TWO)
    assert [(name, plan.to_train) for name, plan in again.plan.robustness.items()] == [
        ("mlp projections", []),
        ("sgd", []),
    ]
    second = again.execute()
    assert second.trained == 0
    pd.testing.assert_frame_equal(second.robustness.lines, summary.robustness.lines)
    swapped = make_run(run.workspace, toy_dataset(), **{**TWO, "robustness": [SGD, MLP]})
    assert swapped.execute().trained == 0  # keyed by content, not by place or name


def test_as_if_nothing_was_stored_everything_is_to_do(done):
    run, _ = done
    plan = make_run(run.workspace, toy_dataset(), **TWO).plan.emptied()
    assert len(plan.to_train) == len(plan.fits)
    assert all(len(p.to_train) == len(p.fits) > 0 for p in plan.robustness.values())


def test_a_setting_that_cannot_be_trained_is_named_and_costs_nothing_else(tmp_path, monkeypatch):
    run = make_run(tmp_path, toy_dataset(), **TWO)
    execute = Run.execute

    def broken(self, *arguments, **options):
        if self.benchmark.training.optimiser == "sgd":
            raise MemoryError("no memory is left")
        return execute(self, *arguments, **options)

    monkeypatch.setattr(Run, "execute", broken)
    summary = run.execute()
    assert [name for name, _ in summary.failures] == ["robustness 'sgd'"]
    assert "no memory is left" in summary.failures[0][1]
    assert summary.exit_code == 1
    assert set(summary.robustness.lines["setting"]) == {"main", "mlp projections"}
    assert summary.tables.leaderboard["area"].notna().all()


def test_an_interruption_in_a_setting_keeps_the_tables_of_the_run(tmp_path, monkeypatch):
    run = make_run(tmp_path, toy_dataset(), **TWO)
    execute = Run.execute

    def stopped(self, *arguments, **options):
        if self.benchmark.model.projection == "mlp":
            raise KeyboardInterrupt
        return execute(self, *arguments, **options)

    monkeypatch.setattr(Run, "execute", stopped)
    summary = run.execute()
    assert (summary.interrupted, summary.exit_code) == (True, 130)
    assert summary.robustness.lines.empty
    assert summary.tables.leaderboard["area"].notna().all()
    assert len(stored(run)) == 8


def test_a_setting_that_changes_nothing_is_left_out(tmp_path):
    same = {"name": "same", "set": {"training.optimiser": "adamw"}}
    twin = {"name": "twin", "set": {"model": {"projection": "mlp"}}}
    run = make_run(tmp_path, toy_dataset(), **{**TWO, "robustness": [same, MLP, twin]})
    assert list(run.plan.robustness) == ["mlp projections"]


def test_what_a_setting_refuses_is_said_before_anything_is_trained(tmp_path):
    insists = {"name": "ogm_ge", "apply": "gradient"}
    with pytest.raises(ConfigError, match="robustness 'adamw': ") as caught:
        make_run(
            tmp_path,
            toy_dataset(),
            strategies=["concat", insists],
            training={"epochs": 2, "batch_size": 32, "optimiser": "sgd"},
            robustness=[{"name": "adamw", "set": {"training.optimiser": "adamw"}}],
        )
    assert "gradient" in str(caught.value)


def test_settings_that_no_file_was_read_for_are_checked_too(tmp_path):
    with pytest.raises(ConfigError, match=r"'splits.folds' is no protocol setting"):
        make_run(tmp_path, toy_dataset(), robustness=[{"name": "x", "set": {"splits.folds": 3}}])


def test_a_limit_holds_for_all_settings_together(tmp_path):
    run = make_run(tmp_path, toy_dataset(), **TWO)
    summary = run.execute(limit=10)
    assert summary.trained == 10
    assert any("robustness 'sgd': no line is complete" in note for note in summary.notes)


def test_only_some_arms_are_worked_on_under_every_setting(tmp_path):
    run = make_run(tmp_path, toy_dataset(), **TWO)
    run.select("concat")
    assert {f.arm.title for plan in run.plan.robustness.values() for f in plan.todo} == {"concat"}
    assert run.execute().trained == 3 * 4


# --------------------------------------------------------------------------------------------
# the command


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told")
    path = write_yaml(folder / "b.yaml", toy_benchmark(**TWO, observers=["files", "html"]))
    return folder, ("run", path, "-p", TOY, "--workspace", folder / "runs")


def test_a_dry_run_counts_them_and_trains_nothing(told):
    folder, words = told
    outcome = fusionbench(*words, "--dry-run")
    assert (
        "robustness 'sgd': 16 cells: 0 stored; 8 models, 0 tuning trials (--no-robustness leaves it out)" in outcome.out
    )
    assert not list((folder / "runs" / "results").glob("fits/*"))


@pytest.fixture(scope="module")
def whole(told):
    """What the command says and writes without them, and then with them."""
    folder, words = told
    report = folder / "runs" / "reports" / "toy"
    without = fusionbench(*words, "--no-robustness", "--set", "observers=[files]")
    assert not (report / "robustness.csv").exists()
    return words, report, without, fusionbench(*words)


def test_they_can_be_left_out_and_come_later(whole):
    _, report, without, outcome = whole
    assert "8 models trained" in without.out
    assert "robustness" not in without.out
    assert "16 models trained" in outcome.out
    assert "robustness, setting 2 of 2: sgd (training.optimiser: sgd, training.learning_rate: 0.05)" in outcome.out
    assert "lines in group 1 under all 3 settings; rank correlation" in outcome.out
    assert len(pd.read_csv(report / "robustness.csv")) == 3 * 2
    assert len(pd.read_csv(report / "robustness_agreement.csv")) == 3
    recorded = json.loads((report / "record.json").read_text(encoding="utf-8"))
    assert [row["other"] for row in recorded["robustness"]["agreement"]] == ["mlp projections", "sgd", "sgd"]
    assert "Robustness of the verdict" in (report / "report.html").read_text(encoding="utf-8")


def test_the_page_is_made_again_from_what_is_stored_and_programs_are_told(whole):
    words, report, _, _ = whole
    (report / "report.html").unlink()
    assert fusionbench("report", words[1], "-p", TOY, "--workspace", words[-1]).code == 0
    assert "Robustness of the verdict" in (report / "report.html").read_text(encoding="utf-8")
    told = fusionbench(*words, "--set", "observers=[files]", "--json").out
    lines = [json.loads(line) for line in told.splitlines()]
    plan = next(e for e in lines if e["event"] == "plan")
    assert [p["name"] for p in plan["robustness"]] == ["mlp projections", "sgd"]
    assert sum(e["event"] == "robustness" for e in lines) == 3
    assert fusionbench(*words, "--set", "observers=[files]", "--no-robustness", "--quiet").code == 0
    assert not (report / "robustness.csv").exists(), "of an earlier run"
