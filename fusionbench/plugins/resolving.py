"""Every name of a benchmark, looked up and loaded."""

from __future__ import annotations

from typing import Any

from fusionbench.config.base import Choice
from fusionbench.config.sections import Benchmark, StrategyChoice
from fusionbench.errors import ConfigError
from fusionbench.missingness.corruption import Corruption
from fusionbench.plan.parts import Arm, Part, Resolved
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.names import Where, check_names, check_plugins
from fusionbench.plugins.papers import installed_papers


def resolve(benchmark: Benchmark, plugins: Plugins, where: Where) -> Resolved:
    """Load every plugin that the benchmark names.

    Raises:
        ConfigError: Names are unknown, plugins do not load, or have no such options; all of them at once.
    """
    problems = [*check_names(benchmark, plugins, where), *check_plugins(benchmark, plugins, where)]
    if problems:
        raise ConfigError(problems)

    def part(kind: str, choice: Choice, *location: Any) -> Part:
        place = where(location).removesuffix(": ")
        return Part(plugins.get(kind, choice.name), choice.options, place)

    def arms_of(i: int, s: StrategyChoice) -> list[Arm]:
        imputers = (
            [("strategies", i, "imputers", j) for j in range(len(s.imputers))]
            if s.imputers is not None
            else [("imputers", j) for j in range(len(benchmark.imputers))]
        )
        chosen = benchmark.imputers if s.imputers is None else s.imputers
        hiding = None if s.corruption is None else Corruption(s.corruption.policy, s.corruption.rate)
        regularisers = tuple(
            part("regularisers", r, "strategies", i, "regularisers", j) for j, r in enumerate(s.regularisers)
        )
        strategy = part("strategies", s, "strategies", i)
        return [
            Arm(
                s.title,
                strategy,
                part("imputers", c, *location),
                regularisers,
                hiding,
                s.modalities,
                s.label is not None,
            )
            for c, location in zip(chosen, imputers, strict=True)
        ]

    papers, without = installed_papers(plugins)
    return Resolved(
        task=part("tasks", benchmark.task, "task"),
        encoders={m: part("encoders", c, "encoders", m) for m, c in benchmark.encoders.items()},
        arms=tuple(a for i, s in enumerate(benchmark.strategies) for a in arms_of(i, s)),
        mechanism=part("missingness", benchmark.missingness.mechanism, "missingness", "mechanism"),
        observers=tuple(part("observers", c, "observers", i) for i, c in enumerate(benchmark.observers)),
        execution=None if benchmark.execution is None else part("executors", benchmark.execution, "execution"),
        papers=papers,
        without=without,
    )
