"""Checks that rows which lack something still give finite losses and gradients."""

from __future__ import annotations

import torch

from fusionbench.contract.batch import Batch
from fusionbench.testing.assertions import expect_finite, loss_and_gradients
from fusionbench.testing.batches import Case
from fusionbench.testing.subjects import Subject


def check_single_modality_rows_train(subject: Subject) -> None:
    """Most real rows lack something; one row with a NaN gradient ends the training of a whole population.

    Mend: guard divisions by counts with ``clamp_min(1)``; never ``softmax`` over only masked entries; no
    square root or logarithm of an exact zero.
    """
    for case in subject.one_per_spec():
        for training in (False, True):
            part = subject.trained(case).train(training)
            for name in case.spec.names:
                alone = Case(f"{case.name}, only {name}", case.spec, _only(case.batch, name), case.target)
                expect_finite(loss_and_gradients(subject, part, alone), alone, "loss or gradient is not finite")
                one = alone.rows([0])
                expect_finite(loss_and_gradients(subject, part, one), one, "loss or gradient of one row is not finite")


def _only(batch: Batch, name: str) -> Batch:
    """Every row has ``name`` and nothing else."""
    masks = {n: torch.full_like(p, n == name) for n, p in batch.present.items()}
    return Batch(batch.features, masks, masks, {}, batch.zero_input, batch.latents)


def check_rows_without_any_modality_stay_finite(subject: Subject) -> None:
    """Rows are never empty by contract, yet in a batch one modality may be shown to nobody, or all be hidden.

    Mend: as for single modalities; let such a row's prediction be what is left, the bias or the prevalence.
    """
    for case in subject.one_per_spec():
        nobody = {name: torch.zeros_like(rows) for name, rows in case.batch.present.items()}
        empty = case.with_batch(present=nobody)
        part = subject.trained(case)
        expect_finite(subject.predict(part, empty.batch), case, "the answer for rows without modalities is not finite")
        expect_finite(
            loss_and_gradients(subject, part, empty), case, "the loss for rows without modalities is not finite"
        )
