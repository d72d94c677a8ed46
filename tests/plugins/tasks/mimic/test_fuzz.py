"""The readers on anything at all: the right arrays, or one of the errors that are meant for users."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
import zipfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.studies import reports
from fusionbench_plugins.tasks.mimic.studies.files import Files
from fusionbench_plugins.tasks.mimic.studies.images import decode
from fusionbench_plugins.tasks.mimic.tables.database import Resources, database, execute
from fusionbench_plugins.tasks.mimic.tables.layout import MIMIC_IV, SourceTable, find_mimic_iv
from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS, VARIABLES
from tests.mimic_tree import PATIENTS, picture, prepare, small_tree

CHART = next(spec for spec in MIMIC_IV if spec.name == "chartevents")
HEADER = tuple(CHART.columns)
EARLIEST = datetime(1900, 1, 1)  # noqa: DTZ001 - MIMIC's times have no zone
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    with database(tmp_path_factory.mktemp("database"), Resources("500MB", 2)) as opened:
        yield opened


def read(connection: Any, content: bytes, header: tuple[str, ...] = HEADER) -> list[tuple[Any, ...]]:
    """Read the content of a chartevents file as the extraction does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chartevents.csv.gz"
        path.write_bytes(content)
        table = SourceTable("icu/chartevents", path, header, CHART.columns, {})
        rows: list[tuple[Any, ...]] = execute(connection, f"FROM {table.scan()}", table.name).fetchall()
        return rows


def as_csv(rows: list[tuple[object, ...]], newline: str = "\n", quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=newline, quoting=quoting).writerows([HEADER, *rows])
    return text.getvalue().encode()


# ---------------------------------------------------------------- tables

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)
whole = st.integers(-(2**60), 2**60)
rows = st.lists(
    st.tuples(
        whole,
        st.none() | whole,
        whole,
        st.none() | st.datetimes(min_value=EARLIEST).map(lambda t: t.replace(microsecond=0, fold=0)),
        whole,
        texts,
        st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
    ),
    max_size=8,
)


@relaxed
@given(rows, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
def test_every_way_to_write_a_table_reads_as_what_was_written(connection, written, newline, quoting):
    found = read(connection, gzip.compress(as_csv(written, newline, quoting)))
    # an empty text is what the files write for nothing
    expected = [tuple(None if value == "" else value for value in row) for row in written]
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


@relaxed
@given(st.binary(max_size=400) | st.text(st.sampled_from("\",\n\r 0123456789abc-:.'é\0"), max_size=200).map(str.encode))
def test_any_bytes_after_the_header_are_rows_or_a_data_error(connection, content):
    with suppress(DataError):
        found = read(connection, gzip.compress(",".join(HEADER).encode() + b"\n" + content))
        assert all(len(row) == len(HEADER) for row in found)


@relaxed
@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_damaged_gzip_is_a_data_error_or_unharmed(connection, where, byte, cut):
    rows = [(n, n, n, "2150-01-01 00:00:00", n, "text", 1.5) for n in range(200)]
    whole = gzip.compress(as_csv(rows), mtime=0)
    where %= len(whole)
    damaged = whole[:where] if cut else whole[:where] + bytes([byte]) + whole[where + 1 :]
    with suppress(DataError):
        found = read(connection, damaged)
        assert len(found) <= len(rows)
        if cut and len(damaged) < len(whole) - 8:  # the trailer alone may be missing
            raise AssertionError("a file that was cut short was read as complete")


@relaxed
@given(
    st.binary(max_size=120)
    | st.lists(st.sampled_from([*HEADER, "", '"', "x y", "é"]), max_size=14).map(lambda n: ",".join(n).encode())
)
def test_any_header_is_understood_or_a_data_error(connection, header):
    with tempfile.TemporaryDirectory() as folder:
        root, _ = small_tree().write(Path(folder), plain=True)
        path = root / "icu" / "chartevents.csv"
        path.write_bytes(header + b"\n1,2,3\n")
        with suppress(DataError):
            table = find_mimic_iv(root)["chartevents"]
            assert set(table.types) == set(CHART.columns)
            execute(connection, f"FROM {table.scan()}", table.name).fetchall()


# ---------------------------------------------------------------- events against a slow reference

NUMERIC = {220045: "heart_rate", 220210: "resp_rate", 224690: "resp_rate", 223761: "temperature", 220277: "spo2"}
KNOWN = {variable.name: variable for variable in VARIABLES}
event = st.tuples(
    st.integers(0, PATIENTS - 1),
    st.integers(-3 * 60, 50 * 60),  # minutes
    st.sampled_from([*NUMERIC, 1]),
    st.sampled_from(["number", "text", "both", "other", "masked", "nothing"]),
    st.floats(-5, 250).map(lambda value: round(value, 1)),
)


def charted(how: str, value: float) -> tuple[object, object]:
    """Return what the columns value and valuenum hold."""
    return {
        "number": ("", value),
        "text": (str(value), ""),
        "both": (str(value), value),
        "other": (str(value + 1), value),
        "masked": ("___", value),
        "nothing": ("___", ""),
    }[how]


def slow_series(events: list[tuple[int, int, int, str, float]], step: float) -> dict[str, np.ndarray]:
    """Rules of the extraction, event by event: ``[patients, steps]`` by variable."""
    cells: dict[tuple[int, str, int], tuple[tuple[float, float, float], float]] = {}
    for patient, minutes, itemid, how, value in events:
        hours = minutes / 60
        if itemid not in NUMERIC or how == "nothing" or not -1e-6 < hours < 48 + 1e-6:
            continue
        variable = KNOWN[NUMERIC[itemid]]
        number = cleaned(variable, itemid, value)
        if number is None:
            continue
        slot = int(hours / step - 1e-6)
        rank = next(item.rank for item in variable.items if item.itemid == itemid)
        # the preferred item, then the latest, then the larger number before it was cleaned
        order = (-rank, hours, (value - 32) * 5 / 9 if itemid == 223761 else value)
        key = (patient, variable.name, slot)
        if key not in cells or order > cells[key][0]:
            cells[key] = (order, number)
    series = {}
    for name in set(NUMERIC.values()):
        series[name] = np.zeros((PATIENTS, int(48 / step)))
        for patient in range(PATIENTS):
            last = KNOWN[name].normal
            for slot in range(int(48 / step)):
                last = cells.get((patient, name, slot), (None, last))[1]
                series[name][patient, slot] = last
    return series


def cleaned(variable: Any, itemid: int, value: float) -> float | None:
    """Return the number in the variable's unit, None where it is impossible."""
    limits = variable.limits
    if itemid == 223761:
        value = (value - 32) * 5 / 9
    if variable.name == "spo2" and value <= 1:
        value *= 100
    if not limits.reject_low <= value <= limits.reject_high:
        return None
    return float(min(max(value, limits.low), limits.high))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(event, max_size=80), st.sampled_from([1, 2]))
