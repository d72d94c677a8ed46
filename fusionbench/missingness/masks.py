"""Who is present, for a mechanism, a pattern and a rate.

A mechanism gives every cell of rows x modalities a threshold; a pattern says which cells may be hidden and
which go together; a rate hides the cells whose threshold is below it. So masks are nested over rates, and
they are keyed by mechanism, pattern and seed, never by strategy: everyone meets the same absences.

A mechanism that has masks instead of thresholds (:class:`GivenMasks`) is asked for them; they need not be nested.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import ConfigError, PluginError, did_you_mean
from fusionbench.seeding import Axis, numpy_generator

if TYPE_CHECKING:
    from fusionbench.contract.learners import Missingness, MissingnessContext

NEVER = 1.0
"""The threshold of a cell that no rate hides."""

_WORDS = ("random", "all", "natural")


class Pattern(NamedTuple):
    """Which modalities are hidden together.

    Args:
        kind: ``block``: ``members`` vanish together (one member: that modality alone). ``random``: each
            modality for itself. ``all``: a row is reduced to a proper non-empty subset of what it has, each
            equally likely. ``natural``: nothing is hidden beyond what the record lacks.
        members: Modality names of a block, in modality order; empty for the other kinds.
    """

    kind: Literal["block", "random", "all", "natural"]
    members: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "+".join(self.members) or self.kind

    @classmethod
    def parse(cls, text: str, names: Sequence[str]) -> Pattern:
        """Read ``random``, ``all``, ``natural``, a modality, or modalities joined by ``+``.

        Args:
            text: The pattern as a benchmark file has it.
            names: All modality names, in order.

        Raises:
            ConfigError: A name is unknown or repeated, the block holds every modality, or a modality is
                called like one of the three words.
        """
        if text in _WORDS and text in names:
            raise ConfigError(f"pattern '{text}': a modality has this name, and the word has a meaning; rename it")
        if text in _WORDS:
            return cls(text)  # type: ignore[arg-type]
        parts = [part.strip() for part in text.split("+")]
        for part in parts:
            _check_member(part, text, names)
        if len(set(parts)) < len(parts):
            raise ConfigError(f"pattern '{text}': names a modality twice; name each one once")
        if len(parts) == len(names):
            raise ConfigError(f"pattern '{text}': hides every modality at once; leave one out, or use 'all'")
        return cls("block", tuple(name for name in names if name in parts))


def _check_member(part: str, text: str, names: Sequence[str]) -> None:
    if part not in names:
        known = (*names, *_WORDS)
        raise ConfigError(
            f"pattern '{text}': no modality named '{part}'{did_you_mean(part, known)}; "
            f"accepted are {', '.join(known)}, or modalities joined by '+'"
        )


@dataclass(frozen=True)
class Condition:
    """One point of a degradation curve.

    Args:
        pattern: As :meth:`Pattern.parse` reads it.
        rate: Share of rows to hide it in, 0 <= rate < 1; ``natural`` has rate 0 only.

    Raises:
        ConfigError: The rate is outside.
    """

    pattern: str
    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ConfigError(
                f"missing rate {self.rate}: must be at least 0 and below 1 (a fraction, not a percentage)"
            )
        if self.pattern == "natural" and self.rate > 0:
            raise ConfigError(f"missing rate {self.rate}: pattern 'natural' hides nothing; its only rate is 0")


@runtime_checkable
class GivenMasks(Protocol):
    """A mechanism whose masks were made elsewhere. They win over thresholds, and need not be nested over rates."""

    def present(self, context: MissingnessContext, pattern: Pattern, rate: float, seed: int) -> NDArray[np.bool_]:
        """Return bool ``[rows, modalities]``, True = present: within what is available, no row empty."""


def masks_for(
    mechanism: Missingness, context: MissingnessContext, conditions: Sequence[Condition], *, name: str, seed: int
) -> NDArray[np.bool_]:
    """Return who is present under each condition.

    The draw depends on ``name``, the pattern and ``seed``: not on the rates asked for, their order, the fold
    or the strategy.

    Args:
        mechanism: The plugin.
        context: What it may look at; all rows of the dataset.
        conditions: Patterns and rates.
        name: The name under which the mechanism is registered.
        seed: Another seed, another draw.

    Returns:
        Bool ``[conditions, rows, modalities]``, True = present.

    Raises:
        ConfigError: A pattern is not valid for these modalities.
        PluginError: The mechanism's thresholds are not numbers in [0, 1) of the right shape, or the masks of a
            :class:`GivenMasks` show what is not there, or leave a row empty.
    """
    patterns = [Pattern.parse(condition.pattern, context.names) for condition in conditions]
    if isinstance(mechanism, GivenMasks):
        given = [
            mechanism.present(context, pattern, condition.rate, seed)
            for pattern, condition in zip(patterns, conditions, strict=True)
        ]
        return _checked(given, context.available, name)
    thresholds = {p: _condition_thresholds(mechanism, context, p, name, seed) for p in dict.fromkeys(patterns)}
    masks = np.empty((len(conditions), *context.available.shape), dtype=np.bool_)
    for mask, pattern, condition in zip(masks, patterns, conditions, strict=True):
        mask[:] = present_mask(context.available, thresholds[pattern], condition.rate)
    return masks


def _checked(given: Sequence[NDArray[np.bool_]], available: NDArray[np.bool_], name: str) -> NDArray[np.bool_]:
    for mask in given:
        fits = mask.shape == available.shape and mask.dtype == np.bool_
        if not fits or bool((mask & ~available).any()) or not bool(mask.any(axis=1).all()):
            raise PluginError(
                f"missingness mechanism '{name}': present() must return bool {available.shape}, True only where the "
                f"modality is available and once in each row at least; found {mask.dtype} {mask.shape}"
            )
    return np.stack(given)


def _condition_thresholds(
    mechanism: Missingness, context: MissingnessContext, pattern: Pattern, name: str, seed: int
) -> NDArray[np.float64]:
    axes: dict[str, Axis] = {"mechanism": name, "pattern": str(pattern), "seed": seed}
    drawn = mechanism.thresholds(context, numpy_generator("missingness", **axes))
    _check_thresholds(drawn, context.available.shape, name)
    return pattern_thresholds(
        pattern, drawn, context.available, context.names, numpy_generator("missingness subsets", **axes)
    )


def _check_thresholds(drawn: NDArray[np.float64], shape: tuple[int, ...], name: str) -> None:
    # NaN fails the comparison too
    if drawn.shape != shape or not bool(((drawn >= 0) & (drawn < 1)).all()):
        raise PluginError(
            f"missingness mechanism '{name}': thresholds() must return numbers in [0, 1) shaped {shape}, "
            f"found shape {drawn.shape} with values from {drawn.min(initial=1)} to {drawn.max(initial=0)}"
        )


def pattern_thresholds(
    pattern: Pattern,
    thresholds: NDArray[np.float64],
    available: NDArray[np.bool_],
    names: Sequence[str],
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Restrict a mechanism's thresholds to a pattern: cells it never hides get :data:`NEVER`.

    ``block`` members share the threshold of the first member, and ``all`` takes the first column as the
    threshold of the row, so that a rate is a share of rows.

    Args:
        pattern: What goes together.
        thresholds: Float ``[rows, modalities]`` in [0, 1).
        available: Bool ``[rows, modalities]``.
        names: Modality names, in column order.
        generator: Draws the subset that each row keeps under ``all``.

    Returns:
        Float64 ``[rows, modalities]`` in [0, 1].
    """
    if pattern.kind == "random":
        return thresholds
    result = np.full(thresholds.shape, NEVER)
    if pattern.kind == "block":
        columns = [names.index(member) for member in pattern.members]
        result[:, columns] = thresholds[:, columns[:1]]
    elif pattern.kind == "all":
        kept = _drawn_subsets(available, generator)
        result = np.where(kept, NEVER, thresholds[:, :1])
    return result


