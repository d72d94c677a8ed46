"""Generated problems whose truth is known: what every fusion strategy should be able to do, and what none can.

Rows are independent, training and test rows come from one distribution, every modality is a vector, and the label is 1
in half of the rows. With signs b in {-1, 1}, a unit vector d that all entries share, and standard normal noise e::

    xor     x_m = separation b_m d + e               y = 1 where the product of all b_m is -1
    noise   x_m = effect_m (2y - 1) d + e            and a modality of e alone
    lazy    fast = fast_separation (2y - 1) d + e    many entries, little signal: learnt by heart before it is learnt
            slow = slow_separation (b_1 d_1 + b_2 d_2) + e,  y = 1 where b_1 b_2 is -1: no linear map of it helps
    regimes x_m = z d_1 + (u_m (2y - 1) + e_1) d_2 + (w b_m + e_2) d_3 + e,  y = 1 where b_1 b_2 is -1
            z = v (2y - 1) + e_0 is one number that both modalities show, u_m is what modality m knows alone

``lazy`` has what Wang et al. 2020 (arXiv:1905.12681) and Peng et al. 2022 (arXiv:2203.15332) describe: one modality overfits at
once, and the loss is small before the encoder of the better one has learnt much. ``regimes`` keeps the whole information as it
is while its dials say which modality holds how much of it, how much both hold, and how much only both together tell:
:mod:`fusionbench_plugins.tasks._regimes` has the formulas of v, u_m and w.

The best possible prediction from any subset of the modalities follows from Bayes' rule, and is given exactly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench import Dataset, Modality, TargetKind, Task, hookimpl
from fusionbench.errors import did_you_mean
from fusionbench.hookspecs import Register
from fusionbench.keys import digest
from fusionbench.progress import Progress
from fusionbench_plugins.tasks._regimes import separation_of, shares_of

Floats = NDArray[np.float64]

GENERATOR_VERSION = 1
MOST_ROWS = 10_000_000
"""Part of the digest: raise it when the same dials give other rows."""


class Drawn(NamedTuple):
    """A problem's rows.

    Args:
        values: Float ``[rows, width]`` by modality.
        target: Int64 ``[rows]``, 0 or 1.
        ceiling: Float ``[rows, 2 ** modalities]``, P(target = 1 | the modalities whose bits are set).
    """

    values: dict[str, Floats]
    target: NDArray[np.int64]
    ceiling: Floats


@dataclass(frozen=True)
class Problem(ABC):
    """A kind of problem with its dials."""

    question: ClassVar[str]

    @abstractmethod
    def draw(self, rows: int, generator: np.random.Generator) -> Drawn:
        """Draw rows."""

    def problems(self) -> list[str]:
        """What is wrong with the dials, one sentence each: widths and counts are 1 or more, effects 0 or more."""
        found = []
        for name, value in asdict(self).items():
            whole = isinstance(getattr(type(self), name), int)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                found.append(f"{name} must be a {'whole ' if whole else ''}number, found {value!r}")
            elif not (value >= 1 if whole else 0 <= value < float("inf")):
                found.append(f"{name} must be {'1 or more' if whole else '0 or more'}, found {value}")
        return found


@dataclass(frozen=True)
class Xor(Problem):
    """The label is the exclusive or of one sign in each modality; all modalities but one say nothing about it.

    Args:
        modalities: How many, 2 to 4.
        width: Entries of each.
        separation: Distance of both means from zero, in standard deviations of the noise.
    """

    modalities: int = 2
    width: int = 8
    separation: float = 2.0

    question: ClassVar[str] = "Exclusive or of one sign in each modality"
    names: ClassVar[tuple[str, ...]] = ("first", "second", "third", "fourth")

    def problems(self) -> list[str]:
        """What is wrong with the dials."""
        few = [] if self.modalities in (2, 3, 4) else [f"modalities must be 2, 3 or 4, found {self.modalities!r}"]
        return few or super().problems()

    def draw(self, rows: int, generator: np.random.Generator) -> Drawn:
        """Draw rows."""
        signs = 2 * generator.integers(0, 2, (rows, self.modalities)) - 1
        direction = unit(self.width)
        values = {
            name: self.separation * signs[:, [m]] * direction + generator.normal(size=(rows, self.width))
            for m, name in enumerate(self.names[: self.modalities])
        }
        seen = np.stack([x @ direction for x in values.values()], axis=1)
        ceiling = np.full((rows, 2**self.modalities), 0.5)
        ceiling[:, -1] = odds_of_difference(seen, self.separation)
        return Drawn(values, (signs.prod(axis=1) < 0).astype(np.int64), ceiling)


@dataclass(frozen=True)
class Noise(Problem):
    """Two modalities that know the label, and one that is noise.

    Args:
        width: Entries of ``strong`` and ``weak``.
        noise_width: Entries of ``noise``.
        strong: Distance of the means of ``strong`` from zero, in standard deviations of the noise.
        weak: The same for ``weak``.
    """

    width: int = 8
    noise_width: int = 8
    strong: float = 1.0
    weak: float = 0.7

    question: ClassVar[str] = "Two modalities that know the label, and a modality of noise"

    def draw(self, rows: int, generator: np.random.Generator) -> Drawn:
        """Draw rows."""
        target = generator.integers(0, 2, rows)
        strong, weak = (shifted(target, effect, self.width, generator) for effect in (self.strong, self.weak))
        noise = generator.normal(size=(rows, self.noise_width))
        evidence = np.stack([shift_evidence(strong, self.strong), shift_evidence(weak, self.weak), np.zeros(rows)])
        return Drawn({"strong": strong, "weak": weak, "noise": noise}, target, from_evidence(evidence))


@dataclass(frozen=True)
class Lazy(Problem):
    """A modality that is soon learnt by heart, and a better one that takes longer.

    Args:
        fast_width: Entries of ``fast``; the more, the sooner training rows are told apart by their noise.
        fast_separation: Distance of the means of ``fast`` from zero, in standard deviations of the noise.
        slow_width: Entries of ``slow``.
        slow_separation: Distance of each sign of ``slow`` from zero, in standard deviations of the noise.
    """

    fast_width: int = 500
    fast_separation: float = 1.0
    slow_width: int = 60
    slow_separation: float = 2.0

    question: ClassVar[str] = "A modality that overfits at once, and a better one that takes longer"

    def problems(self) -> list[str]:
        """What is wrong with the dials."""
        narrow = self.slow_width == 1
        return [*super().problems(), *(["slow_width must be 2 or more: slow holds two signs"] if narrow else [])]

    def draw(self, rows: int, generator: np.random.Generator) -> Drawn:
        """Draw rows."""
        signs = 2 * generator.integers(0, 2, (rows, 2)) - 1
        target = (signs.prod(axis=1) < 0).astype(np.int64)
        fast = shifted(target, self.fast_separation, self.fast_width, generator)
        half = self.slow_width // 2
        directions = np.zeros((2, self.slow_width))
        directions[0, :half], directions[1, half:] = unit(half), unit(self.slow_width - half)
        slow = self.slow_separation * signs @ directions + generator.normal(size=(rows, self.slow_width))
        p = odds_of_difference(slow @ directions.T, self.slow_separation)
        evidence = np.stack([shift_evidence(fast, self.fast_separation), np.log(p) - np.log1p(-p)])
        return Drawn({"fast": fast, "slow": slow}, target, from_evidence(evidence))


@dataclass(frozen=True)
class Regimes(Problem):
    """Two modalities, and dials for who holds how much of what they say about the label.

    Args:
        width: Entries of each modality; a third of them for each kind of information.
        strength: Of everything together: the best possible AUROC is about ``Phi(sqrt(2) strength)``, wherever the dials stand.
        imbalance: 0: what is not shared lies in both alike; 1: all of it lies in the first.
        redundancy: 0: each modality has its own evidence; 1: both show the same number.
        synergy: 0: nothing is told by both together only; 1: everything is (an exclusive or).
    """

    width: int = 12
    strength: float = 1.0
    imbalance: float = 0.0
    redundancy: float = 0.0
    synergy: float = 0.0

    question: ClassVar[str] = "Two modalities with dials for imbalance, redundancy and synergy"
    shares: ClassVar[tuple[str, ...]] = ("imbalance", "redundancy", "synergy")
    strongest: ClassVar[float] = 3.0  # a best possible AUROC of .99999

    def problems(self) -> list[str]:
        """What is wrong with the dials."""
        found = super().problems()
        if found:
            return found
        narrow = [] if self.width >= 3 else [f"width must be 3 or more, a third for each kind, found {self.width}"]
        strong = [] if self.strength <= self.strongest else [f"strength must be at most 3, found {self.strength}"]
        large = [name for name in self.shares if getattr(self, name) > 1]
        return narrow + strong + [f"{name} must be between 0 and 1, found {getattr(self, name)}" for name in large]

    def draw(self, rows: int, generator: np.random.Generator) -> Drawn:
        """Draw rows."""
        shares = shares_of(self.imbalance, self.redundancy, self.synergy)
        common, *own = (self.strength * share**0.5 for share in (shares.shared, shares.first, shares.second))
        separation = separation_of(shares.together * self.strength**2 / 2)
        target = generator.integers(0, 2, rows)
        shared = common * (2 * target - 1) + generator.normal(size=rows)
        sign = 2 * generator.integers(0, 2, rows) - 1
        width, last = self.width // 3, self.width - 2 * (self.width // 3)
        blocks = [
            (
                with_entry(generator.normal(size=(rows, width)), shared),
                shifted(target, effect, width, generator),
                with_entry(generator.normal(size=(rows, last)), separation * one + generator.normal(size=rows)),
            )
            for effect, one in zip(own, (sign, sign * (1 - 2 * target)), strict=True)
        ]
        alone = [shift_evidence(block[1], effect) for block, effect in zip(blocks, own, strict=True)]
        p = odds_of_difference(np.stack([block[2] @ unit(last) for block in blocks], axis=1), separation)
        both, together = 2 * common * shared, np.log(p) - np.log1p(-p)
        evidence = np.stack([np.zeros(rows), both + alone[0], both + alone[1], both + sum(alone) + together], axis=1)
        values = {name: np.concatenate(block, axis=1) for name, block in zip(Xor.names, blocks, strict=False)}
        return Drawn(values, target, 1 / (1 + np.exp(-evidence)))


PROBLEMS: Mapping[str, type[Problem]] = {"xor": Xor, "noise": Noise, "lazy": Lazy, "regimes": Regimes}


class Planted(Task):
    """A generated problem with a known best prediction.

    Args:
        problem: ``xor``, ``noise``, ``lazy`` or ``regimes``.
        rows: How many; folds are drawn from them.
        seed: Another seed, other rows.
        dials: Numbers of the problem by name; those left out have their defaults.

    Raises:
        ValueError: All options that are out of range, one line each.
    """

    def __init__(
        self, problem: str = "xor", rows: int = 2000, seed: int = 0, dials: Mapping[str, Any] | None = None
    ) -> None:
        found = [] if _whole(rows, 10) else [f"rows must be a whole number, 10 or more, found {rows!r}"]
        found += [] if found or rows <= MOST_ROWS else [f"rows must be at most {MOST_ROWS:,}, found {rows:,}"]
        found += [] if _whole(seed, 0) else [f"seed must be a whole number, 0 or more, found {seed!r}"]
        if problem not in PROBLEMS:
            hint = did_you_mean(str(problem), list(PROBLEMS))
            raise ValueError(
                "\n".join([*found, f"no problem named {problem!r}{hint}; accepted: {', '.join(PROBLEMS)}"])
            )
        self.name, self.rows, self.seed = problem, rows, seed
        self.problem = _with_dials(PROBLEMS[problem], dials, found)
        if found:
            raise ValueError("\n".join(found))

    def prepare(self, cache: Path, progress: Progress) -> Dataset:
        """Draw the rows; it takes less time than reading them would."""
        drawn = self.problem.draw(self.rows, np.random.default_rng(self.seed))
        dials = asdict(self.problem)
        return Dataset(
            modalities={name: Modality("vector", values.astype(np.float32)) for name, values in drawn.values.items()},
            available=np.ones((self.rows, len(drawn.values)), dtype=np.bool_),
            target=drawn.target,
            kind=TargetKind.BINARY,
            outputs=("label",),
            groups=np.arange(self.rows),
            digest=digest(["planted", GENERATOR_VERSION, self.name, self.rows, self.seed, dials]),
            synthetic=True,
            ceiling=drawn.ceiling,
            description=f"SYNTHETIC. {self.problem.question}",
        )


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _with_dials(kind: type[Problem], dials: Any, found: list[str]) -> Problem:
    """The problem with its dials set; what is wrong with them is added to ``found``."""
    known = [f.name for f in fields(kind)]
    given = {} if dials is None else dials
    if not isinstance(given, Mapping):
        found.append(f"dials must be a mapping, found {given!r}")
        given = {}
    for dial in given:
        if dial not in known:
            hint = did_you_mean(str(dial), known)
            found.append(f"{kind.__name__.lower()} has no dial {dial!r}{hint}; its dials: {', '.join(known)}")
    problem = kind(**{k: v for k, v in given.items() if k in known})
    found += problem.problems()
    return problem


# --------------------------------------------------------------------------------------------
# what is drawn, and what it says about the label


def unit(width: int) -> Floats:
    """The direction of length one that all entries share."""
    return np.full(width, width**-0.5)


def shifted(target: NDArray[np.int64], effect: float, width: int, generator: np.random.Generator) -> Floats:
    """Noise around a mean that depends on the label, ``[rows, width]``."""
    return effect * (2 * target - 1)[:, None] * unit(width) + generator.normal(size=(len(target), width))


def with_entry(noise: Floats, entry: Floats) -> Floats:
    """Noise, with something else along the direction that all entries share, ``[rows, width]``."""
    direction = unit(noise.shape[1])
    return noise + (entry - noise @ direction)[:, None] * direction


def shift_evidence(values: Floats, effect: float) -> Floats:
    """Log of P(values | 1) / P(values | 0) of :func:`shifted` rows."""
    evidence: Floats = 2 * effect * values @ unit(values.shape[1])
    return evidence


def odds_of_difference(seen: Floats, separation: float) -> Floats:
    """P(product of the signs is -1 | what is seen of each), ``[rows]``.

    Args:
        seen: Float ``[rows, signs]``: separation times a fair sign plus standard normal noise. The expected sign is then
            ``tanh(separation seen)``, and that of a product of independent signs the product.
        separation: What the sign is multiplied by.
    """
    p: Floats = (1 - np.tanh(separation * seen).prod(axis=1)) / 2
    # tanh rounds to one where the signs are certain
    return p.clip(1e-12, 1 - 1e-12)


def from_evidence(evidence: Floats) -> Floats:
    """P(1 | subset) for every subset of modalities that are independent given the label.

    Args:
        evidence: Float ``[modalities, rows]``: log likelihood ratios.

    Returns:
        Float ``[rows, 2 ** modalities]``; bit m of the column for modality m. Both labels are equally frequent.
    """
    codes = np.arange(2 ** len(evidence))
    member = codes[:, None] >> np.arange(len(evidence)) & 1
    p: Floats = 1 / (1 + np.exp(-(member @ evidence).T))
    return p


@hookimpl
def register_tasks(register: Register) -> None:
    """Register ``planted``."""
    register("planted", Planted)
