"""Hashed bag of words: how often each word occurs, in a fixed number of columns. No weights, no vocabulary.

Paper: Weinberger et al. 2009, Feature hashing for large scale multitask learning, ICML.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fusionbench import Encoder, InputSpec, Provenance, hookimpl
from fusionbench.hookspecs import Register

_WORD = re.compile(r"\w+")
# ideographs and their extensions, hiragana, katakana; Hangul has spaces
_UNSPACED = re.compile("([\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)")


class HashedWords(Encoder):
    """Signed hashed counts, ``1 + log(count)`` for each word of a text, and ``log(1 + words)``.

    The sign, a bit of the hash, lets words that share a column cancel on average instead of adding up.

    Args:
        spec: A text modality.
        width: Columns that words are hashed to.
        characters: True reads scripts without spaces (Chinese, Japanese kana) character by character: each of them, and each two
            that stand side by side, is a word. False takes what stands between spaces and punctuation as one word.

    Shapes:
        Prepared: float32 ``[rows, width + 1]``, which is also what is returned.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"text"})
    proposed_for: ClassVar[frozenset[str]] = frozenset({"text"})
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Weinberger, Dasgupta, Langford, Smola and Attenberg 2009, Feature hashing for large scale multitask "
        "learning, ICML",
        equations="Eq. 2 (signed hashing)",
        differs="sublinear counts, and the length of the text as one more column",
    )

    def __init__(self, spec: InputSpec, width: int = 128, *, characters: bool = False) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, found {width}")
        if characters not in (True, False):
            raise ValueError(f"characters must be true or false, found {characters!r}")
        self.width, self.characters = width, characters
        self.frozen = True
        self.output_dim = width + 1

    def extra_repr(self) -> str:
        """Settings that decide the output."""
        return f"width={self.width}" + (", characters" if self.characters else "")

    def prepare(self, values: NDArray[Any] | Sequence[str]) -> tuple[NDArray[Any], None]:
        """Count the words of each text."""
        rows = np.zeros((len(values), self.width + 1), dtype=np.float32)
        for row, text in zip(rows, values, strict=True):
            counts = Counter((characters if self.characters else words)(str(text)))
            for word, count in counts.items():
                code = stable_hash(word)
                row[(code >> 1) % self.width] += (1 if code & 1 else -1) * (1 + np.log(count))
            row[-1] = np.log1p(counts.total())
        return rows, None

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what was prepared."""
        return inputs


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores, in lower case."""
    return _WORD.findall(text.lower())


def characters(text: str) -> list[str]:
    """Words as :func:`words` finds them; of scripts without spaces each character, and each two side by side."""
    found: list[str] = []
    for run in _UNSPACED.split(text.lower()):
        if _UNSPACED.fullmatch(run):
            found += [*run, *(a + b for a, b in pairwise(run))]
        else:
            found += words(run)
    return found


@lru_cache(maxsize=65536)
def stable_hash(word: str) -> int:
    """A 64-bit number that is the same in every process (Python's own ``hash`` is salted)."""
    return int.from_bytes(hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


@hookimpl
def register_encoders(register: Register) -> None:
    """Register ``hashed_words``."""
    register("hashed_words", HashedWords)
