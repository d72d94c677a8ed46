"""Arms before their first model is trained: whether they can be built, and what they read."""

from __future__ import annotations

from collections.abc import Sequence

from fusionbench.contract.isolation import contained
from fusionbench.errors import ConfigError, PluginError
from fusionbench.plan.parts import Arm
from fusionbench.training.blueprint import Blueprint


def try_arms(arms: Sequence[Arm], blueprint: Blueprint) -> None:
    """Check every option before the first model is trained; what cannot be built fails its own cells only.

    Raises:
        ConfigError: Options are refused; those of all arms at once.
        PluginError: No arm can be built.
    """
    problems, broken = list[str](), list[PluginError]()
    for arm in arms:
        try:
            with contained(arm.label):
                blueprint.policy(arm, blueprint.build(arm, 0, {}))
        except ConfigError as problem:
            problems += problem.problems
        except PluginError as problem:
            broken.append(problem)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    if len(broken) == len(arms):
        raise broken[0]


def reads_of(
    arms: Sequence[Arm], blueprint: Blueprint, modalities: Sequence[str]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return by arm (strategy, imputer) the modalities that its models look at."""
    return {(arm.title, arm.imputer_name): _read_by(arm, blueprint, modalities) for arm in arms}


def _read_by(arm: Arm, blueprint: Blueprint, modalities: Sequence[str]) -> tuple[str, ...]:
    try:
        with contained(arm.label):
            return tuple(blueprint.build(arm, 0, {}).modalities)
    except PluginError:  # none of its models was built
        return tuple(arm.seen(list(modalities)))
