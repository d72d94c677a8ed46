"""How fast is the MIMIC extraction, what limits it, and what would the whole database take?

Three inputs, each prepared in a process of its own with a cold cache:

* ``--demo ROOT``: a MIMIC-IV tree, for example the open demo (or a half of it);
* the same with ``--times K`` copies of its events (K times the patients, so K times the cohort);
* ``--rows N``: an invented tree whose chartevents.csv.gz has N rows in v2.2's columns (11, with storetime and caregiver).

Beside the wall time of `prepare` (after the imports) and its processor time it prints two floors for the big file:
decompressing it with Python's zlib, and counting its rows with DuckDB. The extrapolation scales the chartevents stage by
rows, and adds labevents at the same cost of a row. Peak memory is read from /proc: Linux only.

    python benchmarks/performance/extraction_speed.py --demo /data/mimic-iv-demo --times 10 --folder /scratch/speed
    python benchmarks/performance/extraction_speed.py --rows 50 --folder /scratch/speed
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute as pc
from pyarrow import csv

from fusionbench_plugins.tasks.mimic.tables.variables import VARIABLES

ROWS_OF_RELEASE = {"v2.2": 313_645_063, "v3.1": 432_997_491}
LAB_SHARE = 158_374_764 / 432_997_491  # rows of labevents to rows of chartevents, v3.1
ROWS_PER_DAY = 1200
BLOCK = 1_000_000
"""Rows that are made, and compressed into one gzip member, at a time."""

_PREPARE = """
import json, sys, time
from pathlib import Path
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm

class Clock(SilentProgress):
    stages = {}
    def stage(self, title, total=None, unit=""):
        return Timed(self.stages, title)

class Timed:
    def __init__(self, stages, title): self.stages, self.title = stages, title
    def __enter__(self): self.begin = time.perf_counter(), time.process_time(); return self
    def __exit__(self, *_): self.stages[self.title] = time.perf_counter() - self.begin[0], time.process_time() - self.begin[1]
    def advance(self, steps=1, note=""): pass

options = json.loads(sys.argv[1])

def peak_mb():  # of this program: what getrusage says begins with the peak of the process that started it
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

clock, begin, worked, before = Clock(), time.perf_counter(), time.process_time(), peak_mb()
dataset = MimicIhm(**options["task"]).prepare(Path(options["cache"]), clock)
print(json.dumps({"seconds": time.perf_counter() - begin, "stages": clock.stages, "stays": len(dataset),
    "cpu_seconds": time.process_time() - worked, "peak_mb": peak_mb(), "imports_mb": before}))
