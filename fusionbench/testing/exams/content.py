"""Checks of what may decide the answer: present content of the same row, and nothing else."""

from __future__ import annotations

import torch

from fusionbench.testing.assertions import expect, expect_equal, loss_and_gradients
from fusionbench.testing.batches import fill
from fusionbench.testing.subjects import Subject


def check_absent_content_is_never_read(subject: Subject) -> None:
    """Content of an absent modality is undefined; a plugin that reads it learns from noise, or from the future.

    Mend: read through ``batch.completed(name)`` or ``batch.observed(name)``; select with ``torch.where``,
    since 0 * NaN is NaN.
    """
    for case in subject.cases:
        part = subject.trained(case)
        wanted = subject.predict(part, case.batch)
        gradients = loss_and_gradients(subject, part, case)
        hidden = {name: ~case.batch.usable(name) for name in case.batch.names}
        absent = {name: rows & ~case.batch.available[name] for name, rows in hidden.items()}
        for value in (1e30, float("nan")):
            found = subject.predict(part, fill(case.batch, hidden, value))
            expect_equal(found, wanted, case, f"the answer changed when absent rows were filled with {value}")
            changed = case.with_batch(features=fill(case.batch, absent, value).features)
            found = loss_and_gradients(subject, part, changed)
            expect_equal(found, gradients, case, f"the loss changed when absent rows were filled with {value}")


def check_output_of_a_row_ignores_other_rows(subject: Subject) -> None:
    """A patient's risk must not depend on who else is in the batch; batch statistics would make it so.

    Mend: reduce over features or modalities, never over rows, outside ``loss`` and ``statistics``.
    """
    for case in subject.cases:
        rows = len(case.target)
        for training in (False, True):
            part = subject.trained(case).train(training)
            whole = subject.predict(part, case.batch)
            for index in ([0], [rows - 1], list(reversed(range(rows // 2)))):
                found = subject.predict(part, case.rows(index).batch)
                wanted = {name: tensor[index] for name, tensor in whole.items()}
                mode = "training" if training else "evaluation"
                expect_equal(found, wanted, case, f"rows influence each other in {mode} mode")


def check_evaluation_is_deterministic(subject: Subject) -> None:
    """The same rows must be given the same scores, whatever was computed before.

    Mend: no randomness in evaluation mode, no counters or caches in ``forward``.
    """
    for case in subject.cases:
        part = subject.trained(case)
        first, second = subject.predict(part, case.batch), subject.predict(part, case.batch)
        for name, tensor in first.items():
            expect(torch.equal(tensor, second[name]), case, f"two calls gave different answers ({name})")
