"""Arrays of NumPy that a user brings: looked at before they are loaded, never unpickled."""

from __future__ import annotations

import math
import tokenize
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import DataError

_MAGIC = b"\x93NUMPY"
# what NumPy raises for headers that are not what numpy.save writes
_MALFORMED = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)
_ADVICE = "not an array that NumPy reads without pickle; save numbers with numpy.save"


def load_array(path: Path, what: str) -> NDArray[Any]:
    """Return the array of a ``.npy`` file.

    Args:
        path: The file.
        what: How a message calls it.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It is not an array, holds pickled objects, or is longer or shorter than its header says.
    """
    try:
        with path.open("rb") as file:
            problem = _problem(file, path.stat().st_size)
        if not problem:
            array: NDArray[Any] = np.load(path, allow_pickle=False)
            return array
    except FileNotFoundError:
        raise
    except _MALFORMED as error:
        problem = f"{_ADVICE} ({type(error).__name__})"
    raise DataError(f"{what}: {problem}")


def _problem(file: BinaryIO, size: int) -> str:
    """Say what is wrong with a file before its numbers are read; empty where nothing is."""
    begin = file.read(len(_MAGIC))
    if begin.startswith(b"PK"):
        return "is an archive (.npz, or another zip) and not one array; save each array with numpy.save"
    if begin != _MAGIC:
        return _ADVICE
    file.seek(0)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        return ""  # version 3.0 has names of fields in UTF-8: no plain numbers, NumPy reads it
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        return f"holds pickled objects: {_ADVICE}"
    promised, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if promised != held or min(shape, default=0) < 0:
        return (
            f"its header promises {list(shape)} numbers ({promised:,} bytes) and {held:,} bytes follow: was the file cut, or "
            "written to twice? Save it again with numpy.save"
        )
    return ""