"""


@dataclass(frozen=True)
class Measured:
    """One prepare: wall seconds, wall and processor seconds by stage, peak memory of the process, largest spill."""

    seconds: float
    stages: dict[str, tuple[float, float]]
    stays: int
    cpu_seconds: float
    peak_mb: float
    imports_mb: float
    spill_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, required=True, help="where trees and caches are written; emptied at the end"
    )
    parser.add_argument("--demo", type=Path, help="a MIMIC-IV tree")
    parser.add_argument("--times", type=int, default=10, help="copies of the tree's patients")
    parser.add_argument("--rows", type=float, default=0, help="millions of rows of the invented tree")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="of each prepare; the big tree is prepared once")
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, memory limit {options.memory}, {options.threads} threads"
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        if options.demo:
            report("tree as it is", options.demo, options, options.repeats)
            copied = copy_tree(options.demo, options.folder / "copied", options.times)
            report(f"{options.times} copies", copied, options, options.repeats)
        if options.rows:
            big = invent_tree(options.folder / "invented", int(options.rows * 1e6), options.threads)
            extrapolate(report("invented", big, options, 1), big, options)
    finally:
        shutil.rmtree(options.folder)


def report(title: str, root: Path, options: argparse.Namespace, repeats: int) -> Measured:
    found = [measure(root, options) for _ in range(repeats)]
    best = sorted(found, key=lambda one: one.seconds)[len(found) // 2]
    spread = ", ".join(f"{one.seconds:.2f}" for one in found)
    print(f"{title}: {best.seconds:.2f} s (of {spread}); {best.stays:,} stays, processor {best.cpu_seconds:.1f} s")
    print(f"  peak {best.peak_mb:,.0f} MB, of which imports {best.imports_mb:,.0f} MB; spilled {best.spill_mb:,.0f} MB")
    for stage, (wall, processor) in best.stages.items():
        print(f"  {wall:8.2f} s  {stage} (processor {processor:.2f} s)", flush=True)
    return best


def measure(root: Path, options: argparse.Namespace) -> Measured:
    """Prepare in a process of its own, with an empty cache."""
    cache = options.folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    task = {"root": str(root), "memory_limit": options.memory, "threads": options.threads}
    command = [sys.executable, "-c", _PREPARE, json.dumps({"task": task, "cache": str(cache)})]
    spilled = [0.0]
    over = threading.Event()
    watcher = threading.Thread(target=watch_spill, args=(cache, spilled, over))
    watcher.start()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    over.set()
    watcher.join()
    if done.returncode:
        sys.exit(done.stderr)
    return Measured(**json.loads(done.stdout), spill_mb=spilled[0] / 1e6)


def watch_spill(cache: Path, largest: list[float], over: threading.Event) -> None:
    while not over.wait(0.2):
        sizes = [size_of(path) for path in cache.glob("**/spill/*")]
        largest[0] = max(largest[0], sum(sizes))


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # it went while we looked


def extrapolate(measured: Measured, root: Path, options: argparse.Namespace) -> None:
    """Print what bounds the big table, and what releases would take: so loaded, and on an idle processor."""
    path = root / "icu" / "chartevents.csv.gz"
    rows = options.rows * 1e6
    stage = next(seconds for title, seconds in measured.stages.items() if "chartevents" in title)
    plain, unzip = timed(lambda: unpacked_bytes(path))
    found, count = timed(lambda: count_rows(path, options.threads))
    if found != rows:
        sys.exit(f"{found} rows counted, {rows} written")
    print(f"chartevents.csv.gz: {path.stat().st_size / 1e9:.2f} GB, {plain / 1e9:.2f} GB unpacked, {rows:,.0f} rows")
    for what, (wall, cpu) in (("prepare, this stage", stage), ("zlib alone", unzip), ("DuckDB count(*)", count)):
        print(f"  {what}: {wall:.1f} s ({rows / wall:,.0f} rows/s), processor {cpu:.1f} s ({rows / cpu:,.0f} rows/s)")
    for release, there in ROWS_OF_RELEASE.items():
        wall, cpu = (seconds * there / rows * (1 + LAB_SHARE) / 60 for seconds in stage)
        print(f"  {release}: {there:,} rows and labevents: {wall:.0f} minutes, processor {cpu:.1f} minutes")


def timed(call: Callable[[], int]) -> tuple[int, tuple[float, float]]:
    """Return the result, and wall and processor seconds."""
    begin, worked = time.perf_counter(), time.process_time()
    result = call()
    return result, (time.perf_counter() - begin, time.process_time() - worked)


def unpacked_bytes(path: Path) -> int:
    total = 0
    with gzip.open(path) as file:
        while block := file.read(1 << 20):
            total += len(block)
    return total


def count_rows(path: Path, threads: int) -> int:
    import duckdb

    connection = duckdb.connect(config={"threads": threads})
    query = "SELECT count(*) FROM read_csv(?, all_varchar = true)"
    return int(connection.execute(query, [str(path)]).fetchall()[0][0])


# --------------------------------------------------------------------------------------------
# a tree, several times


def copy_tree(root: Path, target: Path, times: int) -> Path:
    """Write a tree that holds every patient ``times`` times, under identifiers of their own."""
    import duckdb

    connection = duckdb.connect()
    keys = {"subject_id": 10**9, "hadm_id": 10**9, "stay_id": 10**9}
    for name in (
        "hosp/patients",
        "hosp/admissions",
        "hosp/diagnoses_icd",
        "hosp/labevents",
        "icu/icustays",
        "icu/chartevents",
    ):
        source, out = str(root / f"{name}.csv.gz"), target / f"{name}.csv.gz"
        out.parent.mkdir(parents=True, exist_ok=True)
        relation = connection.from_csv_auto(source, all_varchar=True)
        columns = [f'{c}::BIGINT + k * {keys[c]} AS "{c}"' if c in keys else f'"{c}"' for c in relation.columns]
        copies = f"range({times}) copies(k)"
        connection.execute(
            f"COPY (SELECT {', '.join(columns)} FROM relation, {copies} ORDER BY k) TO '{out}' (HEADER, COMPRESSION gzip)"
        )
    return target


# --------------------------------------------------------------------------------------------
# an invented tree


def invent_tree(root: Path, rows: int, processes: int) -> Path:
    """Write a tree with ``rows`` rows of chartevents, in blocks of whole stays."""
    for folder in ("hosp", "icu"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    blocks = [(index, min(BLOCK, rows - start)) for index, start in enumerate(range(0, rows, BLOCK))]
    small: list[dict[str, pa.Table]] = []
    with ProcessPoolExecutor(processes) as pool, (root / "icu" / "chartevents.csv.gz").open("wb") as file:
        for member, tables in pool.map(invent_block, *zip(*blocks, strict=True)):
            file.write(member)
            small.append(tables)
    for name in small[0]:
        table = pa.concat_tables([tables[name] for tables in small])
        (root / f"{name}.csv.gz").write_bytes(gzip.compress(as_csv(table, header=True)))
    print(f"invented {rows:,} rows in {time.perf_counter() - begin:.0f} s")
    return root


def invent_block(index: int, rows: int) -> tuple[bytes, dict[str, pa.Table]]:
    """Return one gzip member of chartevents and the block's rows of the other tables."""
    draw = np.random.default_rng([17, index])
    days = draw.lognormal(np.log(2.2), 0.8, size=rows // 1000 + 10)
    ends = np.minimum((days * ROWS_PER_DAY).astype(int).cumsum(), rows)
    stays = int(np.searchsorted(ends, rows)) + 1
    counts = np.diff(ends[:stays], prepend=0)
    days = days[:stays]
    number = np.arange(stays) + index * 100_000
    begin = np.datetime64("2150-01-01T08:00:00", "s") + draw.integers(0, 40 * 365 * 1440, stays) * np.timedelta64(
        60, "s"
    )
    stay = np.repeat(np.arange(stays), counts)
    table = chart_rows(draw, stay, number, begin, days)
    return gzip.compress(as_csv(table, header=index == 0), 6), stay_tables(draw, number, begin, days)


def chart_rows(
    draw: np.random.Generator, stay: NDArray[Any], number: NDArray[Any], begin: NDArray[Any], days: NDArray[Any]
) -> pa.Table:
    """Return rows of chartevents, by stay and time; most lie on the full hour, as nurses chart."""
    minutes = (draw.random(len(stay)) * days[stay] * 1440).astype(np.int64)
    minutes = np.where(draw.random(len(stay)) < 0.7, minutes // 60 * 60, minutes)
    minutes = minutes[np.lexsort((minutes, stay))]
    charted = begin[stay] + minutes * np.timedelta64(60, "s")
    item, value, valuenum, unit = chart_values(draw, len(stay))
    return pa.table(
        {
            "subject_id": 10_000_000 + number[stay],
            "hadm_id": 20_000_000 + number[stay],
            "stay_id": 30_000_000 + number[stay],
            "caregiver_id": draw.integers(1000, 99_999, len(number) * 4)[stay * 4 + minutes // 480 % 4],
            "charttime": charted,
            "storetime": charted
            + (draw.integers(1, 90, len(number) * 4)[stay * 4 + minutes // 60 % 4]) * np.timedelta64(60, "s"),
            "itemid": item,
            "value": value,
            "valuenum": valuenum,
            "valueuom": unit,
            "warning": pa.array(draw.integers(0, 50, len(stay)) == 0).cast(pa.int8()),
        }
    )


def chart_values(draw: np.random.Generator, rows: int) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """Draw items (one row in six is one of the 17 variables, as in the open demo) with value and unit."""
    items, numeric, units, texts = catalogue()
    share = np.array([1 / 6 / READ] * READ + [5 / 6 / (len(items) - READ)] * (len(items) - READ))
    which = draw.choice(len(items), rows, p=share)
    number = np.where(numeric[which], np.round(draw.normal(80, 15, rows)).clip(1), np.nan)
    value = pc.coalesce(
        pa.array(number, from_pandas=True).cast(pa.int64()).cast(pa.string()),
        pa.array(texts).take(pa.array(which)),
    )
    return (
        pa.array(items[which]),
        value,
        pa.array(number, from_pandas=True).cast(pa.int64()),
        pa.array(units).take(pa.array(which)),
    )


_NUMERIC = [item.itemid for v in VARIABLES if not v.columns for item in v.items if item.itemid > 200_000]
_SCORES = [
    (item.itemid, v.categories[0].spellings[0])
    for v in VARIABLES
    for item in v.items
    if v.columns and v.categories[0].spellings
]
READ = len(_NUMERIC) + len(_SCORES)
OTHERS = 300
"""Items that the task does not read."""


def catalogue() -> tuple[NDArray[Any], NDArray[Any], list[str | None], list[str | None]]:
    """Return itemid, whether numeric, unit, text of every item; those that the task reads come first."""
    others = [(225_000 + k * 7, None if k % 3 else f"Finding number {k} of the list") for k in range(OTHERS)]
    known: list[tuple[int, str | None]] = [*((itemid, None) for itemid in _NUMERIC), *_SCORES, *others]
    numeric = np.array([text is None for _, text in known])
    units = [("mmHg" if k % 2 else None) if text is None else None for k, (_, text) in enumerate(known)]
    return np.array([itemid for itemid, _ in known]), numeric, units, [text or "x" for _, text in known]


def stay_tables(
    draw: np.random.Generator, number: NDArray[Any], begin: NDArray[Any], days: NDArray[Any]
) -> dict[str, pa.Table]:
    """Return the rows of the other tables: one patient, admission, stay, code and laboratory result for each number."""
    ids = {"subject_id": 10_000_000 + number, "hadm_id": 20_000_000 + number}
    seconds = (days * 86_400).astype("timedelta64[s]")
    died = draw.random(len(number)) < 0.12
    missing = np.datetime64("NaT", "s")
    left = begin + seconds + np.timedelta64(86_400, "s")
    same = np.full(len(number), "Medical Intensive Care Unit (MICU)")
    constant = {"anchor_age": 60, "anchor_year": 2150}
    return {
        "hosp/patients": pa.table(
            {
                "subject_id": ids["subject_id"],
                "gender": np.full(len(number), "F"),
                **{name: np.full(len(number), value) for name, value in constant.items()},
                "dod": pa.array(np.where(died, left.astype("datetime64[D]"), np.datetime64("NaT"))),
            }
        ),
        "hosp/admissions": pa.table(
            {
                **ids,
                "admittime": begin - np.timedelta64(7200, "s"),
                "dischtime": left,
                "deathtime": pa.array(np.where(died, left, missing)),
                "race": np.full(len(number), "UNKNOWN"),
                "hospital_expire_flag": died.astype(np.int8),
            }
        ),
        "hosp/diagnoses_icd": pa.table(
            {**ids, "icd_code": np.full(len(number), "0389"), "icd_version": np.full(len(number), 9)}
        ),
        "hosp/labevents": pa.table(
            {
                **ids,
                "charttime": begin + np.timedelta64(3600, "s"),
                "storetime": begin + np.timedelta64(7200, "s"),
                "itemid": np.full(len(number), 50931),
                "value": np.full(len(number), "___"),
                "valuenum": draw.integers(60, 300, len(number)),
            }
        ),
        "icu/icustays": pa.table(
            {
                **ids,
                "stay_id": 30_000_000 + number,
                "first_careunit": same,
                "last_careunit": np.where(draw.random(len(number)) < 0.85, same, "Neuro Stepdown"),
                "intime": begin,
                "outtime": begin + seconds,
                "los": days,
            }
        ),
    }


def as_csv(table: pa.Table, *, header: bool) -> bytes:
    """Return the table without quotes: nothing in it needs them."""
    buffer = BytesIO()
    csv.write_csv(table, buffer, csv.WriteOptions(include_header=header, quoting_style="none"))
    return buffer.getvalue()


if __name__ == "__main__":
    main()
