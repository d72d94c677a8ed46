"""Models whose options are known: trained or restored, scored, and stored with what made them."""

from __future__ import annotations

from contextlib import contextmanager

import pandas as pd
import pytest
from safetensors.torch import load, save

from fusionbench.progress import SilentProgress, SilentStage
from fusionbench.run.capacity import Sizes
from fusionbench.run.refits import Refits
from fusionbench.run.tuning import Winner
from fusionbench.training.prediction import predict_conditions
from tests.builders import make_run, run_toy, stored

RATES = {"learning_rate": 0.01, "weight_decay": 0.02}


class Opened(SilentProgress):
    """Writes down which stages were opened."""

    def __init__(self):
        super().__init__()
        self.stages = []

    @contextmanager
    def stage(self, title, total=None, unit=""):
        self.stages.append((title, total, unit))
        yield SilentStage()


def refits(run, progress=None, digest="sealed"):
    winners = {f.study: Winner(RATES, {}, digest, 0, 0, 0.0) for f in run.plan.fits}
    return Refits(run.plan, winners, run.rows, run.store, run.metric, progress or SilentProgress(), Sizes())


def test_every_model_is_stored_with_its_options_its_study_and_what_made_it(tmp_path):
    run = make_run(tmp_path, strategies=["sum"], imputers=["mean"])
    outcomes = list(refits(run).outcomes(run.plan.todo))
    assert [(o.job, o.failure, o.stored_before) for o in outcomes] == [(f, None, False) for f in run.plan.fits]
    for fit in run.plan.fits:
        result = run.store.load(fit.key)
        assert result.options == RATES
        assert result.study == "sealed"
        assert set(result.probabilities) == set(fit.labels)
        assert {role: made["name"] for role, made in result.made_by.items()} == {"strategy": "sum", "imputer": "mean"}
        assert result.epochs == 2


def test_nothing_to_do_opens_no_stage(tmp_path):
    run, progress = make_run(tmp_path), Opened()
    assert list(refits(run, progress).outcomes([])) == []
    assert progress.stages == []


def test_models_whose_weights_are_kept_are_scored_first_and_not_trained(tmp_path):
    one = make_run(tmp_path, strategies=["sum"])
    list(refits(one).outcomes(one.plan.fits[:1]))
    run, progress = make_run(tmp_path, strategies=["sum"], missingness={"rates": [0, 0.5, 0.7]}), Opened()
    kept, trained = run.plan.fits
    found = list(refits(run, progress).outcomes([trained, kept]))
    assert [(o.job.key, o.stored_before) for o in found] == [(kept.key, True), (trained.key, False)]
    assert progress.stages == [("scoring", 1, "models"), ("training", 1, "models")]
    before = one.store.load(kept.key)
    assert before.epochs == 2
    assert set(before.probabilities) == set(kept.labels)


def test_weights_are_kept_only_where_the_benchmark_says_so(tmp_path):
    for keep in (True, False):
        run = make_run(tmp_path / str(keep), training={"epochs": 1, "keep_weights": keep})
        list(refits(run).outcomes(run.plan.fits[:1]))
        assert run.store.keys_with_weights() == ({run.plan.fits[0].key} if keep else set())


def test_test_rows_do_not_open_without_the_digest_of_a_study(tmp_path):
    run = make_run(tmp_path, strategies=["sum"])
    (outcome,) = refits(run, digest="").outcomes(run.plan.fits[:1])
    assert "test rows open only with the digest of a sealed study" in outcome.failure
    assert run.store.load(run.plan.fits[0].key) is None


def test_models_that_share_completed_rows_are_trained_in_one_part(tmp_path):
    run = make_run(tmp_path, strategies=["concat", "sum"], imputers=["zero", "knn"])
    parts = [[(f.arm.label, f.fold) for f in part] for part in refits(run)._sharing_rows(run.plan.fits)]
    neighbours = [[(f"{s} / knn", fold) for s in ("concat", "sum")] for fold in (0, 1)]
    others = [(f"{s} / zero", fold) for s in ("concat", "sum") for fold in (0, 1)]
    assert sorted(parts) == sorted([others, *neighbours])


