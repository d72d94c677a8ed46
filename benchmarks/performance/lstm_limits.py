"""What bounds an LSTM's step on a CPU, and would a cell with its gradient written out be faster than the library's kernel?

Forward and backward of the paper's EHR encoder (two layers of 256 units, 24 steps of 76 channels, batches of 128), in
rounds that go through all contenders, each with one thread, as populations are trained: the library's kernel, a cell
written out, the products of that cell alone, one large product of as many operations (the machine's roof), and the cell
at vanishing sizes (what its operator calls cost). Processor time, which other programs disturb less than the clock.

The cell is written here and not in the package because it does not pay (docs/performance.md, "The LSTM").

    python benchmarks/performance/lstm_limits.py
    python benchmarks/performance/lstm_limits.py --at-once 2   # as two populations side by side
    ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/performance/lstm_limits.py
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn

from fusionbench.training.devices.device import freed_memory_kept

LARGE = 1024
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


@dataclass(frozen=True)
class Sizes:
    """Of an encoder of two layers and what it reads."""

    batch: int = 128
    steps: int = 24
    channels: int = 76
    hidden: int = 256

    @property
    def widths(self) -> tuple[int, int]:
        """What each layer reads."""
        return self.channels, self.hidden

    @property
    def operations(self) -> int:
        """Floating-point operations of the products, forward and backward; there is no hidden state before the first step."""
        product = 2 * self.batch * 4 * self.hidden
        before = self.steps - 1
        # forward and the gradient of the weights; the gradient of the hidden state; that of the second layer's input
        ahead = [self.steps * width + before * self.hidden for width in self.widths]
        return product * (2 * sum(ahead) + 2 * before * self.hidden + self.steps * self.hidden)


class WrittenOut(torch.autograd.Function):
    """One layer, feature by feature: every step reads and writes matrices ``[features, batch]`` that lie in one piece.

    Input, a row of ones and hidden state of a step lie below each other, so that one product makes its gates, one the
    gradient of all weights and biases, and one the gradients of input and hidden state. Nothing is allocated in a loop.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w_in: Tensor, w_hidden: Tensor, b_in: Tensor, b_hidden: Tensor) -> Tensor:
        """``x`` is ``[steps, channels, batch]``; returns the hidden states ``[steps, hidden, batch]``."""
        steps, channels, batch = x.shape
        hidden, known = w_hidden.shape[1], channels + 1
        weights = torch.cat([w_in, (b_in + b_hidden)[:, None], w_hidden], dim=1)
        read = x.new_empty(steps + 1, known + hidden, batch)
        read[:steps, :channels].copy_(x)
        read[:, channels].fill_(1)
        gates = x.new_empty(steps, 4, hidden, batch)
        memory, bent = x.new_empty(steps, hidden, batch), x.new_empty(steps, hidden, batch)
        minus_one = x.new_tensor(-1.0)
        for step in range(steps):
            rows = slice(None) if step else slice(known)  # no hidden state before the first step
            torch.mm(weights[:, rows], read[step, rows], out=gates[step].view(4 * hidden, batch))
            enter, keep, candidate, leave = gates[step].unbind()
            candidate.mul_(2)  # tanh x = 2 sigmoid 2x - 1: one sigmoid for all gates
            gates[step].sigmoid_()
            torch.add(minus_one, candidate, alpha=2, out=candidate)
            torch.mul(enter, candidate, out=memory[step])
            if step:
                memory[step].addcmul_(keep, memory[step - 1])
            torch.mul(memory[step], 2, out=bent[step]).sigmoid_()
            torch.add(minus_one, bent[step], alpha=2, out=bent[step])
            torch.mul(leave, bent[step], out=read[step + 1, known:])
        ctx.save_for_backward(weights, read, gates, memory, bent)
        return read[1:, known:]

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments; that of the input where it is wanted."""
        weights, read, gates, memory, bent = ctx.saved_tensors
        steps, _, hidden, batch = gates.shape
        wide = weights.shape[1]
        known, wanted = wide - hidden, ctx.needs_input_grad[0]
        outside, turned = given[0], weights.t().contiguous()
        of_weights, of_read = weights.new_zeros(wide, 4 * hidden), weights.new_empty(steps + 1, wide, batch)
        of_read[steps].zero_()
        of_gates = weights.new_empty(4, hidden, batch)
        flat, (of_enter, of_keep, of_candidate, of_leave) = of_gates.view(4 * hidden, batch), of_gates.unbind()
        of_memory, of_hidden, part = (weights.new_zeros(hidden, batch) for _ in range(3))
        for step in reversed(range(steps)):
            torch.add(outside[step], of_read[step + 1, known:], out=of_hidden)
            enter, keep, candidate, leave = gates[step].unbind()
            _sigmoid_backward(torch.mul(of_hidden, bent[step], out=part), leave, grad_input=of_leave)
            of_memory.add_(_tanh_backward(torch.mul(of_hidden, leave, out=part), bent[step], grad_input=part))
            _sigmoid_backward(torch.mul(of_memory, candidate, out=part), enter, grad_input=of_enter)
            _tanh_backward(torch.mul(of_memory, enter, out=part), candidate, grad_input=of_candidate)
            if step:
                _sigmoid_backward(torch.mul(of_memory, memory[step - 1], out=part), keep, grad_input=of_keep)
                of_memory.mul_(keep)
            else:
                of_keep.zero_()
            below = slice(None) if step else slice(known)
            of_weights[below].addmm_(read[step, below], flat.t())
            rows = slice(0 if wanted else known, wide if step else known)  # none: first layer, first step
            torch.mm(turned[rows], flat, out=of_read[step, rows])
        of_input = of_read[:steps, : known - 1] if wanted else None
        of_bias = of_weights[known - 1]
        return of_input, of_weights[: known - 1].t(), of_weights[known:].t(), of_bias, of_bias


class Encoder:
    """Two layers with random weights, and a random batch."""

    def __init__(self, sizes: Sizes) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(sizes.batch, sizes.steps, sizes.channels, generator=generator)
        self.layers = [nn.LSTM(width, sizes.hidden, batch_first=True) for width in sizes.widths]

    def by_library(self) -> list[Tensor]:
        """Return gradients of the last state's squares, by the library's kernel."""
        x = self.inputs
        for layer in self.layers:
            x = layer(x)[0]
        return self._gradients(x[:, -1])

    def by_cell(self) -> list[Tensor]:
        """Return the same gradients by the cell that is written out."""
        x = self.inputs.permute(1, 2, 0)
        for layer in self.layers:
            x = WrittenOut.apply(x, *layer.parameters())
        return self._gradients(x[-1])

    def _gradients(self, last: Tensor) -> list[Tensor]:
        parameters = [p for layer in self.layers for p in layer.parameters()]
        return list(torch.autograd.grad(last.square().sum(), parameters))


def products_of(sizes: Sizes) -> Callable[[], None]:
    """Return the products of the cell alone, on matrices that lie as the cell's do."""
    gates = torch.rand(4 * sizes.hidden, sizes.batch)
    layers = []
    for width in sizes.widths:
        wide = width + 1 + sizes.hidden
        layers.append((torch.rand(4 * sizes.hidden, wide), torch.rand(sizes.steps, wide, sizes.batch)))

    def multiply() -> None:
        for weights, read in layers:
            for step in read:
                torch.mm(weights, step, out=gates)
        for number, (weights, read) in enumerate(layers):
            turned, found = weights.t().contiguous(), torch.zeros(weights.shape[1], 4 * sizes.hidden)
            turned = turned if number else turned[-sizes.hidden :]  # nobody wants the gradient of the series
            of_read = torch.empty(len(turned), sizes.batch)
            for step in read:
                found.addmm_(step, gates.t())
                torch.mm(turned, gates, out=of_read)

    return multiply


