"""Gradient boosted trees on the embeddings of frozen encoders with presence flags: a control that is not linear.

The trees are scikit-learn's; what is kept of them are their nodes as plain tensors, so that a result needs no pickle to be scored
again. One model for each label, one with a softmax for classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionbench import FittedStrategy, FusionSpec, Provenance, TargetKind, Trial, hookimpl
from fusionbench.hookspecs import Register
from fusionbench_plugins.strategies._labels import log_odds, log_scores, models_of

_INDICES = ("feature", "left", "right", "roots")
_NUMBERS = ("threshold", "value")


class GradientBoosting(FittedStrategy):
    """The sum of small trees over ``[u_1; ...; u_M; present]``, each fitted to what those before it leave.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        trees: Trees of each label or class.
        shrinkage: Share of each tree that is added; scikit-learn calls it the learning rate.
        leaves: Most leaves of a tree.
        leaf_rows: Fewest training rows of a leaf.
        penalty: L2 penalty on the values of leaves.

    Shapes:
        Returns logits ``[batch, num_outputs]``. Buffers of all nodes of all trees ``[nodes]``, the first node of each tree
        ``roots`` ``[num_outputs, trees]``, and what is there before the first tree, ``baseline`` ``[num_outputs]``.
    """

    control: ClassVar[bool] = True
    title: ClassVar[str] = "Gradient boosting"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Ke et al. 2017, LightGBM: A Highly Efficient Gradient Boosting Decision Tree, NeurIPS, as scikit-learn has it",
        equations="z = b + sum of trees of [u; present], each fitted to the gradient that those before it leave",
        link="https://papers.nips.cc/paper/6907-lightgbm-a-highly-efficient-gradient-boosting-decision-tree",
        code="https://github.com/scikit-learn/scikit-learn (BSD-3-Clause), HistGradientBoostingClassifier, used as a library",
        differs="absent modalities are zeros (training means, where features are standardised) or what an imputer fills, with "
        "flags; no early stopping",
    )
    baseline: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    roots: Tensor
    depth: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        trees: int = 100,
        shrinkage: float = 0.1,
        leaves: int = 15,
        leaf_rows: int = 20,
        penalty: float = 1.0,
    ) -> None:
        super().__init__(spec)
        if trees < 1 or leaves < 2 or leaf_rows < 1 or shrinkage <= 0 or penalty < 0:
            raise ValueError(
                "trees and leaf_rows must be 1 or more, leaves 2 or more, shrinkage above 0 and penalty 0 or more; found "
                f"{trees}, {leaf_rows}, {leaves}, {shrinkage} and {penalty}"
            )
        self.trees, self.shrinkage, self.leaves = trees, shrinkage, leaves
        self.leaf_rows, self.penalty = leaf_rows, penalty
        self.register_buffer("baseline", torch.zeros(spec.num_outputs, dtype=torch.float64))
        for name in _NUMBERS:
            self.register_buffer(name, torch.zeros(1, dtype=torch.float64))
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(1, dtype=torch.int64))
        self.register_buffer("roots", torch.zeros(spec.num_outputs, 1, dtype=torch.int64))
        self.register_buffer("depth", torch.zeros((), dtype=torch.int64))

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Suggest how fast it learns, how large trees are, and how much they are held back."""
        return {
            "shrinkage": trial.suggest_float("shrinkage", 0.01, 0.3, log=True),
            "leaves": trial.suggest_int("leaves", 2, 31),
            "leaf_rows": trial.suggest_int("leaf_rows", 5, 20),  # more leaves hardly a split where rows are few
            "penalty": trial.suggest_float("penalty", 0.01, 100.0, log=True),
        }

    def fit(self, features: Tensor, target: Tensor, seed: int) -> Mapping[str, Tensor]:
        """Fit one model, or one for each label."""
        x, kind, outputs = features.numpy(), self.spec.kind, self.spec.num_outputs
        nodes = _Nodes(outputs, self.trees)
        if kind is TargetKind.MULTICLASS:
            labels = target.numpy()
            there = np.unique(labels)
            nodes.baseline[:] = log_scores(labels, outputs)
            if len(there) > 1:
                nodes.add(self._fitted(x, labels, seed), there)
        else:
            for output, labels in enumerate(models_of(target.numpy(), kind)):
                nodes.baseline[output] = log_odds(labels)
                if labels.min() < labels.max():
                    nodes.add(self._fitted(x, labels, seed), [output])
        return nodes.tensors()

    def decide(self, features: Tensor) -> Tensor:
        """Send every row down every tree and add the values of the leaves that it reaches."""
        rows = features.double()
        at = self.roots.flatten().expand(len(rows), -1)  # [rows, outputs * trees]
        for _ in range(int(self.depth)):
            read = rows.gather(1, self.feature[at])
            at = torch.where(read <= self.threshold[at], self.left[at], self.right[at])
        reached = self.value[at].reshape(len(rows), *self.roots.shape).sum(dim=-1)
        return (self.baseline + reached).to(features.dtype)

    def _fitted(self, x: NDArray[Any], labels: NDArray[np.int64], seed: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            max_iter=self.trees,
            learning_rate=self.shrinkage,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.leaf_rows,
            l2_regularization=self.penalty,
            early_stopping=False,
            random_state=seed,
        ).fit(x, labels)


