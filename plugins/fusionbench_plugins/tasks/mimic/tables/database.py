"""DuckDB as the extraction uses it: bounded memory, visible progress, errors without patient data."""

from __future__ import annotations

import glob
import json
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionbench.errors import DataError, FusionBenchError, WorkspaceError
from fusionbench.progress import Progress


@dataclass(frozen=True)
class Resources:
    """What the extraction may use; none of it changes the result.

    Args:
        memory_limit: Of the database, for example ``2GB``; it spills to disk beyond.
        threads: Of the database, and for decoding.
        temp_folder: Where it spills to; None: beside what is being made.
    """

    memory_limit: str = "2GB"
    threads: int = 2
    temp_folder: Path | None = None


@contextmanager
def database(folder: Path, resources: Resources) -> Iterator[Any]:
    """Open an in-memory DuckDB; what it spills lies in ``folder`` or the chosen folder, and is removed at the end."""
    import duckdb

    with _spill_folder(folder, resources.temp_folder) as spill:
        connection = duckdb.connect(config=_settings(resources, spill))
        try:
            connection.execute("SET enable_progress_bar = true")  # counted, for query_progress()
            connection.execute("SET enable_progress_bar_print = false")  # but not printed
            yield connection
        finally:
            connection.close()


def _settings(resources: Resources, spill: Path) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "memory_limit": resources.memory_limit,
        "threads": resources.threads,
        "temp_directory": str(spill),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,  # nothing is fetched behind the user's back
    }


@contextmanager
def _spill_folder(folder: Path, chosen: Path | None) -> Iterator[Path]:
    if chosen is None:
        yield folder / "spill"  # made when it is needed, and gone with the folder
        return
    try:
        chosen.mkdir(parents=True, exist_ok=True)
        # the name says to whom it belongs: several may share a scratch disk
        with tempfile.TemporaryDirectory(prefix="fusionbench-spill-", dir=chosen) as made:
            yield Path(made)
    except OSError as error:
        raise WorkspaceError(f"temp_folder {chosen}: cannot be written ({error.strerror}); choose another.") from None


def literal(value: object) -> str:
    """Return ``value`` as a quoted SQL text; names of files may hold quotes."""
    return "'" + str(value).replace("'", "''") + "'"


def pattern(path: Path) -> str:
    """Return a path as SQL text for a reader, which would take ``*`` and ``[`` for wildcards."""
    return literal(glob.escape(str(path)))


def execute(connection: Any, sql: str, table: str) -> Any:
    """Run one statement.

    Args:
        connection: As :func:`database` gives it.
        sql: The statement.
        table: What is read, for messages.

    Raises:
        DataError: The table is malformed.
        WorkspaceError: Memory or disk do not suffice.
    """
    import duckdb

    try:
        return connection.execute(sql)
    except duckdb.Error as error:
        # from None: DuckDB quotes the offending row, which belongs to a patient
        raise _translate(error, table) from None


def execute_watched(connection: Any, sql: str, table: str, progress: Progress) -> int:
    """Run one long statement that reads a CSV file, report how far it is, and return how many rows it read."""
    # the profile counts the rows that pass: to count them otherwise the file would be read a second time
    with tempfile.TemporaryDirectory(prefix="fusionbench-") as folder:
        profile = Path(folder) / "profile.json"
        connection.execute("SET enable_profiling = 'json'")
        connection.execute(f"SET profiling_output = {literal(profile)}")
        _watch(connection, sql, table, progress)
        connection.execute("PRAGMA disable_profiling")
        return _rows_read(json.loads(profile.read_text(encoding="utf-8")))


def _watch(connection: Any, sql: str, table: str, progress: Progress) -> None:
    with progress.stage(f"reading {table}", total=100, unit="%") as stage, ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, connection, sql, table)
        shown = 0.0
        try:
            while not wait([future], timeout=0.25).done:
                percent = max(connection.query_progress(), shown)  # -1 until it is known
                stage.advance(percent - shown)
                shown = percent
        except BaseException:
            connection.interrupt()
            raise
        future.result()
        stage.advance(100 - shown)


def _rows_read(profile: Any) -> int:
    """Return how many rows the readers of CSV files gave, from DuckDB's profile of a statement."""
    if isinstance(profile, list):
        return sum(_rows_read(part) for part in profile)
    if not isinstance(profile, dict):
        return 0
    if (profile.get("extra_info") or {}).get("Function") == "READ_CSV":
        # the second name is that of DuckDB 1
        return int(profile.get("intermediate_rows") or profile.get("operator_cardinality") or 0)
    return sum(_rows_read(part) for part in profile.values())


def _translate(error: Exception, table: str) -> FusionBenchError:
    import duckdb

    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return WorkspaceError(f"{table}: the extraction needs more memory or disk than it may use; raise memory_limit.")
    if re.search(r"No space left|[Cc]annot (create|write)|[Cc]ould not (write|create)", text):
        return WorkspaceError(f"{table}: the cache cannot be written (disk full or no permission); free some space.")
    line = re.search(r"CSV Error on Line: (\d+)", text)
    place = f"table {table} line {line.group(1)}" if line else f"table {table}"
    return DataError(f"{place}: {_malformed(text) or f'it cannot be read ({type(error).__name__}); check the file.'}")


def _malformed(text: str) -> str:
    """Say what is wrong with a file, from DuckDB's message but without its quotation of the row."""
    if "not utf-8" in text:
        return "the bytes are not UTF-8 text; export the table again as UTF-8."
    if re.search(r"GZIP|gzip|decompress|inflate", text):
        return "the compressed file is damaged or cut short; download it again."
    if conversion := re.search(r'converting column "([^"]+)".*?to \'(\w+)\'', text, re.DOTALL):
        column, kind = conversion.groups()
        comma = " (a decimal comma; export the table with points)" if re.search(r'"-?\d+,\d+"', text) else ""
        return f"column {column} holds something that is not {kind}{comma}; check the file."
    if columns := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text):
        expected, found = columns.groups()
        return f"a row has {found} columns, the header has {expected}; the file is damaged or cut short."
    return ""
