"""The work of a run divided into shares: for the processes of an executor, or for machines with a common workspace.

What is divided are studies with the models that need them, so that no two processes tune the same. Neighbours in the
plan stay together: most arms are whole in one share, and populations as large as in one process.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from fusionbench.errors import ConfigError

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob
    from fusionbench.run.runner import Run


# --------------------------------------------------------------------------------------------
# dividing


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


def divided(fits: Sequence[FitJob], shares: int, trials: Callable[[str], int]) -> list[list[FitJob]]:
    """Divide models into shares that train about as many: a share differs from the mean by one study with its models at most.

    Args:
        fits: Models, in the order of the plan.
        shares: How many shares.
        trials: How many models the tuning of a study trains, by its key.
    """
    by_study: dict[str, list[FitJob]] = {}
    for fit in fits:
        by_study.setdefault(fit.study, []).append(fit)
    weights = {study: trials(study) + len(needing) for study, needing in by_study.items()}
    total, before = sum(weights.values()), 0
    found: list[list[FitJob]] = [[] for _ in range(shares)]
    for study, weight in weights.items():  # into the share in which the middle of the study falls
        found[(2 * before + weight) * shares // (2 * total)] += by_study[study]
        before += weight
    return found


def keys_of(run: Run, shard: Shard) -> list[str]:
    """Return the models of one share of all that is worked on.

    What is stored does not matter: processes that start at different times divide alike.
    """
    tuned = run.plan.tuned_models  # what has the defaults has a study that is none of the plan's
    parts = divided(run.plan.mine, shard.of, lambda study: tuned.get(study, 0))
    return [f.key for f in parts[shard.number - 1]]


def keys_from(file: IO[str]) -> list[str]:
    """Return the keys of the models that this process is to work on; from now on it ends with the one that started it.

    Args:
        file: A pipe with one key a line, then an empty line; it stays open as long as the other process lives.
    """

    def end_with_it() -> None:
        os.read(file.fileno(), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    keys = [line.strip() for line in iter(file.readline, "\n")]
    threading.Thread(target=end_with_it, daemon=True).start()
    return keys