def large_product(operations: int) -> Callable[[], None]:
    """Return as many operations in products of one large matrix, to the next whole product."""
    matrix = torch.rand(LARGE, LARGE)
    times = max(1, round(operations / (2 * LARGE**3)))

    def multiply() -> None:
        for _ in range(times):
            torch.mm(matrix, matrix)

    return multiply


def contenders(sizes: Sizes) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name; the library first."""
    encoder, tiny = Encoder(sizes), Encoder(Sizes(batch=1, steps=sizes.steps, channels=4, hidden=4))
    return {
        "the library's kernel": encoder.by_library,
        "the cell written out": encoder.by_cell,
        "its products alone": products_of(sizes),
        "one large product of as many operations": large_product(sizes.operations),
        "the cell at vanishing sizes": tiny.by_cell,
    }


def rounds_of(sizes: Sizes, rounds: int, together: Barrier) -> dict[str, list[float]]:
    """Return the processor seconds of every contender in each round; processes begin each contender together."""
    torch.set_num_threads(1)
    given = contenders(sizes)
    found: dict[str, list[float]] = {name: [] for name in given}
    with freed_memory_kept(torch.device("cpu")):
        for call in given.values():
            call()
        for _ in range(rounds):
            for name, call in given.items():
                together.wait()
                begin = time.process_time()
                call()
                found[name].append(time.process_time() - begin)
    return found


def lines_of(found: Sequence[Mapping[str, Sequence[float]]], operations: int) -> list[str]:
    """Return a table: times of all processes together, ratios within a round of one process."""
    names = list(found[0])
    lines = ["| | ms of processor time (fastest, slowest) | the library takes | GFLOP/s |", "|---|---|---|---|"]
    for name in names:
        took = [s for process in found for s in process[name]]
        ratios = [a / b for process in found for a, b in zip(process[names[0]], process[name], strict=True)]
        speed = "" if "vanishing" in name else f"{operations / median(took) / 1e9:.0f}"
        times = f"{1e3 * median(took):.1f} ({1e3 * min(took):.1f}, {1e3 * max(took):.1f})"
        lines.append(f"| {name} | {times} | {median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f}) | {speed} |")
    return lines


def _report(pipe: Any, measure: Callable[[], Any]) -> None:
    pipe.send(measure())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--at-once", type=int, default=1, help="processes that do the same at the same time")
    options = parser.parse_args()
    sizes, context = Sizes(), get_context("spawn")
    encoder = Encoder(sizes)
    pairs = zip(encoder.by_library(), encoder.by_cell(), strict=True)
    apart = max(((a - b).abs().max() / a.abs().max()).item() for a, b in pairs)
    load = os.getloadavg()[0]
    together = context.Barrier(options.at_once)
    pipes = []
    for _ in range(options.at_once):
        here, there = context.Pipe()
        measure = partial(rounds_of, sizes, options.rounds, together)
        context.Process(target=_report, args=(there, measure), daemon=True).start()
        pipes.append(here)
    found = [pipe.recv() for pipe in pipes]
    print(
        f"{torch.backends.cpu.get_cpu_capability()}, {options.at_once} at once, {options.rounds} rounds, "
        f"load {load:.1f}; gradients differ by {apart:.1e} of the largest"
    )
    print("\n".join(lines_of(found, sizes.operations)))


if __name__ == "__main__":
    main()
