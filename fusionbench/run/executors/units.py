"""The work of a run divided: into units for an executor, or into shares for machines with a common workspace.

What is divided are studies with the models that need them, so that no two places tune the same. Neighbours in the plan stay
together: most arms are whole in one part, and populations as large as in one process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusionbench.contract.executors import Unit
from fusionbench.errors import ConfigError
from fusionbench.keys import digest

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob
    from fusionbench.run.runner import Run

NAME_DIGITS = 12


def divided(fits: Sequence[FitJob], parts: int, trials: Callable[[str], int]) -> list[list[FitJob]]:
    """Divide models into parts that train about as many: a part differs from the mean by one study with its models at most.

    Args:
        fits: Models, in the order of the plan.
        parts: How many; some are empty where there are fewer studies.
        trials: How many models the tuning of a study trains, by its key.
    """
    by_study: dict[str, list[FitJob]] = {}
    for fit in fits:
        by_study.setdefault(fit.study, []).append(fit)
    weights = {study: trials(study) + len(needing) for study, needing in by_study.items()}
    total, before = sum(weights.values()), 0
    found: list[list[FitJob]] = [[] for _ in range(parts)]
    for study, weight in weights.items():  # into the part in which the middle of the study falls
        found[(2 * before + weight) * parts // (2 * total)] += by_study[study]
        before += weight
    return found


# --------------------------------------------------------------------------------------------
# units of an executor


def units_of(
    fits: Sequence[FitJob],
    todo: Collection[str],
    wanted: int,
    trials: Callable[[str], int],
    open_trials: Callable[[str], int],
) -> list[Unit]:
    """Divide models into units, the largest first.

    What is stored does not move the borders, so a run that was stopped and goes on makes units of the same names.

    Args:
        fits: All models that are worked on, stored or not, in the order of the plan.
        todo: Keys of those that are to be done; a unit holds only these.
        wanted: How many units; fewer where there are fewer studies, or where all of one is stored.
        trials: How many models the tuning of a study trains, by its key.
        open_trials: How many of them are still to be trained.
    """
    if not fits:
        return []
    units = [_unit(part, todo, open_trials) for part in divided(fits, wanted, trials)]
    return sorted((unit for unit in units if unit.models), key=lambda unit: -unit.steps)


def _unit(part: Sequence[FitJob], todo: Collection[str], open_trials: Callable[[str], int]) -> Unit:
    mine = [f for f in part if f.key in todo]
    steps = len(mine) + sum(open_trials(study) for study in {f.study for f in mine})
    arms = list(dict.fromkeys(f.arm.label for f in mine))
    more = f" and {len(arms) - 1} more" if len(arms) > 1 else ""
    folds = sorted({f.fold for f in mine})
    where = f"fold {folds[0]}" if len(folds) == 1 else f"{len(folds)} folds"
    name = digest(sorted(f.key for f in part))[:NAME_DIGITS]
    return Unit(name, f"{''.join(arms[:1])}{more}, {where}", tuple(f.key for f in mine), steps)


# --------------------------------------------------------------------------------------------
# shares of machines that know nothing of each other


@dataclass(frozen=True)
class Shard:
    """One share of several, as ``--shard 2/4`` names it: from 1 to ``of``."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number} of {self.of}"

    @staticmethod
    def parse(text: str) -> Shard:
        """Read ``2/4``.

        Raises:
            ConfigError: It is no share.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise ConfigError(f"--shard {text}: no share; accepted: one of how many, as 1/4, 2/4, 3/4, 4/4")
        return shard


def keys_of(run: Run, shard: Shard) -> list[str]:
    """Return the models of one share of all that is worked on.

    What is stored does not matter: processes that start at different times divide alike.
    """
    tuned = run.plan.tuned_models  # what has the defaults has a study that is none of the plan's
    parts = divided(run.plan.mine, shard.of, lambda study: tuned.get(study, 0))
    return [f.key for f in parts[shard.number - 1]]
