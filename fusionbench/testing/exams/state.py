"""Checks of weights, buffers and what is learned from the training split."""

from __future__ import annotations

import copy
import io
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fusionbench.testing.assertions import expect, expect_equal, expect_finite, snapshot, updated
from fusionbench.testing.subjects import CheckSkippedError, Subject


def check_same_seed_gives_same_weights(subject: Subject) -> None:
    """Repetitions are told apart by their seed; weights that depend on anything else cannot be repeated.

    Mend: draw initial values from torch's global generator, which the loop seeds, in the constructor only.
    """
    for case in subject.some(4):
        first, second = (snapshot(subject.build(case.spec, seed=7)) for _ in range(2))
        expect_equal(second, first, case, "two plugins built from one seed differ")


def check_nothing_is_shared_between_models(subject: Subject) -> None:
    """Many models of one class live in one process; what one leaves in the class or module, the next would find.

    Mend: keep nothing in class attributes, module globals or caches; state belongs into the instance's buffers.
    """
    for case in subject.some(4):
        before = _outside(subject.plugin)
        one = subject.trained(case, seed=1)
        wanted = subject.predict(one, case.batch)
        other = subject.trained(case, seed=2)
        subject.predict(other, case.rows(range(len(case.target) // 2)).batch)
        updated(subject, other, case)
        expect_equal(subject.predict(one, case.batch), wanted, case, "another model changed this one's answer")
        changed = sorted(name for name, value in _outside(subject.plugin).items() if before.get(name) != value)
        expect(not changed, case, f"using the plugin changed {', '.join(changed)}")


def _outside(plugin: type[Any]) -> dict[str, str]:
    """What lies outside instances, as text: attributes of the plugin's classes, and globals of their modules."""
    own = [
        c for c in plugin.__mro__ if c.__module__.partition(".")[0] not in {"builtins", "abc", "torch", "fusionbench"}
    ]
    found = {f"{c.__name__}.{name}": value for c in own for name, value in vars(c).items()}
    for module in {c.__module__ for c in own} & set(sys.modules):
        found |= {f"{module}.{name}": value for name, value in vars(sys.modules[module]).items()}
    return {name: repr(value) for name, value in found.items() if _can_change(value)}


def _can_change(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str | tuple | list | dict | set | Tensor)


def check_tensors_are_parameters_or_buffers(subject: Subject) -> None:
    """Tensors in a plain list or attribute are neither trained, nor moved, nor saved, nor stacked.

    Mend: use ``nn.Parameter``, ``register_buffer``, ``nn.ParameterDict`` or ``nn.ModuleDict``.
    """
    case = subject.cases[-1]
    for path, module in subject.trained(case).named_modules():
        for name, value in vars(module).items():
            if name not in {"_parameters", "_buffers", "_modules"} and _holds_tensors(value):
                where = f"{path}.{name}".lstrip(".")
                expect(condition=False, case=case, message=f"{where} holds tensors that torch does not know of")


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_tensors, value.values()))
    if isinstance(value, list | tuple | set):
        return any(map(_holds_tensors, value))
    return isinstance(value, Tensor | nn.Module)


def check_state_survives_saving(subject: Subject) -> None:
    """The best epoch is saved and loaded; state that is not in ``state_dict`` is lost on the way.

    Mend: keep what decides the prediction in parameters and (persistent) buffers.
    """
    for case in subject.some(6):
        part = subject.trained(case, seed=1)
        if getattr(part, "level", "") == "input":
            raise CheckSkippedError("works on inputs: it is fitted on training rows, not saved")
        part.load_state_dict({**part.state_dict(), **updated(subject, part, case)})
        file = io.BytesIO()
        torch.save(part.state_dict(), file)
        file.seek(0)
        loaded = subject.build(case.spec, seed=2).eval()
        loaded.load_state_dict(torch.load(file, weights_only=True))
        found, wanted = subject.predict(loaded, case.batch), subject.predict(part, case.batch)
        expect_equal(found, wanted, case, "the prediction changed by saving and loading")
        copied = subject.predict(copy.deepcopy(part), case.batch)
        expect_equal(copied, wanted, case, "the prediction of a deep copy differs")


def check_no_statistics_over_batches(subject: Subject) -> None:
    """Batch normalisation mixes rows, and absent inputs would enter its running statistics.

    Mend: use ``nn.LayerNorm``; keep what is learned from the training split in ``statistics`` and ``update``.
    """
    case = subject.cases[-1]
    part = subject.trained(case).train()
    for path, module in part.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):  # noqa: SLF001 (all batch and instance norms)
            expect(condition=False, case=case, message=f"{path} is a {type(module).__name__}")
    before = snapshot(part)
    subject.call(part, case.batch)
    expect_equal(snapshot(part), before, case, "forward in training mode changed the plugin's state")


def check_statistics_are_sums(subject: Subject) -> None:
    """The loop adds statistics over batches: a mean would depend on how the rows are cut into batches.

    Mend: return sums and counts from ``statistics`` and divide in ``update``.
    """
    for case in subject.cases:
        part = subject.trained(case)
        with torch.no_grad():
            whole = subject.statistics(part, case.batch, case.target)
            if not whole:
                raise CheckSkippedError("it keeps no statistics")
            cut = len(case.target) // 3
            parts = [case.rows(range(cut)), case.rows(range(cut, len(case.target)))]
            sums = [subject.statistics(part, piece.batch, piece.target) for piece in parts]
        added = {name: sums[0][name] + sums[1][name] for name in sums[0]}
        expect_equal(added, whole, case, "statistics of two halves do not add up to those of the whole")


def check_update_returns_new_values_of_own_buffers(subject: Subject) -> None:
    """``update`` runs inside a stacked program, which cannot see changes made in place.

    Mend: return ``{buffer name: new value}`` with the buffer's shape; change nothing in place.
    """
    for case in subject.cases:
        part = subject.trained(case)
        before = snapshot(part)
        values = updated(subject, part, case)
        expect_equal(snapshot(part), before, case, "statistics or update changed the plugin in place")
        buffers = dict(part.named_buffers())
        for name, value in values.items():
            expect(name in buffers, case, f"update returned {name!r}, which is no buffer")
            same = value.shape == buffers[name].shape
            expect(same, case, f"update gave {name!r} another shape: {tuple(value.shape)}")
        expect_finite(values, case, "update returned a value that is not finite")
