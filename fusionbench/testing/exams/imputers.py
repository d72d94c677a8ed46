"""Checks that hold for imputers only."""

from __future__ import annotations

import torch

from fusionbench.testing.assertions import expect, expect_equal
from fusionbench.testing.batches import fill
from fusionbench.testing.subjects import Subject


def check_observed_content_is_kept(subject: Subject) -> None:
    """An imputer that changes what was observed is a fusion strategy in disguise.

    Mend: ``torch.where(batch.present[name], batch.features[name], filled)``; leave ``present`` as it is.
    """
    for case in subject.cases:
        part = subject.trained(case)
        with torch.no_grad():
            completed = subject.call(part, case.batch)
        expect(completed.names == case.batch.names, case, "the modalities changed")
        for name, rows in case.batch.present.items():
            expect(torch.equal(completed.present[name], rows), case, f"the imputer changed who has {name}")
            kept, wanted = completed.features[name][rows], case.batch.features[name][rows]
            expect(torch.equal(kept, wanted), case, f"the imputer changed observed {name}")


def check_filled_rows_are_finite_and_marked(subject: Subject) -> None:
    """Strategies read a filled row only when ``imputed`` says so, and then they rely on its content.

    Mend: return ``imputed`` with one bool tensor ``[batch]`` for each modality that was filled.
    """
    for case in subject.cases:
        part = subject.trained(case)
        hidden = {name: ~rows for name, rows in case.batch.present.items()}
        with torch.no_grad():
            completed = subject.call(part, fill(case.batch, hidden, float("nan")))
        for name, rows in completed.imputed.items():
            expect(rows.dtype == torch.bool, case, f"imputed[{name!r}] is {rows.dtype}, not bool")
            expect(rows.shape == case.batch.present[name].shape, case, f"imputed[{name!r}] is not one entry per row")
            expect(torch.isfinite(completed.completed(name)).all(), case, f"filled content of {name} is not finite")
            expect(completed.features[name].shape == case.batch.features[name].shape, case, f"{name} changed its shape")


def check_hidden_truth_is_never_read(subject: Subject) -> None:
    """In training some rows are hidden on purpose and their true content is still in the batch, as the answer.

    Mend: fill from ``batch.observed(...)``; read ``batch.features`` of hidden rows in ``loss`` only.
    """
    for case in subject.cases:
        part = subject.trained(case)
        hidden = {name: ~rows for name, rows in case.batch.present.items()}
        found = subject.predict(part, fill(case.batch, hidden, 1e30))
        expect_equal(found, subject.predict(part, case.batch), case, "the filling depends on the hidden truth")


def check_code_has_the_declared_width(subject: Subject) -> None:
    """Strategies are built for ``latent_dim`` before the imputer has seen a row.

    Mend: set ``self.latent_dim`` in the constructor to the width of ``Batch.latents``, 0 for none.
    """
    for case in subject.cases:
        part = subject.trained(case)
        with torch.no_grad():
            latents = subject.call(part, case.with_batch(latents=None).batch).latents
        width = 0 if latents is None else latents.shape[-1]
        expect(width == part.latent_dim, case, f"latent_dim is {part.latent_dim}, the code has width {width}")
