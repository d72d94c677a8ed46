"""Small data in memory, and a benchmark of them, for the tests of the Python API."""

from __future__ import annotations

import numpy as np

import fusionbench

BENCHMARK = {
    "name": "mine",
    "encoders": {"a": "identity", "b": "identity"},
    "model": {"width": 4},
    "strategies": ["concat", "sum"],
    "missingness": {"patterns": ["random", "b"], "rates": [0, 0.3]},
    "splits": {"folds": 2},
    "training": {"epochs": 2},
    "evaluation": {"resamples": 100},
    "observers": ["files", "html"],
}


def arrays(rows=160, seed=0):
    """Two vectors, the second missing in some rows, and a label."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 2, rows)
    a = draw.normal(size=(rows, 3)) + label[:, None]
    b = draw.normal(size=(rows, 2)) + label[:, None]
    b[::5] = np.nan
    return {"a": a, "b": b}, label


def made(**changes):
    """A data set of them."""
    values, label = arrays()
    return fusionbench.dataset(values, label, np.arange(len(label)) // 2, **{"synthetic": True, **changes})


class Plain(fusionbench.FusionStrategy):
    """A head on the mean of what is there."""

    def __init__(self, spec, scale: float = 1.0):
        super().__init__(spec)
        from torch import nn

        self.scale = scale
        self.head = nn.Linear(next(iter(spec.dims.values())), spec.num_outputs)

    def forward(self, batch):
        return self.head(self.scale * sum(batch.observed(name) for name in batch.names))
