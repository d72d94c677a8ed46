"""Rows of the event tables, held column by column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionbench_plugins.tasks.mimic.synthetic.latents import Floats
from fusionbench_plugins.tasks.mimic.synthetic.stays import Ints


@dataclass
class Events:
    """Measurements in the order in which they were added.

    ``stay`` is a row of the stays, ``seconds`` count from its intime, ``value`` and ``number`` are the
    texts of the columns ``value`` and ``valuenum``; null is an empty cell.
    """

    stay: list[Ints] = field(default_factory=list)
    seconds: list[Ints] = field(default_factory=list)
    itemid: list[Ints] = field(default_factory=list)
    value: list[Any] = field(default_factory=list)
    number: list[Any] = field(default_factory=list)

    def add_numbers(self, itemid: int | Ints, stay: Ints, seconds: Ints, numbers: Floats, decimals: int = 0) -> None:
        """Add one numeric event per entry, written with at most ``decimals`` decimals."""
        text = format_numbers(numbers, decimals)
        self._add(itemid, stay, seconds, text, text)

    def add_words(
        self, itemid: int, stay: Ints, seconds: Ints, codes: Ints, words: tuple[tuple[int, str], ...]
    ) -> None:
        """Add events with a text and its score; ``codes`` are positions in ``words``."""
        import pyarrow as pa

        picked = pa.array(codes)
        scores = pa.array([str(score) for score, _ in words]).take(picked)
        self._add(itemid, stay, seconds, pa.array([word for _, word in words]).take(picked), scores)

    def add_text(self, itemid: int, stay: Ints, seconds: Ints, codes: Ints, words: tuple[str, ...]) -> None:
        """Add events with a text and no number."""
        import pyarrow as pa

        self._add(itemid, stay, seconds, pa.array(words).take(pa.array(codes)), pa.nulls(len(codes), pa.string()))

    def _add(self, itemid: int | Ints, stay: Ints, seconds: Ints, value: Any, number: Any) -> None:
        self.stay.append(stay)
        self.seconds.append(seconds)
        self.itemid.append(np.broadcast_to(itemid, len(stay)))
        self.value.append(value)
        self.number.append(number)

    def sorted(self) -> SortedEvents:
        """Return all rows by stay, time and item."""
        import pyarrow as pa

        stay, seconds, itemid = (np.concatenate(c) for c in (self.stay, self.seconds, self.itemid))
        order = np.lexsort((itemid, seconds, stay))
        value, number = (pa.concat_arrays(c).take(pa.array(order)) for c in (self.value, self.number))
        return SortedEvents(stay[order], seconds[order], itemid[order], value, number)


@dataclass(frozen=True)
class SortedEvents:
    """One row per event, see :class:`Events`; ``value`` and ``number`` are Arrow string arrays."""

    stay: Ints
    seconds: Ints
    itemid: Ints
    value: Any
    number: Any

    def __len__(self) -> int:
        return len(self.stay)


def format_numbers(numbers: NDArray[Any], decimals: int) -> Any:
    """Return an Arrow string array, trailing zeros dropped; far faster than formatting one by one."""
    import pyarrow as pa

    if not len(numbers):
        return pa.array([], pa.string())
    whole = np.rint(np.asarray(numbers) * 10**decimals).astype(np.int64)
    low, high = int(whole.min()), int(whole.max())
    texts = pa.array([f"{k / 10**decimals:.{decimals}f}" for k in range(low, high + 1)])
    if decimals:
        texts = pa.array([t.rstrip("0").rstrip(".") for t in texts.to_pylist()])
    return texts.take(pa.array(whole - low))
