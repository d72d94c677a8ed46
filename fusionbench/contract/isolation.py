"""What keeps a plugin's habits from everybody else: global settings and random states, printing, and unclear failures.

A plugin may set torch's default dtype, draw from global generators or print. Around its import, its construction and
the training of its models, what it set or drew is put back, and what it printed goes to standard error under its name.
"""

from __future__ import annotations

import contextlib
import io
import random
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

from fusionbench.errors import FusionBenchError

SHOWN_LINES: Final = 20
"""Of what a plugin prints in one training; the rest is counted."""
OWNER: Final = "fusionbench_owner"
"""The attribute of a built plugin that says which it is, and whose."""


@contextlib.contextmanager
def contained(label: str) -> Iterator[None]:
    """Put global settings and random states back after the block; print under ``label``, to standard error."""
    before, said = GlobalState(), _Attributed(label)
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        said.close()
        before.restore()


class GlobalState:
    """What plugins could set or draw for everybody, of libraries that are imported already."""

    def __init__(self) -> None:
        self.python = random.getstate()
        self.numpy, self.torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if self.numpy is not None:
            self.numpy_random, self.numpy_errors = self.numpy.random.get_state(), self.numpy.geterr()
        if self.torch is not None:
            self.torch_random = self.torch.get_rng_state()
            self.settings = [get() for get, _ in _settings(self.torch)]

    def restore(self) -> None:
        """Put everything back."""
        random.setstate(self.python)
        if self.numpy is not None:
            self.numpy.random.set_state(self.numpy_random)
            self.numpy.seterr(**self.numpy_errors)
        if self.torch is not None:
            self.torch.set_rng_state(self.torch_random)
            for value, (get, put) in zip(self.settings, _settings(self.torch), strict=True):
                if get() != value:
                    put(value)
        elif "torch" in sys.modules:  # it came with the plugin: as torch is when it is imported
            sys.modules["torch"].set_default_dtype(sys.modules["torch"].float32)
            sys.modules["torch"].set_grad_enabled(True)


def _settings(torch: Any) -> list[tuple[Any, Any]]:
    """Pairs of what reads and what sets a global setting."""
    return [
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    ]


class _Attributed(io.TextIOBase):
    """Stands in for standard output: whole lines go to standard error, each under the label."""

    def __init__(self, label: str) -> None:
        self._label, self._line, self._count = label, "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._count += 1
            if self._count <= SHOWN_LINES:
                sys.stderr.write(f"[{self._label}] {line}\n")
        return len(text)

    def close(self) -> None:
        if self._line:
            self.write("\n")
        if self._count > SHOWN_LINES:
            sys.stderr.write(f"[{self._label}] ... and {self._count - SHOWN_LINES:,} lines more\n")
        super().close()


def owned(plugin: Any, owner: str) -> Any:
    """Note on a built plugin who it is, for messages about it; return it."""
    with contextlib.suppress(AttributeError):  # some classes take no attributes
        object.__setattr__(plugin, OWNER, owner)
    return plugin


def owner_of(plugin: Any) -> str:
    """Return who a built plugin is: kind, name, distribution and version; its class where nobody noted it."""
    return getattr(plugin, OWNER, type(plugin).__name__)


def reason_of(problem: BaseException) -> str:
    """Return what was raised, by which plugin and where, in one line."""
    first_line = str(problem).strip().split("\n", 1)[0]
    if isinstance(problem, FusionBenchError):
        return first_line
    owner, place = _origin(problem.__traceback__)
    return f"{owner}{type(problem).__name__}: {first_line}{place}"


def _origin(trace: TracebackType | None) -> tuple[str, str]:
    """Whose method was innermost, and the innermost line."""
    owner, place = "", ""
    while trace is not None:
        owner = getattr(trace.tb_frame.f_locals.get("self"), OWNER, owner)
        place = f" ({trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{owner}: " if owner else "", place
