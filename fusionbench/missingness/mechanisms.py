"""What mechanisms decide, made into masks: of thresholds, or of masks that were drawn elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import PluginError
from fusionbench.missingness.conditions import Condition, Pattern
from fusionbench.missingness.masks import pattern_thresholds, present_mask
from fusionbench.seeding import Axis, numpy_generator

if TYPE_CHECKING:
    from fusionbench.contract.mechanism import Missingness, MissingnessContext


@runtime_checkable
class GivenMasks(Protocol):
    """A mechanism whose masks were made elsewhere. They win over thresholds, and need not be nested over rates.

    It is asked for all rows at once, so it sees what they have and how they are called, but no label and no summary. With
    an attribute ``by_fold`` that is True it is asked for each fold, whose number is in the context.
    """

    def present(self, context: MissingnessContext, pattern: Pattern, rate: float, seed: int) -> NDArray[np.bool_]:
        """Return bool ``[rows, modalities]``, True = present: within what is available, no row empty."""


def masks_for(
    mechanism: Missingness,
    context: MissingnessContext,
    conditions: Sequence[Condition],
    *,
    name: str,
    seed: int,
    axes: Mapping[str, Axis] | None = None,
) -> NDArray[np.bool_]:
    """Return who is present under each condition.

    The draw depends on ``name``, the pattern, ``seed`` and ``axes``: not on the rates asked for, their order, or the
    strategy.

    Args:
        mechanism: The plugin.
        context: What it may look at, and the rows that masks are wanted for.
        conditions: Patterns and rates.
        name: The name under which the mechanism is registered.
        seed: Another seed, another draw.
        axes: What else tells draws apart: fold and part, where rows are drawn in parts.

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
    thresholds = {
        p: _condition_thresholds(mechanism, context, p, name, {"seed": seed, **(axes or {})})
        for p in dict.fromkeys(patterns)
    }
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
    mechanism: Missingness, context: MissingnessContext, pattern: Pattern, name: str, more: Mapping[str, Axis]
) -> NDArray[np.float64]:
    axes: dict[str, Axis] = {"mechanism": name, "pattern": str(pattern), **more}
    shown = _unseen(context) if mechanism.blind else context
    drawn = mechanism.thresholds(shown, numpy_generator("missingness", **axes))
    _check_thresholds(drawn, context.available.shape, name)
    return pattern_thresholds(
        pattern, drawn, context.available, context.names, numpy_generator("missingness subsets", **axes)
    )


def _unseen(context: MissingnessContext) -> MissingnessContext:
    """Rows without anything that a mechanism could look at."""
    rows = np.ones_like(context.available)
    return replace(context, available=rows, target=np.empty(0, dtype=np.int64), summaries=None, fold=None)


def _check_thresholds(drawn: NDArray[np.float64], shape: tuple[int, ...], name: str) -> None:
    # NaN fails the comparison too
    if drawn.shape != shape or not bool(((drawn >= 0) & (drawn < 1)).all()):
        raise PluginError(
            f"missingness mechanism '{name}': thresholds() must return numbers in [0, 1) shaped {shape}, "
            f"found shape {drawn.shape} with values from {drawn.min(initial=1)} to {drawn.max(initial=0)}"
        )


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