def test_random_events_become_the_arrays_of_a_slow_reference(events, step):
    tree = small_tree()
    tree.tables["chartevents"].clear()
    for patient in range(PATIENTS):  # so that every stay has an event
        tree.chart(patient, 1, 220181, 70)
    for patient, minutes, itemid, how, value in events:
        tree.chart(patient, minutes / 60, itemid, *charted(how, value))
        tree.tables["chartevents"][-1]["valuenum"] = charted(how, value)[1]
    with tempfile.TemporaryDirectory() as folder:
        values = np.array(prepare(Path(folder), tree, step_hours=step).modalities["ehr"].values)
    names = {
        "heart_rate": "Heart Rate",
        "resp_rate": "Respiratory rate",
        "temperature": "Temperature",
        "spo2": "Oxygen saturation",
    }
    for name, expected in slow_series(events, step).items():
        found = values[..., COLUMNS.index(names[name])]
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)


# ---------------------------------------------------------------- pictures, archives, reports

PICTURE = picture(40, 50)


@relaxed
@given(st.binary(max_size=300) | st.tuples(st.integers(0, len(PICTURE) - 1), st.binary(max_size=8)))
def test_any_bytes_are_a_picture_or_refused(damage):
    if isinstance(damage, bytes):
        content = damage
    else:
        where, bytes_put = damage
        content = PICTURE[:where] + bytes_put + (PICTURE[where + len(bytes_put) :] if bytes_put else b"")
    with suppress(ValueError):
        assert decode(content, 16).shape == (16, 16)


def archive_of(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("files/p10/p1/s1.txt", "FINDINGS: nothing. " * 20)
        archive.writestr("files/p10/p1/s2.txt", "IMPRESSION: nothing.")
    return buffer.getvalue()


@relaxed
@given(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), st.integers(0, 10**6), st.binary(max_size=6))
def test_any_archive_is_read_or_refused(method, where, bytes_put):
    whole = archive_of(method)
    where %= len(whole)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reports.zip"
        path.write_bytes(whole[:where] + bytes_put + (whole[where + len(bytes_put) :] if bytes_put else b""))
        with suppress(DataError), Files([], path) as files:
            for name in ("files/p10/p1/s1.txt", "files/p10/p1/s2.txt"):
                with suppress(OSError):
                    assert files.read(name) is None or isinstance(files.read(name), bytes)


@relaxed
@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from([" FINDINGS:", " IMPRESSION: ", "\n", "\n\n", " \r\n", "clear", " CHEST, AP:\n"])).map(
        "".join
    )
)
def test_any_report_is_one_line_of_one_section_or_nothing(report):
    text, section = reports.study_text(report)
    assert bool(text) == bool(section)
    assert section in ("", "findings", "impression", "last_paragraph")
    assert text == " ".join(text.split())
    assert "".join(text.split()) in "".join(report.split())
