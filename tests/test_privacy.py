"""Nothing of a patient leaves the data and the cache: planted identifiers, names, sentences and images are looked for everywhere."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
import sqlite3
import zipfile
import zlib
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fusionbench.plugins.catalogue import Plugins
from fusionbench.progress import SilentProgress
from fusionbench.report.charts.drawing import STYLE
from tests.front import fusionbench, write_yaml

NAME = "Zebracanary"
SENTENCE = "Zebracanary Quaggafold was seen with his sister in the corridor."
SVG = "{http://www.w3.org/2000/svg}"
IDENTIFIERS = ("subject_id", "hadm_id", "stay_id")

pytestmark = pytest.mark.filterwarnings("default:::(mlflow|sqlalchemy|pydantic|alembic)")


def planted(folder: Path) -> set[bytes]:
    """Write a cohort with a name in every report, and return what must not be found: identifiers, words, pieces of images."""
    task = Plugins().get("tasks", "mimic_ihm").target
    canaries = {NAME.encode(), b"Quaggafold"}
    list(task.synthesise(folder, {"stays": 150, "image_size": 64}, SilentProgress()))  # type: ignore[attr-defined]
    for table in ("patients", "admissions"):
        with gzip.open(folder / "mimic-iv" / "hosp" / f"{table}.csv.gz", "rt", encoding="utf-8") as file:
            canaries |= {row[c].encode() for row in csv.DictReader(file) for c in IDENTIFIERS if c in row}
    with gzip.open(folder / "mimic-iv" / "icu" / "icustays.csv.gz", "rt", encoding="utf-8") as file:
        canaries |= {row["stay_id"].encode() for row in csv.DictReader(file)}
    canaries |= set(_named_in_every_report(folder / "mimic-cxr" / "mimic-cxr-reports.zip"))
    for image in sorted((folder / "mimic-cxr").rglob("*.jpg"))[:40]:
        content = image.read_bytes()
        middle = content[len(content) // 2 :][:48]
        canaries |= {image.stem.encode(), middle, base64.b64encode(middle)[:-4]}
    return canaries


def _named_in_every_report(path: Path) -> list[bytes]:
    with zipfile.ZipFile(path) as archive:
        reports = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in reports.items():
            archive.writestr(name, content.replace(b"FINDINGS:", f"FINDINGS:  {SENTENCE}".encode()))
    return [Path(name).stem[1:].encode() for name in reports if name.endswith(".txt")]


def readable(path: Path) -> bytes:
    """Return what a file holds, and what it holds compressed: streams of PDF, columns of parquet."""
    content = path.read_bytes()
    if path.suffix == ".pdf":
        streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, flags=re.DOTALL)
        # text has two bytes for each letter, and stands in pieces with the room between them
        shown = b"\n".join(_inflated(stream).replace(b"\0", b"") for stream in streams)
        content += re.sub(rb"\)\s*(-?[\d.]+)?\s*\(", b"", shown)
    if path.suffix == ".parquet":
        content += pd.read_parquet(path).to_csv().encode()
    return content


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:  # not compressed
        return stream


def leaks(canaries: set[bytes], content: bytes) -> list[bytes]:
    """Return which canaries are in a file; a number only where it is no part of a longer one, as a float's digits are."""
    numbers = set(re.findall(rb"(?<![\d.])\d{8}(?!\d)", content))
    return sorted(c for c in canaries if (c in numbers if c.isdigit() else c in content))


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """A workspace in which every command has been used, what they said, and the canaries.

    Takes long: every picture of three reports is drawn, as SVG and as PDF with its fonts.
    """
    folder = tmp_path_factory.mktemp("privacy")
    canaries = planted(folder / "data")
    config = write_yaml(folder / "canaries.yaml", benchmark(folder / "data"))
    workspace = folder / "runs"
    said = []
    for command in (
        ("run", config, "--workspace", workspace),
        ("run", config, "--workspace", workspace, "--set", "training.epochs=1", "--limit", "1"),
        ("report", config, "--workspace", workspace, "--hparams"),
        ("data", "check", config, "--workspace", workspace),
        ("compare", workspace, workspace),
        ("doctor", "--workspace", workspace),
    ):
        outcome = fusionbench(*command)
        assert outcome.code == 0, (command, outcome.err, outcome.out)
        said.append((outcome.out + outcome.err).encode())
    return workspace, said, canaries


def benchmark(data: Path):
    return {
        "name": "canaries",
        "task": {
            "name": "mimic_ihm",
            "root": str(data / "mimic-iv"),
            "cxr_root": str(data / "mimic-cxr"),
            "image_size": 64,
        },
        "encoders": {"ehr": "series_summary", "cxr": "image_grid", "report": "hashed_words"},
        "model": {"width": 8},
        "strategies": [
            {"name": "concat", "imputers": ["zero", "mean", "knn", "cra"]},
            "dwfuse",
            {"name": "unimodal", "modality": "report", "label": "report only"},
        ],
        "missingness": {"patterns": ["random"], "rates": [0, 0.5]},
        "splits": {"folds": 2},
        "training": {"epochs": 3, "batch_size": 32, "traces": True},
        "tuning": {"trials": 2, "common": {"learning_rate": {"low": 0.001, "high": 0.01}}},
        "evaluation": {"resamples": 100},
    }


def outside(workspace: Path) -> list[Path]:
    """Every file of the workspace but the cache, which holds what models read."""
    return [
        p for p in sorted(workspace.rglob("*")) if p.is_file() and "cache" not in p.relative_to(workspace).parts[:1]
    ]


