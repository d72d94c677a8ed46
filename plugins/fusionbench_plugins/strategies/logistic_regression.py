"""Logistic regression on the embeddings of frozen encoders with presence flags: the control that a fusion method must beat.

It is fitted to its optimum, so nothing of optimiser, epochs or early stopping is in its numbers. One model for each label, one
with a softmax for classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionbench import FittedStrategy, FusionSpec, Provenance, TargetKind, Trial, hookimpl
from fusionbench.hookspecs import Register
from fusionbench_plugins.strategies._labels import log_odds, log_scores, models_of

STEPS = 5000  # more than the solver needs on standardised features


class LogisticRegression(FittedStrategy):
    """``z = W [u_1; ...; u_M; present] + b`` with an L2 penalty on W, fitted by L-BFGS.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        C: Inverse strength of the penalty, as scikit-learn has it: small values regularise more.

    Shapes:
        Returns logits ``[batch, num_outputs]``. Buffers ``weight`` ``[num_outputs, features]`` and ``bias`` ``[num_outputs]``.
    """

    control: ClassVar[bool] = True
    title: ClassVar[str] = "Logistic regression"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Common practice; scikit-learn (Pedregosa et al. 2011, Scikit-learn: Machine Learning in Python, JMLR)",
        equations="z = W [u; present] + b; W, b minimise the sum of log losses + |W|^2 / (2 C)",
        link="https://jmlr.org/papers/v12/pedregosa11a.html",
        code="https://github.com/scikit-learn/scikit-learn (BSD-3-Clause), used as a library",
        differs="absent modalities are zeros (training means, where features are standardised) or what an imputer fills, with "
        "flags",
    )
    weight: Tensor
    bias: Tensor

    def __init__(self, spec: FusionSpec, C: float = 1.0) -> None:  # noqa: N803 - scikit-learn's name
        super().__init__(spec)
        if not C > 0:
            raise ValueError(f"C must be above 0, found {C}")
        self.C = C
        self.register_buffer("weight", torch.zeros(spec.num_outputs, self.num_features, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(spec.num_outputs, dtype=torch.float64))

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Suggest the penalty."""
        return {"C": trial.suggest_float("C", 1e-5, 100.0, log=True)}

    def fit(self, features: Tensor, target: Tensor, seed: int) -> Mapping[str, Tensor]:
        """Fit one model, or one for each label."""
        x, kind = features.numpy(), self.spec.kind
        if kind is TargetKind.MULTICLASS:
            weight, bias = self._classes(x, target.numpy())
        else:
            found = [self._label(x, labels) for labels in models_of(target.numpy(), kind)]
            weight, bias = np.concatenate([w for w, _ in found]), np.concatenate([b for _, b in found])
        return {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}

    def decide(self, features: Tensor) -> Tensor:
        """Apply the weights."""
        return features @ self.weight.to(features.dtype).T + self.bias.to(features.dtype)

    def _label(self, x: NDArray[Any], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if labels.min() == labels.max():  # nothing to tell apart
            return np.zeros((1, x.shape[1])), np.array([log_odds(labels)])
        return self._fitted(x, labels)

    def _classes(self, x: NDArray[Any], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights of every class; those of classes that no row has are zero, with the score of half a row."""
        weight = np.zeros((self.spec.num_outputs, x.shape[1]))
        bias, there = log_scores(labels, self.spec.num_outputs), np.unique(labels)
        if len(there) > 1:
            own, intercept = self._fitted(x, labels)
            if len(there) == 2:  # given as one difference
                own, intercept = np.concatenate([-own, own]) / 2, np.concatenate([-intercept, intercept]) / 2
            weight[there], bias[there] = own, intercept
        return weight, bias

    def _fitted(self, x: NDArray[Any], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Fitted

        with warnings.catch_warnings():  # separable rows with hardly a penalty: it has gone as far as is of use
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = Fitted(C=self.C, max_iter=STEPS).fit(x, labels)
        return found.coef_.astype(np.float64), found.intercept_.astype(np.float64)


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``logistic_regression``."""
    register("logistic_regression", LogisticRegression)
