"""Long texts in overlapping windows: where they begin, what each holds, and how much a word piece counts in the mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

MOST_PIECES: Final = 131_072


class Window(NamedTuple):
    """One window of every text that has so many.

    Args:
        rows: Int64 ``[n]``, which texts of the batch.
        tokens: Int64 ``[n, width]``: special pieces, a stretch of the text, special pieces, padding.
        valid: Bool ``[n, width]``, False = padding.
        weight: Float ``[n, width]``: what each piece counts; over all windows of a text every piece counts once, special ones
            too.
    """

    rows: Tensor
    tokens: Tensor
    valid: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Windows:
    """How texts are cut into windows.

    Args:
        width: Word pieces of a window, the special ones included.
        stride: How far one window begins after the other.
        before: Special pieces at the beginning of every text.
        after: Special pieces at the end.
        padding: Number of the padding piece.
    """

    width: int
    stride: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    padding: int

    @property
    def room(self) -> int:
        """Pieces of the text itself in a window."""
        return self.width - len(self.before) - len(self.after)

    def of(self, tokens: Tensor, lengths: Tensor) -> Iterator[Window]:
        """Yield the first window of all texts, then the second of those that have one, and so on.

        Args:
            tokens: Int64 ``[batch, length]``, whole texts with their special pieces.
            lengths: Int64 ``[batch]``, valid pieces.
        """
        first, extra = len(self.before), len(self.before) + len(self.after)
        own = (lengths - extra).clamp_min(0)
        number = 1 + torch.div((own - self.room).clamp_min(0) + self.stride - 1, self.stride, rounding_mode="floor")
        for j in range(int(number.max())):
            rows = torch.nonzero(number > j)[:, 0]
            start = j * self.stride
            held = (own[rows] - start).clamp(0, self.room)
            yield self._window(tokens[rows, first + start : first + start + self.room], rows, held, start, number[rows])

    def _window(self, text: Tensor, rows: Tensor, held: Tensor, start: int, number: Tensor) -> Window:
        n, size = len(rows), int(held.max())
        places = torch.arange(size + len(self.before) + len(self.after), device=text.device)
        tokens = torch.full((n, len(places)), self.padding, dtype=torch.int64, device=text.device)
        first = len(self.before)
        inside = torch.arange(size, device=text.device) < held[:, None]
        tokens[:, first : first + size] = torch.where(inside, text[:, :size], self.padding)
        for i, piece in enumerate(self.before):
            tokens[:, i] = piece
        for i, piece in enumerate(self.after):  # right behind the text, however long it is
            tokens.scatter_(1, (first + held + i)[:, None], piece)
        valid = places < (held + first + len(self.after))[:, None]
        position = start + places - first
        of_text = valid & (places >= first) & (places < (first + held)[:, None])
        share = torch.where(of_text, 1 / self._covering(position, number), 1 / number[:, None])
        return Window(rows, tokens, valid, torch.where(valid, share, 0.0))

    def _covering(self, position: Tensor, number: Tensor) -> Tensor:
        """Float ``[n, places]``: how many windows of a text hold a position of it."""
        newest = torch.div(position.clamp_min(0), self.stride, rounding_mode="floor")
        oldest = torch.div((position - self.room).clamp_min(-1) + self.stride, self.stride, rounding_mode="floor")
        last = torch.minimum(newest, number[:, None] - 1)
        return (last - oldest + 1).clamp_min(1).float()


def windows_of(width: int, stride: int, around: tuple[Sequence[int], Sequence[int]], padding: int) -> Windows:
    """Return how texts are cut.

    Args:
        width: Word pieces of a window, the special ones included.
        stride: How far one window begins after the other.
        around: The special pieces before and after every text.
        padding: Number of the padding piece.

    Raises:
        ValueError: Windows would leave pieces out between them.
    """
    windows = Windows(width, stride, tuple(around[0]), tuple(around[1]), padding)
    if stride > windows.room:
        raise ValueError(
            f"stride is {stride}, and a window of {width} word pieces has room for {windows.room} of the text: pieces between "
            f"two windows would not be read; use a stride of {max(windows.room, 1)} or less, or a larger window"
        )
    return windows


def mean_over(windows: Windows, tokens: Tensor, lengths: Tensor, states: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the mean state over all word pieces of long texts, each counted once: float ``[batch, width]``.

    Args:
        windows: How texts are cut.
        tokens: Int64 ``[batch, length]``, whole texts.
        lengths: Int64 ``[batch]``, valid pieces.
        states: Reads tokens ``[n, length]``, valid where True, and gives ``[n, length, width]``.
    """
    total: Tensor | None = None
    weight = torch.zeros(len(tokens), device=tokens.device)
    for window in windows.of(tokens, lengths):
        found = states(window.tokens, window.valid)
        found = (torch.where(window.valid[..., None], found, 0) * window.weight[..., None]).sum(dim=1)
        if total is None:
            total = found.new_zeros(len(tokens), found.shape[-1])
        total = total.index_add(0, window.rows, found)
        weight = weight.index_add(0, window.rows, window.weight.sum(dim=1))
    assert total is not None
    return total / weight[:, None]


def wrong_lengths(max_length: Any, pool: str, window: Any, stride: Any) -> Iterator[str]:
    """Yield what is wrong with the lengths, whatever the model."""
    for name, value, least in (("max_length", max_length, 2), ("window", window, 3), ("stride", stride, 1)):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if (value is not None or name == "max_length") and not (whole and least <= value <= MOST_PIECES):
            yield f"{name} must be a whole number, at least {least} and at most {MOST_PIECES:,}, found {value!r}"
    if window is None and stride is not None:
        yield "stride is given without window; give both, or neither"
    if window is not None and pool != "mean":
        yield f"window needs pool: mean, found pool: {pool}: several windows have no one first token and no one row of tokens"
    if isinstance(window, int) and isinstance(stride, int) and stride > window:
        yield f"stride is {stride}, more than the window of {window}: pieces between two windows would not be read"
