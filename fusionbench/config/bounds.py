"""Bounds far above what anybody asks for: a slip of the finger is refused before it asks for all memory, or for years."""

from __future__ import annotations

from typing import Final

MOST_FOLDS: Final = 10_000
MOST_SEEDS: Final = 10_000
MOST_INNER_FOLDS: Final = 20
MOST_CONDITIONS: Final = 1_000
MOST_EPOCHS: Final = 1_000_000
MOST_ROWS: Final = 2**31 - 1
MOST_WORKERS: Final = 1024
MOST_MODELS: Final = 100_000
MOST_TRIALS: Final = 100_000
MOST_RESAMPLES: Final = 1_000_000
MOST_WIDTH: Final = 65_536
MOST_DEPTH: Final = 16
LARGEST_STEP: Final = 1e6
MOST_COUPLED_DECAY: Final = 1.0
LONGEST_NAME: Final = 100
MOST_ALTERNATIVES: Final = 3  # each costs as much as the run
