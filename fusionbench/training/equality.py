"""What is the same for every line of a benchmark and what is not, in words: depth of heads, epochs, what changes updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fusionbench.config.sections import HeadSection, TrainingSection
from fusionbench.contract.batch import FusionSpec
from fusionbench.contract.isolation import contained
from fusionbench.contract.learners import FusionStrategy
from fusionbench.errors import ConfigError, FusionBenchError
from fusionbench.heads import follows_head
from fusionbench.plan.parts import Arm
from fusionbench.training.members import allowed_epochs, last_stretch
from fusionbench.training.model import overrides, seeded

Built = Sequence[tuple[Arm, FusionSpec]]
"""Arms, each with what its strategy is built for."""


def described(head: HeadSection) -> str:
    """Return the benchmark's head in words."""
    if head.layers == 0:
        return "linear"
    width = "the width of the embeddings" if head.width is None else f"{head.width} units"
    return f"mlp with {head.layers} hidden layer{'s' if head.layers > 1 else ''} of {width}"


def head_lines(head: HeadSection, arms: Built) -> tuple[str, ...]:
    """Say how deep heads are: one sentence for all lines that follow the benchmark, one for each that does not."""
    others: dict[str, str] = {}
    for arm, spec in arms:
        try:
            with contained(arm.label):
                reason = _other_than_the_benchmarks(arm, spec)
        except FusionBenchError:  # it is said where its models are built
            continue
        if reason is not None:
            others.setdefault(arm.title, reason)
    return (f"Heads: {described(head)}, for every line{' but these' if others else ''}.", *others.values())


def _other_than_the_benchmarks(arm: Arm, spec: FusionSpec) -> str | None:
    part = arm.strategy

    def follows(options: dict[str, object]) -> bool:
        try:
            return bool(
                seeded(0, lambda: follows_head(lambda s: part.registration.build(part.where, s, **options), spec))
            )
        except ConfigError:  # its options allow one of the heads only
            return False

    options = dict(part.options)
    if follows(options):
        return None
    owned = getattr(part.registration.target, "owns_depth", None)
    if owned:
        return f"'{arm.title}' owns its depth: {owned}."
    for name, value in options.items():
        without = {k: v for k, v in options.items() if k != name}
        if part.registration.problem_with(without) is None and follows(without):
            return f"'{arm.title}' has a head of its own: its option {name}: {value} wins over model.head."
    return f"'{arm.title}' does not use model.head and does not say why (owns_depth): depths of heads are compared too."


def _strategies(arms: Built) -> Iterator[tuple[str, FusionStrategy]]:
    """Yield each title with its strategy, with the options of the benchmark file; those that cannot be built are left out."""
    for arm, spec in {arm.title: (arm, spec) for arm, spec in arms}.values():
        try:
            with contained(arm.label):
                built: FusionStrategy = seeded(0, lambda arm=arm, spec=spec: arm.strategy.build(spec))
        except FusionBenchError:
            continue
        yield arm.title, built


def epoch_lines(epochs: int, arms: Built) -> tuple[str, ...]:
    """Say how many epochs each line is allowed; those that use other numbers than the benchmark's are named."""
    lasts: dict[int, list[str]] = {}
    more: dict[int, list[str]] = {}
    for title, strategy in _strategies(arms):
        try:
            with contained(title):
                stages = strategy.stages()
        except FusionBenchError:
            continue
        last, allowed = last_stretch(stages, epochs), allowed_epochs(stages, epochs)
        if last != epochs:
            lasts.setdefault(last, []).append(f"'{title}'")
        if allowed > last:
            more.setdefault(allowed, []).append(f"'{title}'")
    most = f"Epochs: {epochs} at most for the training that ends in the prediction, the same for every line"
    if lasts:
        most += " but " + ", ".join(f"{', '.join(titles)} ({n})" for n, titles in sorted(lasts.items()))
    extra = "; ".join(f"{n} for {', '.join(titles)}" for n, titles in sorted(more.items()))
    return (
        (f"{most}.", f"With stages that come before it, {extra} (column 'epochs allowed').") if extra else (f"{most}.",)
    )


def modulation_lines(training: TrainingSection, arms: Built) -> tuple[str, ...]:
    """Say which lines change what the optimiser would do because it divides factors of gradients out."""
    found = [
        f"'{title}'"
        for title, strategy in _strategies(arms)
        if overrides(strategy, "modulate") and strategy.modulates == "auto" and training.adaptive
    ]
    if not found:
        return ()
    divides = f"{training.optimiser} divides a factor of the gradient out again"
    return (f"{', '.join(found)}: what it does to gradients is done to the update, since {divides}.",)
