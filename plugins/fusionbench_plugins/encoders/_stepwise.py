"""One LSTM layer with its gradient written out, for CPUs: few passes over memory, few and large matrix products.

The library's kernel adds to the gradient of the weights at every step, and it makes new tensors for all that it keeps.
Here a step is one matrix product for all gates (inputs, bias and hidden state lie side by side), the weights' gradient is
one product over all steps, and the tensors that a step of training fills are used again by the next one.

Three quantities are kept at half their size, because ``tanh(x) / 2 = sigmoid(2 x) - 1 / 2`` and one sigmoid over four
adjacent gates is several times faster than a tanh: the candidate, the cell state and the hidden state. Factors that
bring them back are powers of two, so no number is rounded because of them; they are put into the weights.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Buffers:
    """Tensors that are used again: the page faults of a large new one take as long as what is done with it.

    A tensor that was given back and filled again is noticed by whoever still needs it for a gradient: autograd compares
    versions, and raises.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[Any, ...], list[Tensor]] = defaultdict(list)

    def take(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return a tensor with anything in it."""
        free = self._free[shape, dtype, device]
        return free.pop() if free else torch.empty(shape, dtype=dtype, device=device)

    def give(self, *tensors: Tensor) -> None:
        """Take tensors back that nobody reads any more."""
        for tensor in tensors:
            self._free[tuple(tensor.shape), tensor.dtype, tensor.device].append(tensor)

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffers:
        return Buffers()


class _Course(NamedTuple):
    """What a layer computes.

    Args:
        read: ``[steps + 1, batch, channels + 1 + hidden]``: before each step its inputs, a one, half the hidden state.
        gates: ``[steps, batch, 4 hidden]`` after the sigmoid, in the order input, forget, candidate, output.
        cells: ``[steps + 1, batch, hidden]``: half the cell state before each step.
        weights: ``[4 hidden, channels + 1 + hidden]``, as :func:`_rescaled` gives them.
    """

    read: Tensor
    gates: Tensor
    cells: Tensor
    weights: Tensor

    @property
    def hidden(self) -> int:
        """Units."""
        return self.cells.shape[2]

    @property
    def channels(self) -> int:
        """Width of the inputs."""
        return self.read.shape[2] - 1 - self.hidden

    def outputs(self) -> Tensor:
        """Return the hidden states, ``[batch, steps, hidden]``, as a tensor of their own."""
        return (self.read[1:, :, self.channels + 1 :] * 2).transpose(0, 1)


def stepwise_lstm(
    x: Tensor, weight_in: Tensor, weight_hidden: Tensor, bias: Tensor, dtype: torch.dtype, buffers: Buffers
) -> Tensor:
    """LSTM from zero state, gates in the order input, forget, cell, output.

    Args:
        x: ``[batch, steps, channels]``.
        weight_in: ``[4 hidden, channels]``.
        weight_hidden: ``[4 hidden, hidden]``.
        bias: ``[4 hidden]``.
        dtype: Of the matrix products. With bfloat16 gates and cell states are float32.
        buffers: Where large tensors come from.

    Returns:
        The hidden states, ``[batch, steps, hidden]``, of ``dtype``.
    """
    inputs = (x, weight_in, weight_hidden, bias)
    if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
        outputs: Tensor = _Stepwise.apply(*inputs, dtype, buffers)
        return outputs
    course = _run(*inputs, dtype, buffers, keep=False)
    outputs = course.outputs()
    buffers.give(course.read, course.gates, course.cells)
    return outputs


class _Stepwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_in: Tensor,
        weight_hidden: Tensor,
        bias: Tensor,
        dtype: torch.dtype,
        buffers: Buffers,
    ) -> Tensor:
        course = _run(x, weight_in, weight_hidden, bias, dtype, buffers, keep=True)
        ctx.save_for_backward(*course)
        ctx.buffers, ctx.given_back, ctx.dtypes = buffers, False, (x.dtype, weight_in.dtype)
        return course.outputs()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        course, buffers = _Course(*ctx.saved_tensors), ctx.buffers
        of_gates = _run_back(course, gradient, buffers)
        of_x, of_weights = None, _of_weights(course, of_gates).to(ctx.dtypes[1])
        if ctx.needs_input_grad[0]:
            of_x = _of_inputs(course, of_gates).to(ctx.dtypes[0])
        buffers.give(of_gates)
        if not ctx.given_back:
            buffers.give(course.read, course.gates, course.cells)
            ctx.given_back = True
        channels = course.channels
        of_in, of_bias, of_hidden = torch.split(of_weights, [channels, 1, course.hidden], dim=1)
        return of_x, of_in, of_hidden, of_bias.squeeze(1), None, None


# --------------------------------------------------------------------------------------------
# forward


def _run(
    x: Tensor,
    weight_in: Tensor,
    weight_hidden: Tensor,
    bias: Tensor,
    dtype: torch.dtype,
    buffers: Buffers,
    keep: bool,
) -> _Course:
    """Go through the steps; what a gradient needs of gates and cells is kept, or overwritten by the next step."""
    (batch, steps, channels), hidden = x.shape, weight_hidden.shape[1]
    wide = torch.promote_types(dtype, torch.float32)
    read = buffers.take((steps + 1, batch, channels + 1 + hidden), dtype, x.device)
    read[:steps, :, :channels] = x.transpose(0, 1)
    read[:, :, channels] = 1
    read[0, :, channels + 1 :] = 0
    gates = buffers.take((steps if keep else 1, batch, 4 * hidden), wide, x.device)
    cells = buffers.take((steps + 1 if keep else 2, batch, hidden), wide, x.device)
    cells[0] = 0
    weights = _rescaled(torch.cat([weight_in, bias[:, None], weight_hidden], dim=1), hidden).to(dtype)
    course = _Course(read, gates, cells, weights)
    _fill(course)
    return course


def _fill(course: _Course) -> None:
    read, gates, cells, weights = course
    hidden, (batch, _) = course.hidden, gates.shape[1:]
    states = read[1:, :, course.channels + 1 :].unbind()
    driven = torch.empty(batch, 4 * hidden, dtype=read.dtype, device=read.device)
    scratch = torch.empty_like(cells[0])
    parts = gates.view(-1, batch, 4, hidden)
    for t, (now, state) in enumerate(zip(read.unbind(), states, strict=False)):
        whole, cell, following = gates[t % len(gates)], cells[t % len(cells)], cells[(t + 1) % len(cells)]
        enter, keep, candidate, leave = parts[t % len(gates)].unbind(dim=1)
        torch.mm(now, weights.T, out=driven)
        whole.copy_(driven).sigmoid_()
        torch.sub(candidate, 0.5, out=scratch)
        torch.mul(keep, cell, out=following).addcmul_(enter, scratch)
        state.copy_(_half_tanh(following, out=scratch).mul_(leave))


def _half_tanh(cell: Tensor, out: Tensor) -> Tensor:
    """Return half the tanh of a cell state that is given at half its size."""
    return torch.mul(cell, 4.0, out=out).sigmoid_().sub_(0.5)


def _rescaled(weights: Tensor, hidden: int) -> Tensor:
    """Double, in place, what the candidate reads, and what is read of the hidden state."""
    weights[2 * hidden : 3 * hidden] *= 2
    weights[:, -hidden:] *= 2
    return weights


# --------------------------------------------------------------------------------------------
# backward


def _run_back(course: _Course, gradient: Tensor, buffers: Buffers) -> Tensor:
    """Return the gradient of what enters the sigmoids, ``[steps, batch, 4 hidden]``; it comes from the buffers.

    Args:
        course: The forward pass.
        gradient: Of the hidden states, ``[batch, steps, hidden]``.
        buffers: Where large tensors come from.
    """
    read, gates, cells, weights = course
    hidden, (steps, batch, _) = course.hidden, gates.shape
    weight_hidden = weights[:, -hidden:].contiguous()
    outside = gradient.transpose(0, 1).to(read.dtype) * 2  # what is kept is half the hidden state
    found = buffers.take((steps, batch, 4 * hidden), read.dtype, read.device)
    entering = torch.empty(batch, 4 * hidden, dtype=gates.dtype, device=gates.device)
    of_enter, of_keep, of_candidate, of_leave = entering.view(batch, 4, hidden).unbind(dim=1)
    of_state, scratch, squashed = (torch.empty_like(cells[0]) for _ in range(3))
    through = torch.empty(batch, hidden, dtype=read.dtype, device=read.device)
    of_cell = torch.zeros_like(cells[0])
    for t in reversed(range(steps)):
        enter, keep, candidate, leave = gates[t].view(batch, 4, hidden).unbind(dim=1)
        last = t + 1 == steps
        of_state.copy_(outside[t] if last else torch.addmm(outside[t], found[t + 1], weight_hidden, out=through))
        _half_tanh(cells[t + 1], out=squashed)
        torch.mul(of_state, squashed, out=of_leave)
        of_cell.add_(torch.mul(of_state, leave, out=scratch))
        of_cell.addcmul_(scratch.mul_(squashed), squashed, value=-4)  # 1 - tanh^2, from half the tanh
        torch.mul(of_cell, torch.sub(candidate, 0.5, out=scratch), out=of_enter)
        torch.mul(of_cell, cells[t], out=of_keep)
        torch.mul(of_cell, enter, out=of_candidate)
        of_cell.mul_(keep)
        entering.mul_(gates[t])  # the sigmoid's own: s - s^2
        found[t].copy_(entering.addcmul_(entering, gates[t], value=-1))
    return found


def _of_weights(course: _Course, of_gates: Tensor) -> Tensor:
    """Return the gradient of inputs' weights, bias and hidden weights side by side, over all steps at once."""
    rows = course.read[:-1].flatten(0, 1)
    return _rescaled(torch.mm(of_gates.flatten(0, 1).T, rows), course.hidden)


def _of_inputs(course: _Course, of_gates: Tensor) -> Tensor:
    """Return the gradient of the inputs, ``[batch, steps, channels]``."""
    flat = torch.mm(of_gates.flatten(0, 1), course.weights[:, : course.channels])
    return flat.view(*of_gates.shape[:2], -1).transpose(0, 1)
