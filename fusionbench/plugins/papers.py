"""Papers that are installed: loaded for every run, so that published values find the lines they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusionbench.errors import ConfigError, FusionBenchError

if TYPE_CHECKING:
    from fusionbench.contract.papers import Paper
    from fusionbench.plugins.catalogue import Plugins

KIND = "papers"


def installed_papers(plugins: Plugins) -> tuple[tuple[Paper, ...], tuple[str, ...]]:
    """Return every paper, and a sentence for each that cannot be loaded: it costs a run its values, and nothing else."""
    found: list[Paper] = []
    problems: list[str] = []
    for name in plugins.names(KIND):
        try:
            found.append(paper_called(name, plugins))
        except FusionBenchError as problem:
            problems.append(f"Published values of the paper {name!r} are left out: {problem}")
    return tuple(found), tuple(problems)


def paper_called(name: str, plugins: Plugins) -> Paper:
    """Return a paper by the name that it is registered under.

    Raises:
        ConfigError: Nobody offers it.
        PluginError: It does not load.
    """
    if problem := plugins.problem_with(KIND, name):
        raise ConfigError(problem)
    paper: Paper = plugins.get(KIND, name).build(f"paper {name}")
    return paper
