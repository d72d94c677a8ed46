"""Checks that hold for fusion strategies only."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fusionbench.contract.stages import Stage
from fusionbench.heads import follows_head
from fusionbench.targets import TargetKind
from fusionbench.testing.assertions import expect, expect_equal, expect_finite, loss_and_gradients
from fusionbench.testing.batches import Case, fill
from fusionbench.testing.subjects import CheckSkippedError, Subject

LABEL_WORDS = {"label", "labels", "target", "targets", "y", "y_true"}


def check_forward_takes_the_batch_and_nothing_else(subject: Subject) -> None:
    """Labels are kept out of prediction by construction: ``forward`` has no argument that could hold them.

    Mend: ``def forward(self, batch)``; whatever needs labels belongs in ``loss``, ``modulate`` or ``statistics``.
    """
    arguments = [name for name in inspect.signature(subject.plugin.forward).parameters if name != "self"]
    labels = LABEL_WORDS & {name.lower() for name in arguments}
    assert not labels, f"{subject.plugin.__name__}.forward takes {', '.join(sorted(labels))}"
    assert len(arguments) == 1, f"{subject.plugin.__name__}.forward must take the batch only, found {arguments}"


def check_prediction_ignores_labels(subject: Subject) -> None:
    """A strategy that keeps labels it met in ``loss`` would predict training rows from their answers.

    Mend: store nothing in ``loss``, ``modulate``, ``head_losses`` and ``statistics``.
    """
    for case in subject.cases:
        part = subject.trained(case)
        wanted = subject.predict(part, case.batch)
        for target in (case.target, _garbage(case)):
            labelled = replace(case, target=target)
            loss_and_gradients(subject, part, labelled)
            with torch.no_grad():
                subject.statistics(part, case.batch, target)
                part.head_losses(subject.call(part, case.batch), case.batch, target)  # type: ignore[operator]
            found = subject.predict(part, case.batch)
            expect_equal(found, wanted, case, "the prediction changed after the strategy had seen labels")


def _garbage(case: Case) -> Tensor:
    """Other labels that are valid for the kind."""
    if case.spec.kind is TargetKind.MULTICLASS:
        return (case.target + 1) % case.spec.num_outputs
    return 1 - case.target


def check_logits_have_one_row_per_sample_and_one_column_per_output(subject: Subject) -> None:
    """Losses, metrics and stacking rely on ``[batch, num_outputs]``, also for one row and one output.

    Mend: no ``squeeze`` on the result; put unimodal logits of the same shape in ``aux["unimodal.<name>"]``.
    """
    for whole in subject.cases:
        part = subject.trained(whole)
        for case in (whole, whole.rows([0])):
            wanted = (len(case.target), case.spec.num_outputs)
            for name, tensor in subject.predict(part, case.batch).items():
                expect(tuple(tensor.shape) == wanted, case, f"{name} has shape {tuple(tensor.shape)}, wanted {wanted}")
                expect(torch.isfinite(tensor).all(), case, f"{name} is not finite")
                modality = name.removeprefix("unimodal.")
                expect(modality in {"logits", *case.spec.names}, case, f"aux names an unknown modality: {name}")


def check_imputed_content_counts_as_shown(subject: Subject) -> None:
    """Imputers are compared through strategies; one that looks at ``present`` alone ignores what was filled in.

    Mend: read through ``batch.completed(name)`` and ``batch.usable(name)``. A strategy that treats imputed
    content differently on purpose declares ``expected_failures`` with the reason.
    """
    for case in subject.cases:
        part = subject.trained(case)
        absent = {name: ~rows for name, rows in case.batch.present.items()}
        imputed = case.with_batch(imputed=absent)
        shown = case.with_batch(present={name: torch.ones_like(rows) for name, rows in absent.items()})
        found, wanted = subject.predict(part, imputed.batch), subject.predict(part, shown.batch)
        expect_equal(found, wanted, case, "imputed content is not treated as if it had been observed")


def check_presence_is_used_only_where_declared(subject: Subject) -> None:
    """``uses_presence = False`` promises that an absent modality and an all-zero embedding are the same.

    Mend: read embeddings through ``batch.completed(name)``; where presence itself is meant to count, also through a bias
    or a mask, set ``uses_presence = True``.
    """
    if subject.plugin.uses_presence:
        raise CheckSkippedError("it says uses_presence = True")
    for case in subject.cases:
        part = subject.trained(case)
        zeros = {name: case.batch.completed(name) for name in case.spec.names}
        shown = {name: torch.ones_like(rows) for name, rows in case.batch.present.items()}
        found = subject.predict(part, case.with_batch(features=zeros, present=shown).batch)
        wanted = subject.predict(part, case.batch)
        expect_equal(found, wanted, case, "who is present decides the prediction beyond zero filling")


def check_only_declared_modalities_are_read(subject: Subject) -> None:
    """``reads`` promises that the other modalities need not be encoded; they then hold nothing meaningful.

    Mend: name every modality that ``forward`` or ``loss`` looks at in ``reads``, or leave it None.
    """
    for case in subject.cases:
        part: Any = subject.trained(case)
        if part.reads is None:
            raise CheckSkippedError("it reads every modality")
        unread = {name: torch.full_like(rows, name not in part.reads) for name, rows in case.batch.present.items()}
        emptied = replace(case, batch=fill(case.batch, unread, float("nan")))
        message = f"the answer depends on more than {', '.join(part.reads)}"
        expect_equal(subject.predict(part, emptied.batch), subject.predict(part, case.batch), case, message)
        found, wanted = (loss_and_gradients(subject, part, c)["loss"] for c in (emptied, case))
        expect_equal({"loss": found}, {"loss": wanted}, case, message)


def check_every_parameter_can_learn(subject: Subject) -> None:
    """A parameter that no stage's loss reaches is dead weight, and often a forgotten connection.

    Mend: use the parameter, or do not create it for these options.
    """
    for case in subject.some(4):
        part = subject.trained(case)
        reached: set[str] = set()
        for stage in subject.stages(part):
            for overrides in stage.replicas or [{}]:
                _load(part, {**stage.overrides, **overrides})
                reached |= _reached(subject, part, case)
        wanted = {name for name, parameter in part.named_parameters() if parameter.requires_grad}
        expect(wanted <= reached, case, f"no loss reaches {', '.join(sorted(wanted - reached))}")


def _reached(subject: Subject, part: Any, case: Case) -> set[str]:
    """Names of parameters that the loss depends on."""
    parameters = {name: p for name, p in part.named_parameters() if p.requires_grad}
    loss = subject.loss(part, subject.call(part, case.batch), case.batch, case.target)
    if not parameters or not loss.requires_grad:
        return set()
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}


def check_depth_is_that_of_the_benchmark_or_is_owned(subject: Subject) -> None:
    """Strategies whose heads differ in depth measure that depth; ``model.head`` is one setting for all whose head is free.

    Mend: build heads with ``fusionbench.heads.head`` or ``unimodal_heads``; where the depth is part of the method, say why in
    ``owns_depth``, and only there.
    """
    spec = subject.cases[0].spec
    try:
        follows = follows_head(subject.build, spec)
    except ValueError as refusal:
        raise CheckSkippedError(f"its options allow one depth only: {refusal}") from refusal
    owned = subject.plugin.owns_depth
    if follows:
        assert not owned, f"owns_depth says {owned!r}, and its parameters follow model.head"
    elif not owned:
        raise CheckSkippedError("its depth does not follow model.head, and owns_depth does not say why: plans name it")


def check_it_can_begin_at_the_prevalence(subject: Subject) -> None:
    """Every model is told the prevalence of its training rows before it is trained; what that breaks stays broken.

    Mend: ``start_at`` sets the biases of output layers in place, or does nothing; what it sets is finite.
    """
    for case in subject.cases:
        part: Any = subject.trained(case)
        before = {name: (tensor.shape, tensor.dtype) for name, tensor in part.state_dict().items()}
        for share in (1e-4, 0.5, 0.999):
            logits = torch.full((case.spec.num_outputs,), share, dtype=torch.float64).logit()
            with torch.no_grad():
                part.start_at(logits)
            after = {name: (tensor.shape, tensor.dtype) for name, tensor in part.state_dict().items()}
            expect(after == before, case, "start_at changed the names, shapes or types of parameters or buffers")
            expect_finite(subject.predict(part, case.batch), case, "what is predicted after start_at is not finite")


def check_stages_can_be_run(subject: Subject) -> None:
    """The loop finds out about a wrong buffer name or prefix hours into a run; the kit finds it now.

    Mend: ``overrides`` name buffers and keep their shapes; ``epochs`` is positive; prefixes begin with
    ``encoder.``, ``project.``, ``imputer.`` or ``fusion.``; ``select="per_modality"`` needs ``modality_logits``.
    """
    for case in subject.cases:
        part = subject.trained(case)
        stages = subject.stages(part)
        expect(len(stages) > 0, case, "stages() is empty")
        expect(len({stage.name for stage in stages}) == len(stages), case, "two stages share a name")
        for stage in stages:
            _check_stage(subject, part, stage, case)


def _check_stage(subject: Subject, part: Any, stage: Stage, case: Case) -> None:
    expect(stage.epochs > 0, case, f"stage {stage.name!r} has no epochs")
    expect(0 <= stage.holdout < 1, case, f"stage {stage.name!r} holds out {stage.holdout}")
    prefixes = ("encoder.", "project.", "imputer.", "fusion.")
    for prefix in (*stage.frozen, *(stage.keep or ())):
        expect(prefix.startswith(prefixes), case, f"stage {stage.name!r}: no parameter begins with {prefix!r}")
    if stage.select == "per_modality":
        logits = part.modality_logits(subject.call(part, case.batch), case.batch)
        expect(len(logits) > 0, case, f"stage {stage.name!r} selects per modality; modality_logits() is empty")
    for overrides in stage.replicas or [{}]:
        _load(part, {**stage.overrides, **overrides}, stage.name, case)
        message = f"stage {stage.name!r}: loss or gradient is not finite"
        expect_finite(loss_and_gradients(subject, part, case), case, message)


def _load(part: Any, overrides: Mapping[str, Tensor], stage: str = "", case: Case | None = None) -> None:
    """Set buffers as a stage does, and fail when they are not there."""
    buffers = dict(part.named_buffers())
    for name, value in overrides.items():
        if case is not None:
            expect(name in buffers, case, f"stage {stage!r} overrides {name!r}, which is no buffer")
            same = buffers[name].shape == value.shape
            expect(same, case, f"stage {stage!r} gives {name!r} another shape: {tuple(value.shape)}")
        buffers[name].copy_(value)


def check_head_losses_come_with_their_rows(subject: Subject) -> None:
    """Blend weights are estimated from row losses and the rows that count; one without the other is a mean of what?

    Mend: return pairs ``name`` and ``name.rows``, each ``[batch]``, with ``joint`` among them.
    """
    for case in subject.cases:
        part = subject.trained(case)
        with torch.no_grad():
            losses = part.head_losses(subject.call(part, case.batch), case.batch, case.target)  # type: ignore[operator]
        heads = {name.removesuffix(".rows") for name in losses}
        expect("joint" in heads, case, "head_losses has no entry 'joint'")
        expect(set(losses) == heads | {f"{n}.rows" for n in heads}, case, f"entries are not pairs: {sorted(losses)}")
        for name, tensor in losses.items():
            shape = tuple(tensor.shape)
            expect(shape == (len(case.target),), case, f"head_losses[{name!r}] has shape {shape}")
        expect_finite(losses, case, "a head loss is not finite")
