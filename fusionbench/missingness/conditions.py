"""What is hidden, and how much of it: patterns, and the points of a degradation curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fusionbench.errors import ConfigError, did_you_mean

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


COMPLETE = Condition("complete", 0.0)


def condition_label(condition: Condition) -> str:
    """Return the name of a condition in tables and messages: ``random@0.3``."""
    return f"{condition.pattern}@{condition.rate:g}"
