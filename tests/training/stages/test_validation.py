"""How epochs are judged: scores of the prediction and of each modality's own head, on the rows that count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fusionbench.contract.stages import Stage
from fusionbench.targets import row_losses
from fusionbench.training.loop import train
from fusionbench.training.prediction import assemble
from fusionbench.training.stages.run import StageRun
from fusionbench.training.stages.validation import Validation, weighted_mean
from tests.builders import make_member, make_model, make_rows, settings
from tests.training.stages.staged import Heads

JOINT, EACH = Stage("train"), Stage("train", select="per_modality")


def test_a_head_is_scored_on_the_rows_that_have_its_modality():
    given = make_member(lambda: make_model(Heads), make_rows())
    population, _ = train([given], settings(epochs=1), "auroc")
    run = StageRun(population, [given], given.build().fusion.stages()[0], settings(), "auroc")
    before = run.validation.scores()
    rows = given.validation
    lacking = rows[~given.present[rows, 1]]
    assert len(lacking) > 1
    given.table.target[lacking] = 1 - given.table.target[lacking]
    after = run.validation.scores()
    assert after[0, 2] == before[0, 2]
    assert after[0, 0] != before[0, 0]


def test_a_head_that_cannot_be_scored_is_named():
    table = make_rows()
    rows = torch.arange(100, 130)
    table.available[rows, 2] = False
    given = make_member(lambda: make_model(Heads), table, validation=30)
    for selection in ("metric", "loss"):
        _, (fit,) = train([given], settings(selection=selection), "auroc")
        assert "on the validation rows that have c is undefined" in fit.failure


def test_validation_rows_of_one_class_are_named_as_the_reason():
    table = make_rows()
    same = torch.nonzero(table.target == 1).squeeze(1)[-10:]
    _, (fit, other) = train([mean(validation=10), mean()], settings(), "auroc")
    assert fit.failure is None
    _, (fit, other) = train([replace(mean(), validation=same), mean()], settings(), "auroc")
    assert "'auroc' on the validation rows is undefined (one class only?)" in fit.failure
    assert "training.selection: loss" in fit.failure
    assert other.failure is None


def mean(**changes):
    return make_member(lambda: make_model("concat", "mean"), make_rows(), **changes)


def judged(given, metric="auroc", stage=JOINT, **changes):
    population = assemble(given)
    return population, Validation(population, given, stage, settings(**changes), metric)


def logits_of(population, member, given):
    rows = given.validation.expand(population.size, -1)
    with population.evaluating():
        return population.predict(population.view(rows, given.present[rows]))[member, :, 0]


def test_scores_are_those_of_each_members_own_rows():
    given = [mean(validation=30), mean(validation=17)]
    population, validation = judged(given)
    found = validation.scores()
    assert found.shape == (2, 1)
    for i, one in enumerate(given):
        wanted = roc_auc_score(one.table.target[one.validation], logits_of(population, i, one))
        assert float(found[i, 0]) == pytest.approx(wanted, abs=1e-6)


def test_higher_is_better_whatever_is_asked_for():
    given = [mean(validation=30), mean(validation=17)]
    population, by_loss = judged(given, selection="loss")
    _, by_brier = judged(given, "brier")
    for i, one in enumerate(given):
        logits, target = logits_of(population, i, one), one.table.target[one.validation]
        loss = float(row_losses(logits[:, None], target, one.table.kind).mean())
        assert float(by_loss.scores()[i, 0]) == pytest.approx(-loss, abs=1e-6)
        squared = np.mean((torch.sigmoid(logits) - target).numpy() ** 2)
        assert float(by_brier.scores()[i, 0]) == pytest.approx(-squared, abs=1e-6)


def test_where_every_head_is_judged_it_picks_its_own_encoder():
    given = [make_member(lambda: make_model(Heads), make_rows())]
    _, validation = judged(given, stage=EACH)
    assert validation.scores().shape == (1, 4)
    picked = {n: g for n, g in validation.groups.items() if n.endswith("bias")}
    assert picked == {
        "project.a.bias": 1,
        "project.b.bias": 2,
        "project.c.bias": 3,
        **{f"fusion.heads.{n}.bias": 0 for n in "abc"},
    }
    assert judged(given)[1].groups == {}
    assert [validation.described(g) for g in (0, 2)] == ["validation rows", "validation rows that have b"]


@pytest.mark.parametrize("selection", ["metric", "loss"])
def test_a_head_whose_modality_no_row_has_is_scored_as_undefined(selection):
    table = make_rows()
    table.available[100:, 2] = False
    given = [make_member(lambda: make_model(Heads), table)]
    found = judged(given, stage=EACH, selection=selection)[1].scores()[0]
    assert found.isnan().tolist() == [False, False, False, True]


def test_scores_do_not_depend_on_chunks(monkeypatch):
    given = [mean(), mean(validation=20)]
    whole = judged(given, selection="loss")[1].scores()
    monkeypatch.setattr("fusionbench.training.prediction.EVALUATION_ROWS", 7)
    torch.testing.assert_close(judged(given, selection="loss")[1].scores(), whole, rtol=0, atol=1e-6)


def test_a_weighted_mean_is_float64_and_skips_what_does_not_count():
    values = torch.tensor([[1.0, 2.0, torch.nan], [torch.inf, 4.0, 5.0], [1.0, 1.0, 1.0]])
    weights = torch.tensor([[1.0, 3.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    found = weighted_mean(values, weights)
    assert found.tolist() == [7 / 4, 4.5, 0]
    assert found.dtype == torch.float64