def test_the_canaries_were_read(left):
    workspace, _, canaries = left
    cached = b"".join(p.read_bytes() for p in (workspace / "cache").rglob("*") if p.is_file())
    assert NAME.encode() in cached
    assert len(canaries) > 500


def test_every_kind_of_output_is_looked_at(left):
    workspace, said, _ = left
    names = {p.relative_to(workspace).as_posix() for p in outside(workspace)}
    assert {"mlflow.db", "reports/canaries/report.html", "reports/canaries/record.json"} <= names
    for ending in (
        *(".csv", ".png", ".svg", ".pdf", ".tex", ".yaml", ".html", ".db"),
        *(".parquet", ".safetensors", ".journal", ".json", ".npy"),
    ):
        assert any(n.endswith(ending) for n in names), ending
    assert any(n.startswith("mlartifacts/") for n in names)
    assert any(n.startswith("results/maps/") for n in names)
    assert any(n.startswith("reports/canaries/pictures/map-") for n in names)
    assert all(said)


def test_nothing_of_a_patient_is_in_a_file_outside_the_cache(left):
    workspace, _, canaries = left
    found = {p.relative_to(workspace).as_posix(): leaks(canaries, readable(p)) for p in outside(workspace)}
    assert {name: what for name, what in found.items() if what} == {}


def test_no_identifier_is_a_number_in_a_table_or_an_array(left):
    from safetensors.numpy import load_file

    workspace, _, canaries = left
    numbers = [int(c) for c in canaries if c.isdigit()]
    for path in outside(workspace):
        if path.suffix == ".parquet":
            values = [pd.read_parquet(path).select_dtypes("number").to_numpy().ravel()]
        elif path.suffix == ".safetensors":
            values = [v.ravel() for v in load_file(path).values()]
        else:
            continue
        assert not any(np.isin(v, numbers).any() for v in values), path.name


def test_maps_of_embeddings_hold_counts_of_five_rows_and_more_and_seven_numbers_about_all_of_them(left):
    workspace, _, _ = left
    files = sorted((workspace / "results" / "maps").glob("*.json"))
    maps = [one for f in files for one in json.loads(f.read_bytes())["maps"].values()]
    assert len(files) == 6 + 1  # of each arm, and the one model of the second run
    assert len(maps) == 3 * 3
    for one in maps:
        counts = one.pop("true"), one.pop("filled")
        assert {int(c) for rows in counts for row in rows for c in row}.isdisjoint(range(1, 5))
        assert all(len(row) == len(rows) <= 16 for rows in counts for row in rows)
        assert all(isinstance(v, int | float) for v in one.values())
        assert len(one) == 7


def test_the_drawn_cells_of_a_map_are_those_that_are_stored(left):
    workspace, _, _ = left
    drawn = sorted((workspace / "reports" / "canaries" / "pictures").glob("map-*.svg"))
    assert len(drawn) == 2 * 3  # the mean is one cell, and not drawn
    stored = [
        sum(c > 0 for rows in (one["true"], one["filled"]) for row in rows for c in row)
        for f in (workspace / "results" / "maps").glob("*.json")
        for one in json.loads(f.read_bytes())["maps"].values()
        if one["spread"] > 1e-4
    ]
    # cells alone have a white edge
    found = [ET.parse(f).getroot() for f in drawn]
    cells = [len([p for p in root.iter(f"{SVG}path") if "stroke: #ffffff" in p.get("style", "")]) for root in found]
    assert sorted(cells) == sorted(stored)
    assert all(not list(root.iter(f"{SVG}image")) for root in found)


def test_nothing_of_a_patient_is_in_the_tracking_store(left):
    workspace, _, canaries = left
    with closing(sqlite3.connect(workspace / "mlflow.db")) as connection:
        dump = "\n".join(connection.iterdump()).encode()
    assert b"canaries" in dump
    assert leaks(canaries, dump) == []


def test_nothing_of_a_patient_is_said(left):
    _, said, canaries = left
    assert [leaks(canaries, words) for words in said] == [[]] * len(said)


def test_the_names_of_files_say_nothing(left):
    workspace, _, canaries = left
    names = "\n".join(p.name for p in outside(workspace)).encode()
    assert leaks(canaries, names) == []


@pytest.mark.parametrize(
    "leak",
    [b" 11289118,", b"p11289118/", NAME.encode(), b"\xff\xd8 a picture", base64.b64encode(b"\xff\xd8 a picture")],
)
def test_what_is_looked_for_would_be_found(leak):
    canaries = {b"11289118", NAME.encode(), b"\xff\xd8 a picture", base64.b64encode(b"\xff\xd8 a picture")}
    assert len(leaks(canaries, b"before " + leak + b" after")) == 1


@pytest.mark.parametrize("ending", ["pdf", "svg", "parquet", "html"])
def test_what_is_looked_for_would_be_found_in_every_kind_of_file(tmp_path, ending):
    path = tmp_path / f"leak.{ending}"
    if ending == "parquet":
        pd.DataFrame({"name": [NAME], "stay_id": [11289118]}).to_parquet(path)
    elif ending == "html":
        path.write_text(f"<p>{NAME} 11289118</p>", encoding="utf-8")
    else:
        with mpl.rc_context(STYLE):
            figure = Figure()
            figure.text(0, 0, f"{NAME} 11289118")
            figure.savefig(path)
    assert leaks({NAME.encode(), b"11289118"}, readable(path)) == [b"11289118", NAME.encode()]


@pytest.mark.parametrize("number", [b"0.11289118", b"0.5112891180", b"911289118"])
def test_digits_of_other_numbers_are_not_taken_for_an_identifier(number):
    assert leaks({b"11289118"}, number) == []