def _drawn_subsets(available: NDArray[np.bool_], generator: np.random.Generator) -> NDArray[np.bool_]:
    """Bool ``[rows, modalities]``: for each row a proper non-empty subset of its modalities, uniformly drawn.

    Rows with one modality keep it.
    """
    count = available.sum(axis=1)
    # subsets as numbers: bit k of 1 .. 2^count - 2 says whether the row's k-th available modality stays
    subset = 1 + (generator.random(len(available)) * np.maximum(2**count - 2, 1)).astype(np.int64)
    position = np.maximum(available.cumsum(axis=1) - 1, 0)
    kept: NDArray[np.bool_] = available & ((subset[:, None] >> position) & 1).astype(np.bool_)
    return kept


def present_mask(available: NDArray[np.bool_], thresholds: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """Hide the cells whose threshold is below the rate, and leave no row empty.

    In each row the available cell with the largest threshold (the first of them on ties) is never hidden, so
    what is hidden at a rate stays hidden at every higher one. The price: where a pattern may hide all that a
    row has, fewer cells vanish than the rate says (two modalities under ``random``: ``r - r ** 2 / 2``);
    :func:`achieved_rate` says how many did.

    Args:
        available: Bool ``[rows, modalities]``, one True in each row at least.
        thresholds: Float ``[rows, modalities]`` in [0, 1].
        rate: 0 <= rate < 1.

    Returns:
        Bool ``[rows, modalities]``, True = present; never True where not available.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), found {rate}")
    last = np.where(available, thresholds, -1.0).argmax(axis=1)
    kept = thresholds >= rate
    kept[np.arange(len(kept)), last] = True
    return available & kept


def achieved_rate(available: NDArray[np.bool_], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the available cells that are hidden, by modality.

    Args:
        available: Bool ``[rows, modalities]``.
        present: Bool ``[..., rows, modalities]``.

    Returns:
        Float64 ``[..., modalities]``; NaN for a modality that no row has.
    """
    held = available.sum(axis=0)
    hidden = held - (present & available).sum(axis=-2)
    shares: NDArray[np.float64] = np.divide(hidden, held, out=np.full(hidden.shape, np.nan), where=held > 0)
    return shares


MASK_NAME = 16
"""Characters of a mask's digest that name it in tables and in the store."""


def mask_digest(mask: NDArray[np.bool_]) -> str:
    """Hash a mask of any shape, to cite it: equal digests, equal absences."""
    shape = "x".join(map(str, mask.shape))
    return hashlib.sha256(shape.encode() + b":" + np.packbits(mask).tobytes()).hexdigest()


def thresholds_from(
    driver: NDArray[np.float64], available: NDArray[np.bool_], strength: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Let a number decide who loses a modality first, at unchanged rates.

    Rows are ranked by ``strength * z + sqrt(1 - strength ** 2) * noise``, z the standardised driver, and the
    rank is the threshold: uniform over the rows that have the modality, whatever the driver looks like.

    Args:
        driver: Float ``[rows]``; constant drivers decide nothing.
        available: Bool ``[rows]``: who has the modality.
        strength: -1 to 1, the correlation with the (negated) rank: positive means that rows with a large
            driver lose the modality first, 0 is missing completely at random.
        generator: Draws the noise, and the place within a rank.

    Returns:
        Float64 ``[rows]`` in [0, 1).
    """
    noise, place = generator.standard_normal(len(driver)), generator.random(len(driver))
    spread = driver[available].std() if available.any() else 0.0
    z = (driver - driver[available].mean()) / spread if spread > 0 else np.zeros(len(driver))
    propensity = strength * z + np.sqrt(1 - strength**2) * noise
    # rows without the modality keep a plain uniform: they must not use up ranks
    result = place.copy()
    rows = np.flatnonzero(available)
    rank = np.empty(len(rows))
    rank[np.argsort(-propensity[rows], kind="stable")] = np.arange(len(rows))
    result[rows] = np.minimum((rank + place[rows]) / max(len(rows), 1), np.nextafter(1.0, 0.0))
    return result
