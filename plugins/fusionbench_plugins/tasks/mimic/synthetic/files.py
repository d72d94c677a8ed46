"""Writes tables and archives so that the same content gives the same bytes."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LEVEL = 1  # the big tables are written once and read once
_STAMP = (2024, 1, 1, 0, 0, 0)


def write_csv(path: Path, columns: Mapping[str, Any], quoted: bool = False) -> int:
    """Write a gzipped CSV file and return its number of rows.

    Args:
        path: Ends with ``.csv.gz``; its folder is made.
        columns: Arrow or NumPy arrays or lists by column name; a null is an empty cell.
        quoted: Put texts in quotation marks; needed where they hold commas.
    """
    import pyarrow as pa
    from pyarrow import csv

    table = pa.table(dict(columns))
    options = csv.WriteOptions(include_header=False, quoting_style="needed" if quoted else "none")
    path.parent.mkdir(parents=True, exist_ok=True)
    # neither name nor time of writing may enter the file
    with path.open("wb") as file, gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as stream:
        stream.write((",".join(table.column_names) + "\n").encode())
        csv.write_csv(table, stream, options)
    return int(table.num_rows)


def write_zip(path: Path, texts: Mapping[str, str]) -> None:
    """Write texts as a ZIP archive, in the given order and with a fixed time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, text in texts.items():
            entry = zipfile.ZipInfo(name, _STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
