"""A small task given as a plugin file: two informative vectors and a noisy one, a few hundred rows."""

from __future__ import annotations

import numpy as np

from fusionbench import Dataset, Modality, TargetKind, Task, hookimpl


class Toy(Task):
    """Vectors whose mean shifts with the label."""

    modality_names = ("a", "b", "c")

    def __init__(self, rows=300, seed=0, kind="binary", effects=(1.0, 0.7, 0.0), width=4, natural=0.1):
        self.rows, self.seed, self.kind, self.effects = rows, seed, TargetKind(kind), effects
        self.width, self.natural = width, natural

    def prepare(self, cache, progress):
        draw = np.random.default_rng(self.seed)
        classes = 3 if self.kind is TargetKind.MULTICLASS else 2
        label = draw.integers(0, classes, self.rows)
        target = label
        if self.kind is TargetKind.MULTILABEL:
            target = np.stack([label, draw.integers(0, 2, self.rows)], axis=1)
        modalities = {}
        for name, effect in zip(self.modality_names, self.effects, strict=True):
            centre = np.zeros((classes, self.width))
            centre[np.arange(classes), np.arange(classes)] = effect * 1.5
            values = draw.normal(size=(self.rows, self.width)) + centre[label]
            modalities[name] = Modality("vector", values.astype(np.float32), standardise=np.ones(self.width, bool))
        available = draw.random((self.rows, 3)) >= self.natural
        available[:, 0] |= ~available.any(axis=1)
        return Dataset(
            modalities=modalities,
            available=available,
            target=target.astype(np.int64),
            kind=self.kind,
            outputs={"binary": ("y",), "multiclass": ("r", "g", "b"), "multilabel": ("y", "z")}[self.kind],
            groups=np.arange(self.rows) // 2,
            digest=f"toy-{self.rows}-{self.seed}-{self.kind}-{self.effects}-{self.width}-{self.natural}",
            synthetic=True,
        )


@hookimpl
def register_tasks(register):
    register("toy", Toy)
