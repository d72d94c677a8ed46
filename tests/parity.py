"""The parity files, and what it means to agree with one. Every number is compared here and nowhere else.

Tolerance: double precision, 1e-9 relative, number by number. Exceptions are listed in :data:`EXCEPTIONS` with their
cause; a test asks for one by name. Where a file says 0 there is no relative error: :data:`ZERO` is what rounding may
leave of numbers of order 1 there.

One remark that is no exception. PMR: our square root has a floor, sqrt(d^2 + 1e-12), which moves a distance d by
5e-13 / d^2 of itself. No distance in the files is below .1, so that is at most 5e-11, in the gradients too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tests.shared import shared_folder

RELATIVE = 1e-9
ZERO = 1e-12


class Exceptional(NamedTuple):
    """A wider relative tolerance, and why nothing narrower holds."""

    relative: float
    cause: str


EXCEPTIONS: dict[str, Exceptional] = {}


def parity_folder() -> Path:
    """Return the folder of the files; skip the calling test where it is not there."""
    return shared_folder("parity")


def parity(name: str) -> dict[str, Any]:
    """Read one file: the only way in which a test gets at its numbers."""
    document: dict[str, Any] = json.loads((parity_folder() / f"{name}.json").read_text(encoding="utf-8"))
    return document


def close(found: Any, wanted: Any, exception: str | None = None) -> None:
    """Fail unless the numbers agree; ``wanted`` may be nested lists of the found tensor's size in another shape."""
    actual = torch.as_tensor(found, dtype=torch.float64)
    expected = torch.as_tensor(wanted, dtype=torch.float64).reshape(actual.shape)
    relative = RELATIVE if exception is None else EXCEPTIONS[exception].relative
    allowed = torch.where(expected == 0, ZERO, relative * expected.abs())
    error = (actual - expected).abs()
    wrong = ~(error <= allowed)  # NaN is wrong
    if wrong.any():
        worst = (error / expected.abs())[wrong].max()
        raise AssertionError(
            f"{int(wrong.sum())} of {wrong.numel()} numbers differ, by up to {worst:.2g} of themselves"
        )


@contextmanager
def double_precision() -> Iterator[None]:
    """Let new floating point tensors be float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
