"""Which rows a model sees, and what of them: masks, training and validation rows, tables completed beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionbench.contract.data import Dataset
from fusionbench.contract.learners import Imputer
from fusionbench.data.completion import complete_table, fit_imputer
from fusionbench.data.inner_folds import inner_folds, number_of, usable
from fusionbench.data.splits import Development, Fold
from fusionbench.data.table import RowTable
from fusionbench.errors import DataError
from fusionbench.missingness.conditions import Condition, condition_label
from fusionbench.missingness.masks import MASK_NAME
from fusionbench.plan.jobs import FitJob, StudyJob, conditions
from fusionbench.plan.parts import Arm, Part
from fusionbench.run.execution import Job
from fusionbench.run.masks import Masks
from fusionbench.seeding import numpy_generator, seed_for
from fusionbench.store.results import Store
from fusionbench.training.blueprint import SHARED, Blueprint
from fusionbench.training.members import Member
from fusionbench.training.model import seeded

UNPAIRED = "unpaired_share"
"""The common parameter that says which share of the rows that lack something is trained on."""
COMPLETED_TABLES = 8  # how many tables of an imputer of inputs are kept in memory


class ModelRows:
    """The rows of a data set under every condition, for every arm, fold and seed.

    Args:
        dataset: What the task prepared.
        table: Its rows as tensors.
        folds: By number.
        blueprint: How models are built.
        mechanism: The plugin that draws who is missing.
    """

    def __init__(
        self, dataset: Dataset, table: RowTable, folds: Mapping[int, Fold], blueprint: Blueprint, mechanism: Part
    ) -> None:
        self.dataset, self.table, self.folds = dataset, table, folds
        self.blueprint = blueprint
        self.device = table.device
        given = (dataset, table, folds, mechanism, conditions(blueprint.benchmark))
        absent = blueprint.benchmark.missingness.absent
        self._masks = Masks(*given)
        self._in_use = Masks(*given, absent) if absent else self._masks
        kept = ~np.isin(list(dataset.modalities), list(absent))
        self.used = replace(dataset, available=dataset.available & kept) if absent else dataset
        """The data set as models meet it in use: what is always absent then is not there."""
        self.mask, self.mask_digest = self._masks.mask, self._masks.digest
        self.used_mask, self.used_digest = self._in_use.mask, self._in_use.digest
        self._completed: dict[tuple[str, int, int, Condition, Condition, int, bool], tuple[RowTable, Tensor]] = {}
        self._inner: dict[int, list[Development]] = {}

    # ---------------------------------------------------------------- who is present

    def shown(self, condition: Condition, seed: int, fold: int, arm: Arm, *, used: bool = False) -> Tensor:
        """Bool ``[rows, modalities]``: who is present under a condition, of what the arm may see; ``used``: when it is used."""
        names = list(self.dataset.modalities)
        columns = np.isin(names, arm.seen(names))
        mask = (self.used_mask if used else self.mask)(condition, seed, fold)
        return torch.as_tensor(mask & columns, device=self.device)

    def keep_masks(self, points: Sequence[tuple[Condition, int, int]], store: Store) -> None:
        """Store the masks of conditions, seeds and folds, so that they can be cited and reused."""
        for digest, mask in {(self.mask_digest, self.mask), (self.used_digest, self.used_mask)}:
            for name, point in {digest(*point)[:MASK_NAME]: point for point in points}.items():
                store.save_mask(name, mask(*point))

    # ---------------------------------------------------------------- what a model is given

    def inner(self, fold: int) -> list[Development]:
        """The splits of a fold's development rows over which trials of tuning are compared; the first is the fold's own.

        Raises:
            DataError: There are not as many as the benchmark asks for.
        """
        if fold not in self._inner:
            own, benchmark = self.folds[fold].development, self.blueprint.benchmark
            number = number_of(self.dataset, own, benchmark.tuning.inner_folds)
            self._inner[fold] = inner_folds(self.dataset, own, number, benchmark.splits.salt)
        return self._inner[fold]

    def splits(self, study: StudyJob, seed: int) -> list[int]:
        """Return the numbers of the inner folds that a study's trials are trained on."""
        if study.inner == 1:
            return [0]
        every = range(study.inner)
        shown = [self._showing(study.arm, study.fold, seed, study.condition, split) for split in every]
        return usable(self.dataset, [(t.cpu().numpy(), v.cpu().numpy()) for t, v in shown])

    def _part(self, fold: int, split: int) -> Development:
        return self.inner(fold)[split] if split else self.folds[fold].development

    def _showing(self, arm: Arm, fold: int, seed: int, condition: Condition, split: int) -> tuple[Tensor, Tensor]:
        rows = self._part(fold, split)
        shows = self.shown(condition, seed, fold, arm).any(dim=1)
        parts = [torch.as_tensor(part, device=self.device) for part in (rows.train, rows.validation)]
        train, validation = [part[shows[part]] for part in parts]
        return train, validation

    def development(
        self, arm: Arm, fold: int, seed: int, condition: Condition, split: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Training and validation rows that show anything of what the arm may see.

        Args:
            arm: What is trained.
            fold: Number of the fold.
            seed: Number of the repetition.
            condition: What the rows lack.
            split: Number of the inner fold; 0: the fold's own split.

        Raises:
            DataError: There are none.
        """
        train, validation = self._showing(arm, fold, seed, condition, split)
        if len(train) == 0 or len(validation) == 0:
            raise DataError(
                f"{arm.strategy.where}.modalities: fold {fold} has {len(train)} training and {len(validation)} "
                f"validation rows with any of {', '.join(arm.modalities or ())} at {condition_label(condition)}; "
                "each needs one at least: add a modality, or leave the strategy out"
            )
        return train, validation

    def _paired_and(self, share: float, train: Tensor, paired: NDArray[np.bool_], fold: int, seed: int) -> Tensor:
        """Training rows that show all that a model reads, and a share of the others.

        Which ones is drawn once for a fold and a seed, so that a larger share holds a smaller one, whatever the strategy.
        """
        drawn = numpy_generator("unpaired rows", fold=fold, seed=seed).random(len(self.dataset))[train.cpu().numpy()]
        others = np.flatnonzero(~paired)
        kept = others[np.argsort(drawn[others], kind="stable")][: round(share * len(others))]
        rows = np.sort(np.concatenate([np.flatnonzero(paired), kept]))
        return train[torch.as_tensor(rows, device=train.device)] if len(rows) else train

    def learnt_by(self, fit: FitJob) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Training and validation rows of a model."""
        train, validation = self.development(fit.arm, fit.fold, fit.seed, fit.condition)
        return train.cpu().numpy(), validation.cpu().numpy()

    def batches(self, fit: FitJob, batch_size: int) -> int:
        """Optimiser steps of an epoch of a model."""
        train = len(self.learnt_by(fit)[0])
        return train // min(batch_size, train)

    def trained_on(self, fold: int, split: int = 0) -> NDArray[np.int64]:
        """Training rows of a fold, or of one of its inner folds, whatever they show."""
        return self._part(fold, split).train

    def given(
        self,
        arm: Arm,
        fold: int,
        seed: int,
        trained_at: Condition,
        condition: Condition,
        split: int = 0,
        *,
        used: bool = False,
    ) -> tuple[RowTable, Tensor]:
        """The table that an arm trains on or is scored on (``used``), and bool ``[rows, modalities]``: present, or filled in."""
        present = self.shown(condition, seed, fold, arm, used=used)
        if self.blueprint.input_imputer(arm) is None:
            return self.table, present
        key = (arm.completion, fold, seed, trained_at, condition, split, used)
        if key not in self._completed:
            if len(self._completed) >= COMPLETED_TABLES:
                self._completed.pop(next(iter(self._completed)))
            self._completed[key] = complete_table(self.table, self.fitted(arm, fold, seed, trained_at, split), present)
        return self._completed[key]

    def fitted(self, arm: Arm, fold: int, seed: int, trained_at: Condition, split: int = 0) -> Imputer:
        """Build and fit the arm's imputer of encoder inputs, of what training rows show in training whatever others show later.

        What it draws is keyed as every chance of training is, though it is no part of the model.
        """

        def made() -> Imputer:
            imputer = self.blueprint.input_imputer(arm)
            assert imputer is not None
            train = torch.as_tensor(self.trained_on(fold, split), device=self.device)
            return fit_imputer(self.table, imputer, train, self.shown(trained_at, seed, fold, arm))

        found: Imputer = seeded(seed_for("imputer of inputs", fold=fold, seed=seed), made)
        return found

    def job(
        self,
        arm: Arm,
        fold: int,
        seed: int,
        condition: Condition,
        common: Mapping[str, float],
        own: Mapping[str, Any],
        owner: Any,
        split: int = 0,
    ) -> Job:
        """Return a model to train, of training and validation rows only.

        Args:
            arm: What is trained.
            fold: Number of the fold.
            seed: Number of the repetition.
            condition: What the rows lack.
            common: Learning rate and weight decay, and what else is searched for all: dropout, depth of encoders.
            own: Options of the arm's parts.
            owner: Handed back with the result.
            split: Number of the inner fold; 0: the fold's own split. Each has chances of training of its own, the same for
                every arm and trial.
        """
        rates = {"learning_rate", "weight_decay", UNPAIRED}
        own = {**own, **{f"{SHARED}.{name}": value for name, value in common.items() if name not in rates}}
        train, validation = self.development(arm, fold, seed, condition, split)
        example = self.blueprint.build(arm, 0, own)
        if UNPAIRED in common:
            shown = self.shown(condition, seed, fold, arm)[train][:, list(example.columns)]
            train = self._paired_and(common[UNPAIRED], train, shown.all(dim=1).cpu().numpy(), fold, seed)
        table, present = self.given(arm.tuned(own), fold, seed, condition, condition, split)
        chance = seed_for("inner fold", fold=fold, seed=seed, split=split) if split else seed
        member = Member(
            build=lambda: self.blueprint.build(arm, chance, own, fold=fold),
            table=table,
            fold=fold,
            seed=chance,
            train=train,
            validation=validation,
            present=present,
            learning_rate=common["learning_rate"],
            weight_decay=common["weight_decay"],
            corruption=self.blueprint.policy(arm, example),
            alone=arm.fitted,
        )
        label = f"{arm.label}, fold {fold}, seed {seed}" + (f", inner fold {split}" if split else "")
        return Job(member, self.blueprint.signature(arm, own), label, owner)