def test_predictions_that_are_not_finite_are_not_stored(tmp_path, monkeypatch):
    def infinite(population, rows, present):
        found = predict_conditions(population, rows, present)
        found[:, 0] = float("nan")
        return found

    monkeypatch.setattr("fusionbench.run.scoring.predict_conditions", infinite)
    run, summary = run_toy(tmp_path, strategies=["concat"])
    assert [text for _, text in summary.failures] == ["diverged: predictions of test rows are not finite"]
    assert len(stored(run)) == 1


def test_kept_weights_give_the_predictions_of_a_model_trained_for_them(tmp_path):
    """Also where statistics, stages, and imputers of inputs have left state outside the parameters."""
    arms = {"strategies": ["pmr", "g_blend", "medfuse"], "imputers": ["mean", "knn"]}
    more = {"patterns": ["a", "random"], "rates": [0, 0.3, 0.6]}
    run_toy(tmp_path / "grown", **arms)
    kept = make_run(tmp_path / "grown", missingness=more, **arms)
    assert len(kept.plan.kept) == len(kept.plan.fits)
    assert kept.execute().trained == 0
    _, at_once = run_toy(
        tmp_path / "once", missingness=more, training={"epochs": 2, "batch_size": 32, "keep_weights": False}, **arms
    )
    assert at_once.trained == len(kept.plan.fits)
    grown = make_run(tmp_path / "grown", missingness=more, **arms).execute()
    pd.testing.assert_frame_equal(grown.tables.cells, at_once.tables.cells)
    assert not list((tmp_path / "once" / "results" / "weights").iterdir())


def cut(path):
    path.write_bytes(path.read_bytes()[:40])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 16
    path.write_bytes(content)


def turn(path):
    """Other values in a file of an earlier version, which holds no hash."""
    path.write_bytes(save({n: t + 0.3 if t.is_floating_point() else t for n, t in load(path.read_bytes()).items()}))


@pytest.mark.parametrize("damage", [cut, flip, turn])
def test_damaged_weights_are_trained_again_and_replace_nothing(tmp_path, damage):
    run_toy(tmp_path)
    before = {p.name: p.read_bytes() for p in (tmp_path / "results" / "weights").iterdir()}
    for name in before:
        damage(tmp_path / "results" / "weights" / name)
    run = make_run(tmp_path, missingness={"rates": [0, 0.2]})
    stored_before = {f.key: run.store.load(f.key) for f in run.plan.fits}
    again = run.execute()
    assert again.failures == []
    assert again.trained == 4
    for fit in run.plan.fits:
        now = run.store.load(fit.key)
        assert set(now.probabilities) >= {*fit.labels}
        for label, values in stored_before[fit.key].probabilities.items():
            assert (now.probabilities[label] == values).all()
    weights = tmp_path / "results" / "weights"
    assert {n: (weights / n).read_bytes() for n in before} == before
    assert len(list(weights.glob("*.damaged"))) == 4


def test_other_masks_are_scored_anew_and_the_old_ones_are_still_there(tmp_path):
    mnar = {"patterns": ["random"], "rates": [0, 0.5], "mechanism": {"name": "mnar", "strength": 1.0}}
    first = run_toy(tmp_path)[1]
    gap = make_run(tmp_path, missingness=mnar).execute(limit=0)
    assert len(gap.tables.cells) == 0
    assert gap.tables.leaderboard["models"].tolist() == [0, 0]
    other = run_toy(tmp_path, missingness=mnar)[1]
    assert other.trained == 0  # the weights are kept
    masks = [s.tables.cells.set_index(["strategy", "fold", "pattern"])["mask"] for s in (first, other)]
    assert (masks[0].xs("random", level="pattern") != masks[1].xs("random", level="pattern")).all()
    back = run_toy(tmp_path)[1]
    assert back.trained == 0
    assert back.tables.cells.equals(first.tables.cells)
