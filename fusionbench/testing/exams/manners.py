"""Checks that a plugin leaves inputs, global state and precision alone."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionbench.testing.assertions import expect, expect_equal, loss_and_gradients, updated
from fusionbench.testing.batches import Case, cast
from fusionbench.testing.subjects import Subject


def check_inputs_are_not_changed(subject: Subject) -> None:
    """The same batch goes to every strategy; whoever changes it changes the others' results.

    Mend: no in-place operations (``x += y``, ``x[rows] = 0``) on anything from the batch or the target.
    """
    for case in subject.cases:
        tensors = _tensors_of(case)
        before = {name: tensor.clone() for name, tensor in tensors.items()}
        part = subject.trained(case)
        loss_and_gradients(subject, part, case)
        updated(subject, part, case)
        with torch.no_grad():
            subject.loss(part, subject.call(part, case.batch), case.batch, case.target)
        expect_equal(_tensors_of(case), before, case, "the plugin changed its input")


def _tensors_of(case: Case) -> dict[str, Tensor]:
    b = case.batch
    groups = {"features": b.features, "present": b.present, "available": b.available, "imputed": b.imputed}
    tensors = {f"{group} of {name}": t for group, by_name in groups.items() for name, t in by_name.items()}
    tensors |= {f"zero input of {name}": t for name, t in b.zero_input.items()}
    return tensors | ({} if b.latents is None else {"latents": b.latents}) | {"target": case.target}


def check_global_state_is_left_alone(subject: Subject) -> None:
    """Strategies are compared under the same random numbers; a draw by one would shift those of the next.

    Mend: take randomness from the loop (``fusionbench.noise.Dropout`` instead of ``nn.Dropout``); set no
    global seeds, dtypes or modes.
    """
    for case in subject.some(9):
        before = global_state()
        part = subject.trained(case)
        expect(same_state(global_state()[3:], before[3:]), case, "building the plugin changed torch's settings")
        before = global_state()
        loss_and_gradients(subject, part.train(), case)
        updated(subject, part.eval(), case)
        subject.predict(part, case.batch)
        expect(same_state(global_state(), before), case, "the plugin drew from, or set, global random state or modes")


def check_nothing_is_printed(subject: Subject) -> None:
    """Standard output belongs to the results; lines from every step of every model bury them, and may show a row.

    Mend: remove ``print``; what is worth following over epochs is returned by ``traces``.
    """
    case = subject.cases[-1]
    with listening() as said:
        part = subject.trained(case)
        loss_and_gradients(subject, part.train(), case)
        updated(subject, part.eval(), case)
        subject.predict(part, case.batch)
    expect(not said(), case, f"the plugin printed {len(said().splitlines())} lines, the first: {said()[:60]!r}")


@contextlib.contextmanager
def listening() -> Iterator[Callable[[], str]]:
    """Collect what is printed to standard output and standard error in the block."""
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
        yield heard.getvalue


def global_state() -> tuple[Any, ...]:
    """What draws and settings of plugins could change for everybody."""
    numpy_state: Any = np.random.get_state(legacy=True)  # noqa: NPY002 (the global state is what must not move)
    return (
        torch.get_rng_state(),
        random.getstate(),
        numpy_state[1:3],
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        tuple(sorted(np.geterr().items())),
    )


def same_state(found: Any, wanted: Any) -> bool:
    """Whether two results of :func:`global_state` are equal."""
    if isinstance(wanted, Tensor):
        return torch.equal(found, wanted)
    if isinstance(wanted, np.ndarray):
        return np.array_equal(found, wanted)
    if isinstance(wanted, tuple):
        return len(found) == len(wanted) and all(map(same_state, found, wanted))
    return bool(found == wanted)


def check_precision_follows_the_features(subject: Subject) -> None:
    """Tests run in float64, training in float32 or less; a tensor of fixed precision breaks one of them.

    Mend: create tensors with ``torch.zeros_like``, ``x.new_zeros`` or ``.to(x.dtype)``, or as buffers.
    """
    for case in subject.cases:
        for dtype in (torch.float32, torch.float64):
            part = subject.trained(case, dtype=dtype)
            converted = case.with_batch(**vars(cast(case.batch, dtype)))
            answers = subject.predict(part, converted.batch) | {
                "loss": loss_and_gradients(subject, part, converted)["loss"]
            }
            for name, tensor in answers.items():
                if tensor.is_floating_point():
                    expect(tensor.dtype == dtype, case, f"{name} is {tensor.dtype} where features are {dtype}")
    single = subject.predict(subject.trained(case, dtype=torch.float32), cast(case.batch, torch.float32))
    double = subject.predict(subject.trained(case), case.batch)
    for name, tensor in single.items():
        near = torch.allclose(tensor.double(), double[name].double(), rtol=1e-3, atol=1e-4)
        expect(near, case, f"float32 and float64 disagree ({name})")
