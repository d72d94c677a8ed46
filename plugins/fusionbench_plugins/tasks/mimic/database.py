"""DuckDB as the extraction uses it: bounded memory, visible progress, errors without patient data."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusionbench.errors import DataError, FusionBenchError, WorkspaceError
from fusionbench.progress import Progress


@contextmanager
def database(folder: Path, memory_limit: str, threads: int) -> Iterator[Any]:
    """Open an in-memory DuckDB that spills into ``folder`` when the limit is reached."""
    import duckdb

    spill = folder / "spill"
    connection = duckdb.connect(
        config={
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(spill),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,  # nothing is fetched behind the user's back
        }
    )
    try:
        connection.execute("SET enable_progress_bar = true")  # counted, for query_progress()
        connection.execute("SET enable_progress_bar_print = false")  # but not printed
        yield connection
    finally:
        connection.close()


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


def execute_watched(connection: Any, sql: str, table: str, progress: Progress) -> None:
    """Run one long statement and report how far it is."""
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
        return f"column {column} holds something that is not {kind}; check the file."
    if columns := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text):
        expected, found = columns.groups()
        return f"a row has {found} columns, the header has {expected}; the file is damaged or cut short."
    return ""