class _Nodes:
    """The nodes of all trees, one after the other; node 0 is a leaf that adds nothing.

    Args:
        outputs: Labels or classes.
        trees: Of each.
    """

    def __init__(self, outputs: int, trees: int) -> None:
        self.baseline = np.zeros(outputs)
        self._roots = np.zeros((outputs, trees), dtype=np.int64)
        self._columns: dict[str, list[NDArray[Any]]] = {
            n: [np.zeros(1)] for n in ("feature", "left", "right", *_NUMBERS)
        }
        self._count, self._depth = 1, 0

    def add(self, fitted: Any, outputs: Sequence[int] | NDArray[np.int64]) -> None:
        """Take over a fitted model of scikit-learn, whose scores are those of some of the outputs."""
        start = np.ravel(fitted._baseline_prediction)  # noqa: SLF001 - no public way to a fitted model's nodes
        trees = fitted._predictors  # noqa: SLF001
        if len(outputs) == 2:  # of two classes the difference is given
            self.baseline[np.asarray(outputs)] = (-start[0] / 2, start[0] / 2)
            for number, (tree,) in enumerate(trees):
                for output, share in zip(outputs, (-0.5, 0.5), strict=True):
                    self._roots[output, number] = self._tree(tree.nodes, share)
            return
        self.baseline[np.asarray(outputs)] = start
        for number, round_ in enumerate(trees):
            for output, tree in zip(outputs, round_, strict=True):
                self._roots[output, number] = self._tree(tree.nodes, 1.0)

    def _tree(self, nodes: NDArray[Any], share: float) -> int:
        """Append a tree, with a share of its values; return its first node. A leaf leads to itself."""
        first, own = self._count, np.arange(len(nodes))
        leaf = nodes["is_leaf"].astype(bool)
        found = {
            "feature": np.where(leaf, 0, nodes["feature_idx"]),
            "threshold": np.where(leaf, 0.0, nodes["num_threshold"]),
            "left": first + np.where(leaf, own, nodes["left"]),
            "right": first + np.where(leaf, own, nodes["right"]),
            "value": np.where(leaf, share * nodes["value"], 0.0),
        }
        for name, values in found.items():
            self._columns[name].append(values)
        self._count += len(nodes)
        self._depth = max(self._depth, int(nodes["depth"].max()))
        return first

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it as the buffers hold it."""
        columns = {n: np.concatenate(parts) for n, parts in self._columns.items()}
        return {
            "baseline": torch.from_numpy(self.baseline),
            "roots": torch.from_numpy(self._roots),
            "depth": torch.tensor(self._depth),
            **{n: torch.from_numpy(v.astype(np.int64 if n in _INDICES else np.float64)) for n, v in columns.items()},
        }


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``gradient_boosting``."""
    register("gradient_boosting", GradientBoosting)
