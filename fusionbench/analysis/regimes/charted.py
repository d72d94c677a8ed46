"""A map: settings that a benchmark file sweeps over, what was measured there, and which lines could be the best.

The numbers of the map of regimes lie in ``map.json`` beside this module; ``benchmarks/oracles/regimes.py`` writes it after a
sweep, and says in it with which command, version and protocol.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.keys import PROTOCOL_VERSION
from fusionbench.metrics.registry import METRICS

FORMAT: Final = 1
PACKAGED: Final = Path(__file__).with_name("map.json")
PLACE: Final = ("dominance", "redundancy", "synergy")


class Made(NamedTuple):
    """How a map was made."""

    command: str
    version: str
    protocol: int
    data: str
    settings: str


@dataclass(frozen=True)
class Regime:
    """One setting of the dials, and what was found there.

    Args:
        dials: As they were set.
        place: Dominance, redundancy, synergy, as they were measured; empty: subsets were not scored.
        known: The same of the best possible prediction; empty: it is not known.
        ceiling: The metric of the best possible prediction by rate; empty: it is not known.
        achieved: Share that was hidden, by rate.
        values: The metric by rate and line.
        possible: By rate, the lines that could be the best (positions).
    """

    dials: Sequence[Any]
    place: Sequence[float]
    known: Sequence[float]
    ceiling: Sequence[float]
    achieved: Sequence[float]
    values: Sequence[Sequence[float]]
    possible: Sequence[Sequence[int]]


@dataclass(frozen=True)
class RegimeMap:
    """A sweep over the dials.

    Args:
        made: How.
        dials: Their names.
        pattern: What is missing.
        metric: What lines are ranked by.
        lines: Names of the strategies.
        rates: Nominal missing rates.
        regimes: Every setting of the dials.
    """

    made: Made
    dials: Sequence[str]
    pattern: str
    metric: str
    lines: Sequence[str]
    rates: Sequence[float]
    regimes: Sequence[Regime]

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """Measured places, ``[regimes, 3]``."""
        return np.array([r.place for r in self.regimes], dtype=np.float64)

    @cached_property
    def possible(self) -> NDArray[np.bool_]:
        """Which lines could be the best, ``[regimes, rates, lines]``."""
        found = np.zeros((len(self.regimes), len(self.rates), len(self.lines)), dtype=np.bool_)
        for i, regime in enumerate(self.regimes):
            for j, lines in enumerate(regime.possible):
                found[i, j, list(lines)] = True
        return found

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The metric, ``[regimes, rates, lines]``."""
        return np.array([r.values for r in self.regimes], dtype=np.float64)

    @cached_property
    def behind(self) -> NDArray[np.float64]:
        """How far each line stays behind the best of them, ``[regimes, rates, lines]``."""
        best = self.values.max(axis=2) if METRICS[self.metric].higher_is_better else self.values.min(axis=2)
        found: NDArray[np.float64] = np.abs(best[:, :, None] - self.values)
        return found

    @property
    def planted(self) -> bool:
        """Whether the best possible prediction is known everywhere."""
        return all(len(r.ceiling) for r in self.regimes)

    @cached_property
    def regret(self) -> NDArray[np.float64]:
        """How far each line stays behind the best possible prediction; where that is not known, behind the best line."""
        if not self.planted:
            return self.behind
        ceiling = np.array([r.ceiling for r in self.regimes], dtype=np.float64)
        sign = 1 if METRICS[self.metric].higher_is_better else -1
        found: NDArray[np.float64] = sign * (ceiling[:, :, None] - self.values)
        return found

    @property
    def reach(self) -> float:
        """How far from a regime it still speaks for a data set: half the diagonal between neighbouring settings of two dials."""
        values = [sorted({regime.dials[i] for regime in self.regimes}) for i in range(len(self.dials))]
        steps = [float(np.diff(one).max()) for one in values if len(one) > 1]
        return max(steps, default=0.0) / 2**0.5

    @property
    def older(self) -> bool:
        """Whether it was made under another protocol than this version's."""
        return self.made.protocol != PROTOCOL_VERSION

    def table(self) -> pd.DataFrame:
        """One row for each regime, rate and line."""
        records = [
            {
                **dict(zip(self.dials, regime.dials, strict=True)),
                **dict(zip((f"measured_{name}" for name in PLACE), regime.place, strict=False)),
                **dict(zip((f"ceiling_{name}" for name in PLACE), regime.known, strict=False)),
                "pattern": self.pattern,
                "rate": rate,
                "achieved": regime.achieved[j],
                "strategy": line,
                self.metric: regime.values[j][k],
                "ceiling": regime.ceiling[j] if len(regime.ceiling) else np.nan,
                "regret": self.regret[i, j, k] if self.planted else np.nan,
                "behind_the_best_line": self.behind[i, j, k],
                "possible_best": k in regime.possible[j],
            }
            for i, regime in enumerate(self.regimes)
            for j, rate in enumerate(self.rates)
            for k, line in enumerate(self.lines)
        ]
        return pd.DataFrame(records)

    def text(self) -> str:
        """Return what :func:`read_map` reads: JSON, one regime a line."""
        head = {"format": FORMAT, "made": self.made._asdict()}
        head |= {name: getattr(self, name) for name in ("dials", "pattern", "metric", "lines", "rates")}
        lines = ",\n".join(json.dumps(_rounded(asdict(regime))) for regime in self.regimes)
        return f'{json.dumps(head)[:-1]},\n"regimes": [\n{lines}\n]}}\n'


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value


def read_map(path: Path = PACKAGED) -> RegimeMap:
    """Read a map.

    Raises:
        ValueError: It is of another format.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("format") != FORMAT:
        raise ValueError(f"{path}: format {found.get('format')!r}; this version reads {FORMAT}")
    return RegimeMap(
        Made(**found["made"]),
        tuple(found["dials"]),
        found["pattern"],
        found["metric"],
        tuple(found["lines"]),
        tuple(found["rates"]),
        tuple(Regime(**regime) for regime in found["regimes"]),
    )
