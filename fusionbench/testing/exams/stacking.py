"""Checks of what the training loop does with a plugin: whole steps, and many runs stacked into one program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fusionbench.contract.batch import Batch
from fusionbench.contract.stages import TrainingClock
from fusionbench.noise import NoiseSource
from fusionbench.seeding import torch_generator
from fusionbench.testing.assertions import expect_equal
from fusionbench.testing.batches import Case
from fusionbench.testing.subjects import CheckSkippedError, Subject
from fusionbench.training.model import seeded

STACKED_RUNS = 3
PREFIX = {"strategy": "fusion", "imputer": "imputer", "regulariser": "regulariser"}
Tree = dict[str, Any]  # tensors, or trees of tensors, by name


def check_stacked_runs_equal_solo_runs(subject: Subject) -> None:
    """Runs are trained together as stacked tensors; each must come out as if it had run alone.

    Loss, gradients, ``modulate``, ``statistics`` and ``update`` of a few runs with other seeds, masks and
    hyper-parameters are computed under ``vmap`` and one by one, in float64.

    Mend: no ``if`` on tensor values, no ``.item()``, no boolean indexing, no built-in LSTM or attention
    module; randomness from the loop. A plugin that cannot do without says ``stackable = False``.
    """
    if not subject.build(subject.cases[0].spec).stackable:
        raise CheckSkippedError("it says stackable = False and is trained one run at a time")
    for case in subject.covering():
        for training in (True, False):
            steps = [StackedStep(subject, case, seed).train(training) for seed in range(STACKED_RUNS)]
            runs = [_run(step, case, seed) for seed, step in enumerate(steps)]
            wanted = _stack([_one_step(steps[0], run, case) for run in runs])
            found = _stacked_step(steps[0], _stack(runs), case)
            expect_equal(found, wanted, case, "a stacked run differs from the run alone")


def check_hyper_parameters_act_through_their_buffers(subject: Subject) -> None:
    """Stacked runs differ in their buffers only; a value that was copied in the constructor is the same for all.

    Mend: read ``self.<name>``, which ``self.hyper(name, value)`` made a buffer, wherever the value is needed.
    """
    case = subject.cases[-1]
    names = sorted(getattr(subject.build(case.spec), "hyper_names", ()))
    if not names:
        raise CheckSkippedError("it has no hyper-parameters that may differ inside a population")
    for name in names:
        step = StackedStep(subject, case, seed=0)
        value = (0.9 * getattr(step.part, name)).float()  # hyper() keeps float32
        setattr(step.part, name, value.double())
        built = StackedStep(subject, case, seed=0, **{name: float(value)})
        found, wanted = (_one_step(s, _run(s, case, 0), case) for s in (step, built))
        expect_equal(found, wanted, case, f"setting the buffer {name!r} is not the same as constructing with it")


class StackedStep(nn.Module):
    """Encoders and one plugin, with parameters named as the training loop names them.

    Args:
        subject: The plugin's class and kind.
        case: Widths, outputs and the number of rows.
        seed: Decides initial weights, hyper-parameters and the step's noise.
        options: Constructor arguments that replace the subject's.
    """

    def __init__(self, subject: Subject, case: Case, seed: int, **options: Any) -> None:
        super().__init__()
        self.subject = subject
        linear = {name: (dim, dim) for name, dim in case.spec.dims.items()}
        self.encoder = seeded(seed, lambda: nn.ModuleDict({n: nn.Linear(*dims) for n, dims in linear.items()}).double())
        self.add_module(PREFIX[subject.kind], subject.build(case.spec, seed=seed, **options))
        for index, name in enumerate(sorted(getattr(self.part, "hyper_names", ()))):
            # hyper-parameters may differ inside a population: a little, so that they stay valid
            setattr(self.part, name, getattr(self.part, name) * (1 - 0.05 * seed / (index + 1)))
        for name, module in self.named_modules():
            if isinstance(module, NoiseSource):
                generator = torch_generator("conformance noise", module=name, seed=seed)
                module.noise = module.draw(len(case.target), generator).double()

    @property
    def part(self) -> Any:
        """The plugin."""
        return getattr(self, PREFIX[self.subject.kind])

    def forward(self, action: str, *arguments: Any) -> Any:
        """Run one of the methods below; ``functional_call`` can only call ``forward``."""
        return getattr(self, action)(*arguments)

    def total_loss(self, batch: Batch, target: Tensor) -> tuple[Tensor, Tree]:
        """Return the loss, and what the plugin answered."""
        batch = self._encode(batch)
        result = self.subject.call(self.part, batch)
        return self.subject.loss(self.part, result, batch, target), self.subject.readout(result)

    def modulate(self, gradients: Tree, noise: Tree, batch: Batch, target: Tensor) -> Tree:
        """Return the gradients as a strategy changes them."""
        batch = self._encode(batch)
        output = self.subject.output(self.part, batch)
        return dict(self.part.modulate(gradients, output, batch, target, noise))

    def update(self, batch: Batch, target: Tensor) -> Tree:
        """Return the new values of buffers after a pass over ``batch``."""
        sums = self.subject.statistics(self.part, self._encode(batch), target)
        return dict(self.part.update(sums, TrainingClock(1, 4)))

    def _encode(self, batch: Batch) -> Batch:
        encoded = {name: torch.tanh(layer(batch.features[name])) for name, layer in self.encoder.items()}
        return replace(batch, features=encoded)


def _run(step: StackedStep, case: Case, seed: int) -> Tree:
    """Everything in which one run differs from the others."""
    parameters = {name: parameter.detach() for name, parameter in step.named_parameters()}
    generator = torch_generator("conformance gradient noise", seed=seed)
    noise = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in parameters.items()}
    return {
        "parameters": parameters,
        "buffers": dict(step.named_buffers()),
        "noise": noise if getattr(step.part, "gradient_noise", False) else {},
        "present": {name: rows.roll(seed) for name, rows in case.batch.present.items()},
        "available": {name: rows.roll(seed) for name, rows in case.batch.available.items()},
    }


def _one_step(step: StackedStep, run: Mapping[str, Tree], case: Case) -> dict[str, Tensor]:
    """Everything the loop asks of a plugin in one step and at an epoch's end, as one pure function."""
    batch = case.with_batch(present=run["present"], available=run["available"]).batch

    def call(values: Tree, *arguments: Any) -> Any:
        return functional_call(step, {**values, **run["buffers"]}, (*arguments, batch, case.target))

    def objective(values: Tree) -> tuple[Tensor, Tree]:
        loss, answer = call(values, "total_loss")
        return loss, {"loss": loss, **answer}

    gradients, results = grad(objective, has_aux=True)(run["parameters"])
    results |= {f"gradient of {name}": gradient for name, gradient in gradients.items()}
    if step.subject.kind == "strategy":
        changed = call(run["parameters"], "modulate", gradients, run["noise"])
        results |= {f"modulated {name}": gradient for name, gradient in changed.items()}
    updated = call(run["parameters"], "update")
    return {**results, **{f"updated {name}": value for name, value in updated.items()}}


def _stacked_step(step: StackedStep, runs: Tree, case: Case) -> dict[str, Tensor]:
    try:
        results: dict[str, Tensor] = vmap(lambda run: _one_step(step, run, case), randomness="error")(runs)
    except (RuntimeError, ValueError) as error:
        raise AssertionError(f"{case.name}: cannot be stacked: {str(error).splitlines()[0]}") from error
    return results


def _stack(trees: Sequence[Any]) -> Any:
    """Stack trees of tensors leaf by leaf."""
    if isinstance(trees[0], Tensor):
        return torch.stack(list(trees))
    return {name: _stack([tree[name] for tree in trees]) for name in trees[0]}
