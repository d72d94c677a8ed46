"""Checks that hold for fitted strategies only: what :meth:`fusionbench.FittedStrategy.fit` may do, and what it must."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fusionbench.seeding import torch_generator
from fusionbench.targets import TargetKind, row_losses
from fusionbench.testing.assertions import expect, expect_equal, expect_finite, snapshot
from fusionbench.testing.batches import Case
from fusionbench.testing.subjects import FittedSubject, take_over

ENOUGH_ROWS = 240


def check_fit_returns_values_of_own_buffers(subject: FittedSubject) -> None:
    """What is fitted is kept as plain tensors, stored with the result and moved to the device that scores.

    Mend: ``register_buffer`` what decides the prediction, and return ``{buffer name: tensor}`` from ``fit``; shapes may change.
    """
    for case in subject.cases:
        part = subject.unfitted(case)
        before = snapshot(part)
        state = subject.fit(part, case)
        expect_equal(snapshot(part), before, case, "fit changed the plugin itself")
        buffers = dict(part.named_buffers())
        expect(bool(state), case, "fit returned nothing")
        for name, value in state.items():
            expect(name in buffers, case, f"fit returned {name!r}, which is no buffer")
            expect(
                isinstance(value, Tensor), case, f"fit returned {type(value).__name__} for {name!r}, wanted a tensor"
            )
        expect_finite(
            {n: t for n, t in state.items() if t.is_floating_point()}, case, "fit returned numbers that are not finite"
        )


def check_only_buffers_decide_the_prediction(subject: FittedSubject) -> None:
    """A stored model is scored by another process, which has the buffers and nothing else.

    Mend: keep nothing of what was fitted in attributes; read buffers in ``decide``.
    """
    for case in subject.some(6):
        part = subject.unfitted(case)
        state = subject.fit(part, case)
        take_over(part, state)
        file = io.BytesIO()
        torch.save(dict(state), file)
        file.seek(0)
        fresh = subject.unfitted(case)
        take_over(fresh, torch.load(file, weights_only=True))
        wanted = subject.predict(part, case.batch)
        expect_equal(subject.predict(fresh, case.batch), wanted, case, "the prediction changed by saving and loading")
        copied = subject.predict(copy.deepcopy(part), case.batch)
        expect_equal(copied, wanted, case, "the prediction of a deep copy differs")


def check_the_same_rows_and_seed_fit_the_same(subject: FittedSubject) -> None:
    """A result is stored under what decided it; one that another fit would not give again cannot be cited.

    Mend: hand ``seed`` to whatever draws, and use one thread.
    """
    for case in subject.some(6):
        one, other = (subject.fit(subject.unfitted(case), case, seed=3) for _ in range(2))
        expect_equal(other, one, case, "two fits of the same rows differ")


def check_an_unfitted_model_gives_finite_logits(subject: FittedSubject) -> None:
    """Imputers take what they need of training rows before anything is fitted, and models pass through the strategy then.

    Mend: give every buffer a first value that ``decide`` can read, zeros for instance.
    """
    for case in subject.cases:
        found = subject.predict(subject.unfitted(case), case.batch)
        wanted = (len(case.target), case.spec.num_outputs)
        for name, tensor in found.items():
            expect(tuple(tensor.shape) == wanted, case, f"{name} has shape {tuple(tensor.shape)}, wanted {wanted}")
        expect_finite(found, case, "logits are not finite")


def check_a_label_that_never_differs_can_be_fitted(subject: FittedSubject) -> None:
    """In small folds every training row may have the same label, and a class may have no row.

    Mend: where there is nothing to tell apart, predict a constant, and a small finite score for what never occurred.
    """
    for case in subject.cases:
        for value in (0, 1):
            alike = replace(case, target=torch.full_like(case.target, value))
            part = subject.unfitted(alike)
            take_over(part, subject.fit(part, alike))
            expect_finite(
                subject.predict(part, case.batch), case, f"logits are not finite where every label is {value}"
            )


def check_a_plain_relation_is_learned(subject: FittedSubject) -> None:
    """A control that does not find what one number of one modality says would flatter every method that is held against it.

    Mend: look at how ``fit`` reads the columns of ``features`` and which logit stands for which label.
    """
    for case in subject.one_per_spec():
        told = _telling(case)
        part = subject.unfitted(told)
        constant = _loss(part, subject.predict(part, told.batch)["logits"] * 0, told)
        take_over(part, subject.fit(part, told))
        found = _loss(part, subject.predict(part, told.batch)["logits"], told)
        expect(found < constant, case, f"the loss on its own training rows is {found:.3f}, a constant's {constant:.3f}")


def _loss(part: Any, logits: Tensor, case: Case) -> float:
    return float(row_losses(logits, case.target, part.spec.kind).mean())


def _telling(case: Case) -> Case:
    """Many rows that have everything, whose labels follow from the first column of the first modality."""
    draws = torch_generator("conformance relation", name=case.name)
    spec, kind = case.spec, case.spec.kind
    features = {n: torch.randn(ENOUGH_ROWS, d, generator=draws, dtype=torch.float64) for n, d in spec.dims.items()}
    first = features[spec.names[0]][:, 0].contiguous()
    if kind is TargetKind.MULTICLASS:
        target = torch.bucketize(first, torch.linspace(-1, 1, spec.num_outputs - 1, dtype=torch.float64))
    elif kind is TargetKind.MULTILABEL:
        target = (first > 0).long()[:, None].expand(-1, spec.num_outputs).contiguous()
    else:
        target = (first > 0).long()
    there = {n: torch.ones(ENOUGH_ROWS, dtype=torch.bool) for n in spec.names}
    batch = replace(case.batch, features=features, present=there, available=there, imputed={}, latents=None, extras={})
    return replace(case, batch=batch, target=target)
