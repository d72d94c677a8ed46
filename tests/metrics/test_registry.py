"""A metric is one entry: what it takes to add one, and what the entries promise."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from fusionbench.errors import ConfigError
from fusionbench.metrics.registry import METRICS, Metric, Ranking, Sums, names_for, primary
from fusionbench.metrics.resampling import bootstrap
from fusionbench.metrics.scores import evaluate, score
from fusionbench.report.results import _ranking_table, verdict
from fusionbench.screen.terminal import print_summary
from fusionbench.targets import TargetKind
from tests.builders import run_toy, toy_dataset

KINDS = frozenset({TargetKind.BINARY, TargetKind.MULTILABEL})
DISTANCE = Metric(
    "distance",
    "mean distance",
    higher_is_better=False,
    kinds=KINDS,
    how=Sums(lambda p, y: (p.double() - y).abs().unsqueeze(-2), lambda p, y: p),
    intervals=True,
    beside="distance",
)


@pytest.fixture
def added(monkeypatch):
    monkeypatch.setitem(METRICS, DISTANCE.name, DISTANCE)


def test_one_entry_is_computed_resampled_named_and_tabulated(tmp_path, added):
    _, summary = run_toy(tmp_path)
    tables, metric = summary.tables, DISTANCE.name
    assert 0 < tables.cells[metric].mean() < 1
    assert (tables.curves[f"{metric}_low"] < tables.curves[f"{metric}_high"]).all()
    at_zero = tables.curves[tables.curves["rate"] == 0].set_index("strategy")[metric]
    board = tables.leaderboard.set_index("strategy")[f"{metric}@0"]
    assert board.to_dict() == pytest.approx(at_zero.to_dict())
    page, screen = _ranking_table(summary), io.StringIO()
    assert page.columns[-3:] == ["AUPRC", "Brier score", "mean distance"]
    assert "AUPRC, Brier score and mean distance: at 0 % missing." in page.caption
    print_summary(Console(file=screen, width=300, color_system=None), summary)
    assert " distance " in screen.getvalue()


def test_it_may_rank_models_and_its_direction_is_kept(tmp_path, added):
    _, summary = run_toy(tmp_path, replace(toy_dataset(), metric=DISTANCE.name))
    areas = summary.tables.leaderboard["area"].tolist()
    assert areas == sorted(areas)
    assert verdict(summary).startswith("The lowest line is ")
    assert "mean mean distance over all curves" in verdict(summary)


def test_tables_from_before_a_metric_was_there_are_made_again(tmp_path, monkeypatch):
    assert DISTANCE.name not in run_toy(tmp_path)[1].tables.cells
    monkeypatch.setitem(METRICS, DISTANCE.name, DISTANCE)
    assert DISTANCE.name in run_toy(tmp_path)[1].tables.cells


def test_a_ranking_brings_both_of_its_functions(monkeypatch):
    share = Ranking(
        lambda s, y, w=None: (y.double() * (s > 0.5) * (1 if w is None else w)).sum(-1),
        lambda s, y: lambda drawn: (drawn.counts * ((s > 0.5) & y)[:, None]).sum(axis=0).astype(float),
    )
    monkeypatch.setitem(METRICS, "found", Metric("found", "found", higher_is_better=True, kinds=KINDS, how=share))
    draw = np.random.default_rng(0)
    scores, target = draw.random((2, 40)), draw.integers(0, 2, 40)
    found = bootstrap(scores, target, np.arange(40), "found", 20, draw)
    expected = score("found", torch.tensor(scores)[..., None], torch.tensor(target), TargetKind.BINARY)
    np.testing.assert_allclose(found.point, expected)


@pytest.mark.parametrize("name", METRICS)
def test_an_entry_is_whole(name):
    metric = METRICS[name]
    assert (metric.name, metric.ranks) == (name, isinstance(metric.how, Ranking))
    assert metric.title
    assert metric.kinds
    labels = metric.kinds - {TargetKind.MULTICLASS}
    assert metric.ranks or not labels or metric.how.labels is not None
    assert metric.intervals or not metric.beside, "a column of the leaderboard is read off a curve"


@pytest.mark.parametrize("name", METRICS)
def test_the_documentation_has_a_line_for_it(name):
    text = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {'high' if METRICS[name].higher_is_better else 'low'} |" in text


@pytest.mark.parametrize("kind", TargetKind)
def test_every_metric_of_a_kind_is_computed(kind):
    probabilities = torch.full((6, 3), 1 / 3, dtype=torch.float64)
    target = torch.tensor([0, 1, 2] * 2) if kind is TargetKind.MULTICLASS else torch.tensor([[0, 1, 0], [1, 0, 1]] * 3)
    if kind is TargetKind.BINARY:
        probabilities, target = probabilities[:, :1], target[:, 0]
    assert names_for(kind) == METRICS.keys() & evaluate(probabilities, target, kind).keys()


def test_an_unknown_metric_names_the_nearest_of_its_kind():
    assert primary("auroc").title == "AUROC"
    with pytest.raises(ConfigError, match="no metric named 'aurok'; did you mean 'auroc'"):
        primary("aurok")
    with pytest.raises(ConfigError, match="no metric named 'macro_f1' for a binary target"):
        primary("macro_f1", TargetKind.BINARY)
