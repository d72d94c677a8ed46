"""Rows for fitted strategies: embeddings with gaps, as a strategy is given them, and what it makes of them."""

from __future__ import annotations

import numpy as np
import torch

from fusionbench import Batch, FusionSpec, TargetKind
from fusionbench.testing.subjects import take_over

DIMS = {"a": 4, "b": 3}
OUTPUTS = {TargetKind.BINARY: 1, TargetKind.MULTICLASS: 4, TargetKind.MULTILABEL: 3}


def spec_of(kind):
    return FusionSpec(DIMS, OUTPUTS[kind], kind)


def batch_of(rows=300, seed=0):
    draw = np.random.default_rng(seed)
    features = {n: torch.from_numpy(draw.normal(size=(rows, d))) for n, d in DIMS.items()}
    present = {n: torch.from_numpy(draw.random(rows) < 0.7) for n in DIMS}
    return Batch(features=features, present=present, available=present)


def labels_of(batch, kind, seed=1):
    """Labels that the first two columns decide, with noise."""
    draw = np.random.default_rng(seed)
    score = (batch.observed("a")[:, 0] + batch.observed("b")[:, 0]).numpy() + draw.normal(size=len(batch.features["a"]))
    if kind is TargetKind.BINARY:
        return torch.from_numpy((score > 0.3).astype(np.int64))
    if kind is TargetKind.MULTICLASS:
        return torch.from_numpy(np.digitize(score, [-1, 0, 1]).astype(np.int64))
    return torch.from_numpy(np.stack([score > t for t in (-1, 0, 1)], axis=1).astype(np.int64))


def plain_features(batch):
    """The same columns, put together by hand."""
    columns = [np.where(batch.present[n].numpy()[:, None], batch.features[n].numpy(), 0.0) for n in DIMS]
    flags = [batch.present[n].numpy()[:, None].astype(float) for n in DIMS]
    return np.concatenate([*columns, *flags], axis=1)


def fitted(strategy, kind, batch, target, **options):
    """The strategy fitted to a batch."""
    part = strategy(spec_of(kind), **options)
    take_over(part, part.fit(part.inputs(batch), target, 7))
    return part
