"""Who is present under each condition, drawn so that nothing of test rows reaches training.

A mechanism that looks at rows draws training, validation and test rows of each fold apart, from these rows alone: labels, what
a row has, and summaries that are fitted on training rows. One that looks at nothing (``blind``) draws once for all folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fusionbench.contract.data import Dataset
from fusionbench.contract.isolation import owner_of, plugin_call
from fusionbench.contract.mechanism import Missingness, MissingnessContext
from fusionbench.data.splits import Fold
from fusionbench.data.table import RowTable
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.missingness.masks import mask_digest
from fusionbench.missingness.mechanisms import GivenMasks, masks_for
from fusionbench.missingness.subsets import is_subset, shown_mask
from fusionbench.missingness.summaries import first_component
from fusionbench.plan.parts import Part
from fusionbench.seeding import Axis

SHARED = -1  # stands for a fold where all folds share what was drawn
Drawn = dict[Condition, NDArray[np.bool_]]


class Masks:
    """The masks of a run.

    Args:
        dataset: What the task prepared.
        table: Its rows as tensors, which summaries are made of.
        folds: By number.
        mechanism: The plugin that draws.
        wanted: The conditions of the benchmark.
        absent: Modalities that no row has, whatever the condition.
    """

    def __init__(
        self,
        dataset: Dataset,
        table: RowTable,
        folds: Mapping[int, Fold],
        mechanism: Part,
        wanted: Sequence[Condition],
        absent: Sequence[str] = (),
    ) -> None:
        self._kept = ~np.isin(list(dataset.modalities), list(absent))
        self._dataset, self._table, self._folds, self._mechanism = (
            _with_others(dataset, self._kept),
            table,
            folds,
            mechanism,
        )
        self._wanted = [c for c in wanted if c != COMPLETE]
        self._drawn: dict[tuple[int, int], Drawn] = {}
        self._digests: dict[tuple[Condition, int, int], str] = {}
        self._summaries: dict[int, NDArray[np.float64]] = {}

    def mask(self, condition: Condition, seed: int, fold: int) -> NDArray[np.bool_]:
        """Bool ``[rows, modalities]``: who is present under a condition; the same for every arm."""
        present = self._present(condition, seed, fold)
        return present if self._kept.all() else present & self._kept

    def _present(self, condition: Condition, seed: int, fold: int) -> NDArray[np.bool_]:
        if condition == COMPLETE:
            return self._dataset.available
        if is_subset(condition):
            return shown_mask(self._dataset.available, list(self._dataset.modalities), condition)
        return self._of(seed, fold)[condition]

    def digest(self, condition: Condition, seed: int, fold: int) -> str:
        """Return the digest of a mask."""
        if condition == COMPLETE or is_subset(condition):
            seed = fold = SHARED
        elif self._shared:
            fold = SHARED
        key = (condition, seed, fold)
        if key not in self._digests:
            self._digests[key] = mask_digest(self.mask(condition, seed, fold))
        return self._digests[key]

    @cached_property
    def _shared(self) -> bool:
        """Whether folds share what is drawn."""
        mechanism: Missingness = self._mechanism.build()
        if isinstance(mechanism, GivenMasks):
            return not getattr(mechanism, "by_fold", False)
        return mechanism.blind

    def _of(self, seed: int, fold: int) -> Drawn:
        fold = SHARED if self._shared else fold
        if (seed, fold) not in self._drawn:
            mechanism: Missingness = self._mechanism.build()
            with plugin_call(owner_of(mechanism)):
                self._drawn[seed, fold] = self._draw(mechanism, seed, fold)
        return self._drawn[seed, fold]

    def _draw(self, mechanism: Missingness, seed: int, fold: int) -> Drawn:
        if mechanism.blind or isinstance(mechanism, GivenMasks):
            names, nothing = tuple(self._dataset.modalities), np.empty(0, dtype=np.int64)
            number = None if fold == SHARED else fold
            return self._masks(
                mechanism, MissingnessContext(self._dataset.available, names, nothing, fold=number), seed, {}
            )
        drawn = {c: self._dataset.available.copy() for c in self._wanted}
        for part, rows in self._parts(fold).items():
            found = self._masks(mechanism, self._context(mechanism, rows, fold), seed, {"fold": fold, "part": part})
            for condition, mask in found.items():
                drawn[condition][rows] = mask
        return drawn

    def _parts(self, fold: int) -> dict[str, NDArray[np.int64]]:
        own = self._folds[fold]
        development = {"train": own.development.train, "validation": own.development.validation}
        return {**development, "test": own.test.to_draw_masks()}

    def _context(self, mechanism: Missingness, rows: NDArray[np.int64], fold: int) -> MissingnessContext:
        dataset = self._dataset
        summaries = self._fitted(fold)[rows] if mechanism.uses_summaries else None
        return MissingnessContext(
            dataset.available[rows], tuple(dataset.modalities), dataset.target[rows], summaries, fold
        )

    def _masks(self, mechanism: Missingness, context: MissingnessContext, seed: int, axes: Mapping[str, Axis]) -> Drawn:
        name = self._mechanism.registration.name
        drawn = masks_for(mechanism, context, self._wanted, name=name, seed=seed, axes=axes)
        return dict(zip(self._wanted, drawn, strict=True))

    def _fitted(self, fold: int) -> NDArray[np.float64]:
        """Float ``[rows, modalities]``: summaries as training rows of a fold have them."""
        if fold not in self._summaries:
            train = self._folds[fold].development.train
            columns = [
                first_component(self._table.values[n].cpu().numpy(), self._dataset.available[:, i], train)
                for i, n in enumerate(self._dataset.modalities)
            ]
            self._summaries[fold] = np.stack(columns, axis=1)
        return self._summaries[fold]


def _with_others(dataset: Dataset, kept: NDArray[np.bool_]) -> Dataset:
    """The data set as mechanisms see it: without what is absent always, where a row has anything else.

    Mechanisms leave something to every row that has something; a row that has nothing else keeps what it has for them.
    """
    if kept.all():
        return dataset
    others = dataset.available & kept
    return replace(dataset, available=np.where(others.any(axis=1, keepdims=True), others, dataset.available))
