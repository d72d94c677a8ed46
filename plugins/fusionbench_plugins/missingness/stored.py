"""Masks from files: who is present was drawn elsewhere, and is to be used as it is.

For comparing with results that were made under published masks. Such masks need not be nested over rates, so there
are no thresholds to give; see :class:`fusionbench.missingness.GivenMasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusionbench import Missingness, MissingnessContext, hookimpl
from fusionbench.data.files.arrays import load_array
from fusionbench.errors import ConfigError, DataError, PluginError
from fusionbench.hookspecs import Register
from fusionbench.missingness import Pattern

_FIELDS = {"percent": 0, "rate": 0.0, "seed": 0, "pattern": "", "fold": 0}


class Stored(Missingness):
    """One file for each rate and seed: bool ``[rows, modalities]``, True = kept, rows in the order of the data.

    Args:
        files: Path with the places ``{percent}`` (the rate times 100), ``{rate}``, ``{seed}``, ``{pattern}`` and
            ``{fold}``. Without ``{pattern}`` the masks serve the pattern ``random`` only; without ``{fold}`` every fold.
        columns: The modalities of the masks' columns, in order; None: those of the data.

    Raises:
        ValueError: ``files`` has other places, or lacks the rate or the seed.
    """

    def __init__(self, files: str, columns: Sequence[str] | None = None) -> None:
        try:
            files.format(**_FIELDS)
        except (KeyError, IndexError, ValueError):
            raise ValueError(f"files: places are {', '.join(f'{{{f}}}' for f in _FIELDS)}; found {files!r}") from None
        if not ("{percent" in files or "{rate" in files) or "{seed" not in files:
            raise ValueError(f"files: needs {{percent}} or {{rate}}, and {{seed}}; found {files!r}")
        self.files = files
        self.columns = None if columns is None else tuple(columns)
        self.by_fold = "{fold" in files

    def present(self, context: MissingnessContext, pattern: Pattern, rate: float, seed: int) -> NDArray[np.bool_]:
        """Read the mask of a rate and a seed.

        Raises:
            ConfigError: The files are for another pattern, or the columns do not hold every modality.
            DataError: The file is missing, malformed, or leaves a row without any modality.
        """
        if "{pattern" not in self.files and pattern.kind != "random":
            raise ConfigError(
                f"missingness stored: pattern '{pattern}': files without {{pattern}} are masks of pattern 'random'"
            )
        places = {"percent": round(100 * rate), "rate": f"{rate:g}", "seed": seed, "pattern": pattern}
        path = Path(self.files.format(**places, fold=context.fold))
        kept = self._read(path.expanduser(), context)
        present: NDArray[np.bool_] = kept & context.available
        empty = int((~present.any(axis=1)).sum())
        if empty:
            raise DataError(f"{path}: leaves {empty} rows without any modality; every row must keep one it has")
        return present

    def _read(self, path: Path, context: MissingnessContext) -> NDArray[np.bool_]:
        columns = self.columns or context.names
        absent = [n for n in context.names if n not in columns]
        if absent:
            raise ConfigError(f"missingness stored: columns: no {', '.join(absent)} among {', '.join(columns)}")
        try:
            mask = load_array(path, str(path))
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; masks are stored for certain rates and seeds only") from None
        expected = (len(context.available), len(columns))
        if mask.dtype != np.bool_ or mask.shape != expected:
            raise DataError(
                f"{path}: must hold bool {list(expected)} (rows, {', '.join(columns)}), found {mask.dtype} {list(mask.shape)}"
            )
        ordered: NDArray[np.bool_] = mask[:, [columns.index(n) for n in context.names]]
        return ordered

    def thresholds(self, context: MissingnessContext, generator: np.random.Generator) -> NDArray[np.float64]:
        """Refuse: masks that were given need not be nested, so no threshold says when a cell vanishes."""
        raise PluginError("missingness stored: has masks, not thresholds; ask present()")


@hookimpl
def register_missingness(register: Register) -> None:
    """Register ``stored``."""
    register("stored", Stored)
