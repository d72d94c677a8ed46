"""The names in a benchmark: which plugin each one asks for, and whether it can be had.

Kept apart from :mod:`fusionbench.plan.jobs`, so that a misspelt name is reported before torch is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fusionbench.config.base import Choice
from fusionbench.config.document import Location
from fusionbench.config.sections import Benchmark
from fusionbench.errors import PluginError
from fusionbench.plugins.catalogue import Plugins

Where = Callable[[Location], str]
"""Maps a location in the benchmark to ``file:line: key: ``."""


def named_plugins(benchmark: Benchmark) -> Iterator[tuple[str, Choice, Location]]:
    """Yield kind, choice and location of every plugin that the benchmark names, in the order of the file."""
    yield "tasks", benchmark.task, ("task",)
    for modality, choice in benchmark.encoders.items():
        yield "encoders", choice, ("encoders", modality)
    yield from _listed("imputers", benchmark.imputers, ("imputers",))
    for i, strategy in enumerate(benchmark.strategies):
        yield "strategies", strategy, ("strategies", i)
        yield from _listed("imputers", strategy.imputers or (), ("strategies", i, "imputers"))
        yield from _listed("regularisers", strategy.regularisers, ("strategies", i, "regularisers"))
    yield "missingness", benchmark.missingness.mechanism, ("missingness", "mechanism")
    yield from _listed("observers", benchmark.observers, ("observers",))
    if benchmark.execution is not None:
        yield "executors", benchmark.execution, ("execution",)


def _listed(kind: str, choices: tuple[Choice, ...], location: Location) -> Iterator[tuple[str, Choice, Location]]:
    for i, choice in enumerate(choices):
        yield kind, choice, (*location, i)


def check_names(benchmark: Benchmark, plugins: Plugins, where: Where) -> list[str]:
    """Return a problem for each name that nobody offers, or more than one; loads nothing."""
    found = [
        (where((*location, "name")), plugins.problem_with(kind, choice.name))
        for kind, choice, location in named_plugins(benchmark)
    ]
    return [f"{place}{problem}" for place, problem in found if problem]


def check_options(benchmark: Benchmark, plugins: Plugins, where: Where) -> list[str]:
    """Return a problem for each plugin that has no such options, as far as that can be said without loading any."""
    found = [
        (where(location), plugins.problem_with_options(kind, choice.name, choice.options))
        for kind, choice, location in named_plugins(benchmark)
        if choice.options and not plugins.problem_with(kind, choice.name)
    ]
    return [f"{place}{problem}" for place, problem in found if problem]


def check_plugins(benchmark: Benchmark, plugins: Plugins, where: Where) -> list[str]:
    """Load every plugin whose name is known; return a problem for each that does not load or has no such options."""
    problems = []
    for kind, choice, location in named_plugins(benchmark):
        if plugins.problem_with(kind, choice.name):
            continue  # :func:`check_names` says that
        try:
            problem = plugins.get(kind, choice.name).problem_with(choice.options)
        except PluginError as broken:
            problem = str(broken)
        if problem:
            problems.append(where(location) + problem)
    return problems
