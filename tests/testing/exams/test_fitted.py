"""Fitted strategies that are wrong on purpose: each is rejected by the check that is meant for it."""

from __future__ import annotations

from itertools import count

import pytest
import torch

from fusionbench import FittedStrategy, Provenance, TargetKind
from fusionbench.testing import run_checks


class Good(FittedStrategy):
    """Ridge regression on centred labels."""

    provenance = Provenance(paper="made up")

    def __init__(self, spec):
        super().__init__(spec)
        self.register_buffer("weight", torch.zeros(self.num_features + 1, spec.num_outputs, dtype=torch.float64))

    def fit(self, features, target, seed):
        labels = target
        if self.spec.kind is TargetKind.MULTICLASS:
            labels = torch.nn.functional.one_hot(target, self.spec.num_outputs)
        wanted = 2.0 * labels.double().reshape(len(features), -1) - 1
        x = self._with_ones(features)
        return {"weight": torch.linalg.solve(x.T @ x + torch.eye(x.shape[1], dtype=x.dtype), x.T @ wanted)}

    def decide(self, features):
        return self._with_ones(features) @ self.weight

    def _with_ones(self, features):
        return torch.cat([features, torch.ones_like(features[:, :1])], dim=1)


class ChangesItself(Good):
    def fit(self, features, target, seed):
        found = super().fit(features, target, seed)
        self.weight.copy_(found["weight"])
        return found


class ReturnsAnotherName(Good):
    def fit(self, features, target, seed):
        return {"weights": super().fit(features, target, seed)["weight"]}


class KeepsItInAnAttribute(Good):
    def fit(self, features, target, seed):
        found = super().fit(features, target, seed)
        self.scale = float(found["weight"].abs().sum())
        return found

    def decide(self, features):
        return super().decide(features) * getattr(self, "scale", 1.0)


class CannotBeAskedBefore(Good):
    def decide(self, features):
        return super().decide(features) / self.weight.abs().sum()


class NeedsBothLabels(Good):
    def fit(self, features, target, seed):
        found = super().fit(features, target, seed)["weight"]
        return {"weight": found * (1.0 if len(target.unique()) > 1 else 1e400)}


class LearnsNothing(Good):
    def fit(self, features, target, seed):
        return {"weight": -super().fit(features, target, seed)["weight"]}


class DrawsFromElsewhere(Good):
    draws = count()

    def fit(self, features, target, seed):
        return {"weight": super().fit(features, target, seed)["weight"] + next(self.draws)}


WRONG = [
    (ChangesItself, "fit_returns_values_of_own_buffers"),
    (ReturnsAnotherName, "fit_returns_values_of_own_buffers"),
    (KeepsItInAnAttribute, "only_buffers_decide_the_prediction"),
    (CannotBeAskedBefore, "an_unfitted_model_gives_finite_logits"),
    (NeedsBothLabels, "a_label_that_never_differs_can_be_fitted"),
    (LearnsNothing, "a_plain_relation_is_learned"),
    (DrawsFromElsewhere, "the_same_rows_and_seed_fit_the_same"),
]


def test_a_correct_one_passes_everything_that_applies():
    assert {r.status for r in run_checks(Good)} == {"passed", "skipped"}
    assert [r.name for r in run_checks(Good) if r.status == "skipped"] == [
        "presence_is_used_only_where_declared",
        "only_declared_modalities_are_read",
    ]


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_one_is_found_out(plugin, name):
    (result,) = run_checks(plugin, only=[name])
    assert result.status == "failed"
    assert not result.reason.startswith("raised")
