"""A step of training that is recorded once and replayed: on CUDA, one launch instead of one for every kernel.

What is replayed reads and writes the memory that the recorded call read and wrote. So everything that changes from step
to step and is not a result of the step before lies in tensors that keep their place: the inputs of the call, which are
copied there, and what the caller keeps (parameters, the optimiser's moments, buffers, noise). Values that Python decided
by are decided for good: a recorded step may neither ask the device for a number nor bring one from the host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import torch
from torch import Tensor

from fusionbench.errors import CellError

WARM_UP: Final = 3
"""Calls that run as they are before one is recorded: they make what is kept from step to step, and choose kernels."""

StepCall = Callable[..., Tensor]


class Recorder(Protocol):
    """Takes one call down and does it again."""

    def warm_up(self, call: Callable[[], Tensor]) -> Tensor:
        """Do a call as it is, and return its result."""

    def record(self, call: Callable[[], Tensor]) -> Tensor:
        """Take a call down without doing it; return the tensor that will hold its result."""

    def replay(self) -> None:
        """Do what was taken down."""


class RecordedStep:
    """A step that is recorded after its first calls.

    Args:
        step: Tensors to one tensor; always the same shapes, and the same Python decisions.
        recorder: Makes what records it.
    """

    def __init__(self, step: StepCall, recorder: Callable[[], Recorder]) -> None:
        self._step, self._new = step, recorder
        self._inputs: list[Tensor] = []
        self.forget()

    def forget(self) -> None:
        """Record anew: something that the step reads has taken another place."""
        self._recorder = self._new()
        self._calls = 0
        self._result: Tensor | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Do the step; the result is valid until the next call.

        Raises:
            CellError: The step cannot be recorded.
        """
        if not self._inputs:
            self._inputs = [torch.empty_like(i, memory_format=torch.contiguous_format) for i in inputs]
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given, non_blocking=True)
        call = partial(self._step, *self._inputs)
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._recorder.warm_up(call)
        if self._result is None:
            self._result = self._recorder.record(call)
        self._recorder.replay()
        return self._result


class CudaRecorder:
    """Records with a CUDA graph.

    Args:
        device: Of all tensors of the step.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graph = torch.cuda.CUDAGraph()

    def warm_up(self, call: Callable[[], Tensor]) -> Tensor:
        """Do the call on a stream of its own, as what is captured later will be done."""
        current = torch.cuda.current_stream(self._device)
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            result = call()
        current.wait_stream(stream)
        result.record_stream(current)
        return result

    def record(self, call: Callable[[], Tensor]) -> Tensor:
        """Capture the call.

        Raises:
            CellError: The device refuses: the step asks it for a number, or copies from the host.
        """
        first: Exception | None = None  # a capture that is broken off raises once more when it ends
        try:
            with torch.cuda.device(self._device), torch.cuda.graph(self._graph):
                try:
                    return call()
                except Exception as problem:
                    first = problem
                    raise
        except RuntimeError as problem:
            refused = first or problem
            if isinstance(refused, torch.OutOfMemoryError) or not isinstance(refused, RuntimeError):
                raise refused from None
            reason = str(refused).strip().split("\n", 1)[0]
            raise CellError(
                f"the step cannot be recorded as a CUDA graph: {reason}; a plugin asks the device for a number, or copies "
                "from the host, in every step; set training.graph: false"
            ) from refused

    def replay(self) -> None:
        """Launch what was captured."""
        self._graph.replay()


def recorder_for(device: torch.device) -> Callable[[], Recorder] | None:
    """Return what records on a device; None where nothing does."""
    return partial(CudaRecorder, device) if device.type == "cuda" else None
