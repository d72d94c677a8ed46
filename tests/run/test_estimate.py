"""Working on some arms only, and saying beforehand how long it takes."""

from __future__ import annotations

import pytest

from fusionbench.errors import ConfigError
from fusionbench.run.estimate import PROBE_EPOCHS
from tests.builders import make_run, run_toy
from tests.front import run_toy as run_command
from tests.front import toy_benchmark, write_yaml

TUNED = {"tuning": {"trials": 3, "common": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}}}


def test_only_the_named_arms_are_trained_and_the_tables_show_what_is_there(tmp_path):
    run = make_run(tmp_path, imputers=["zero", "mean"])
    run.select("concat")
    summary = run.execute()
    assert summary.trained == 2 * 2
    assert {(r.strategy, r.imputer) for r in summary.tables.cells.itertuples()} == {
        ("concat", "zero"),
        ("concat", "mean"),
    }
    board = summary.tables.leaderboard.set_index(["strategy", "imputer"])
    assert board[board["rank"] > 0]["models"].to_dict() == {
        ("concat", "zero"): 2,
        ("concat", "mean"): 2,
        ("sum", "zero"): 0,
        ("sum", "mean"): 0,
    }
    rest = make_run(tmp_path, imputers=["zero", "mean"]).execute()
    assert rest.trained == 4


@pytest.mark.parametrize(("pattern", "models"), [("* / mean", 4), ("concat / mean", 2), ("s*", 4), ("*", 8)])
def test_an_arm_is_named_by_title_or_label_with_stars(tmp_path, pattern, models):
    run = make_run(tmp_path, imputers=["zero", "mean"])
    run.select(pattern)
    assert len(run.plan.to_train) == models


def test_a_name_that_no_arm_has_is_an_error_with_the_names(tmp_path):
    with pytest.raises(ConfigError, match=r"--only conct: no arm has this name.*concat.*\n  arms: concat / zero, sum"):
        make_run(tmp_path).select("conct")


def test_fresh_forgets_the_named_arms_only(tmp_path):
    run_toy(tmp_path)
    run = make_run(tmp_path)
    run.select("sum")
    run.forget()
    assert {f.arm.title for f in run.plan.todo} == {"sum"}
    assert run.execute().trained == 2
    assert make_run(tmp_path).execute().trained == 0


def test_the_estimate_counts_models_and_trials(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "fusionbench.run.estimate._seconds_of_a_model", lambda work, probe, metric, epochs: 0.25 * epochs
    )
    run = make_run(tmp_path, **TUNED)
    # two arms: 2 models, 2 with the defaults, and 3 trials on each of 2 folds
    assert run.estimate().seconds == pytest.approx(0.25 * run.benchmark.training.epochs * 2 * (2 + 2 + 3 * 2))


def test_the_estimate_and_the_plan_count_a_model_for_each_inner_fold(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "fusionbench.run.estimate._seconds_of_a_model", lambda work, probe, metric, epochs: 0.25 * epochs
    )
    run = make_run(tmp_path, tuning={**TUNED["tuning"], "inner_folds": 2})
    assert run.estimate().seconds == pytest.approx(0.25 * run.benchmark.training.epochs * 2 * (2 + 2 + 3 * 2 * 2))
    assert sum(run.plan.tuned_models.values()) == 2 * 2 * 3 * 2
    assert run.plan.inner_folds == "2"
    assert make_run(tmp_path, **TUNED).plan.inner_folds == ""
    assert make_run(tmp_path, tuning={"inner_folds": 2}).plan.inner_folds == ""


def test_a_dry_run_says_on_how_many_inner_folds_trials_are_trained(tmp_path):
    file = write_yaml(tmp_path / "toy.yaml", toy_benchmark(tuning={**TUNED["tuning"], "inner_folds": 2}))
    found = run_command(file, tmp_path / "workspace", "--dry-run")
    assert "12 tuning trials (each on 2 inner folds: 24 models)" in " ".join(found.out.split())


def test_an_epoch_is_timed_on_a_population_and_nothing_is_stored(tmp_path, monkeypatch):
    timed = []

    def train(members, settings, metric):
        timed.append((len(members), settings.epochs))
        assert not any(m.alone for m in members)

    monkeypatch.setattr("fusionbench.run.estimate.train", train)
    assert make_run(tmp_path).estimate().failures == {}
    assert timed == [(2, PROBE_EPOCHS)] * 2
    assert not list((tmp_path / "results" / "fits").iterdir())
    assert not list((tmp_path / "results" / "weights").iterdir())


def test_nothing_to_do_takes_no_time(tmp_path):
    run_toy(tmp_path)
    assert make_run(tmp_path).estimate().seconds == 0


FAILS = '''
from torch import nn
from fusionbench import FusionStrategy, hookimpl


class Fails(FusionStrategy):
    """Cannot be trained."""

    def __init__(self, spec):
        super().__init__(spec)
        self.head = nn.Linear(spec.width, spec.num_outputs)

    def forward(self, batch):
        raise RuntimeError("no such luck")


@hookimpl
def register_fusion_strategies(register):
    register("fails", Fails)
'''


def test_a_dry_run_says_how_long_and_what_could_not_be_timed(tmp_path):
    guest = tmp_path / "fails.py"
    guest.write_text(FAILS, encoding="utf-8")
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=["concat", "fails"]))
    outcome = run_command(config, tmp_path / "ws", "-p", guest, "--dry-run")
    assert outcome.code == 0
    assert "training takes at most about" in outcome.out
    assert "1 could not be timed" in outcome.out
    assert "no such luck" in outcome.out
    assert "0 stored, 8 to do = 4 models, 0 tuning trials" in outcome.out


def test_only_on_the_command_line_counts_its_own_work(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    outcome = run_command(config, tmp_path / "ws", "--only", "sum", "--dry-run")
    assert "8 cells (2 arms x 2 folds x 1 seeds, 2 conditions): 0 stored, 4 to do = 2 models" in outcome.out
