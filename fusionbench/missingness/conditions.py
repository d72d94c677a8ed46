"""What is hidden, and how much of it: patterns, and the points of a degradation curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fusionbench.errors import ConfigError, did_you_mean

_WORDS = ("random", "all", "one", "natural")


class Pattern(NamedTuple):
    """Which modalities are hidden together.

    Args:
        kind: ``block``: ``members`` vanish together (one member: that modality alone). ``random``: each
            modality for itself. ``all``: a row is reduced to a proper non-empty subset of what it has, each
            equally likely. ``one``: a row loses one of the modalities that it has, each equally likely; one that has a single
            modality loses nothing. ``natural``: nothing is hidden beyond what the record lacks. ``shares``: each member for
            itself, at its own share of the rate.
        members: Modality names of a block, or of those with a share, in modality order; empty for the other kinds.
        shares: For each member its share of the rate, the largest being 1; of kind ``shares`` only.
    """

    kind: Literal["block", "random", "all", "one", "natural", "shares"]
    members: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()

    def __str__(self) -> str:
        if self.shares:
            return "+".join(f"{name}:{share:g}" for name, share in zip(self.members, self.shares, strict=True))
        return "+".join(self.members) or self.kind

    @classmethod
    def parse(cls, text: str, names: Sequence[str]) -> Pattern:
        """Read ``random``, ``all``, ``one``, ``natural``, a modality, modalities joined by ``+``, or ``cxr:0.6+report:0.3``.

        Args:
            text: The pattern as a benchmark file has it.
            names: All modality names, in order.

        Raises:
            ConfigError: A name is unknown or repeated, the block holds every modality, or a modality is
                called like one of the words, or a share is no number above 0.
        """
        if text in _WORDS and text in names:
            raise ConfigError(f"pattern '{text}': a modality has this name, and the word has a meaning; rename it")
        if text in _WORDS:
            return cls(text)  # type: ignore[arg-type]
        parts = [part.strip() for part in text.split("+")]
        if any(":" in part for part in parts):
            return cls._of_shares(parts, text, names)
        for part in parts:
            _check_member(part, text, names)
        if len(set(parts)) < len(parts):
            raise ConfigError(f"pattern '{text}': names a modality twice; name each one once")
        if len(parts) == len(names):
            raise ConfigError(f"pattern '{text}': hides every modality at once; leave one out, or use 'all'")
        return cls("block", tuple(name for name in names if name in parts))

    @classmethod
    def _of_shares(cls, parts: Sequence[str], text: str, names: Sequence[str]) -> Pattern:
        found: dict[str, float] = {}
        for part in parts:
            name, _, said = (piece.strip() for piece in part.partition(":"))
            _check_member(name, text, names)
            share = _positive(said)
            if name in found or share is None:
                raise ConfigError(
                    f"pattern '{text}': needs each modality once, with a number above 0 behind it, as in "
                    f"'{names[0]}:0.6+{names[-1]}:0.3'"
                )
            found[name] = share
        largest = max(found.values())
        members = tuple(name for name in names if name in found)
        return cls("shares", members, tuple(found[name] / largest for name in members))


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


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


COMPLETE = Condition("complete", 0.0)


def condition_label(condition: Condition) -> str:
    """Return the name of a condition in tables and messages: ``random@0.3``."""
    return f"{condition.pattern}@{condition.rate:g}"
