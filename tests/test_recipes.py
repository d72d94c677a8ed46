"""The benchmark files that pages show, run whole: on this device, and as on one that cannot compute in half precision."""

from __future__ import annotations

import csv
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from fusionbench.training.devices import precision
from tests.front import fusionbench
from tests.test_docs import PAGES, ROOT, blocks, commands, write_files
from tests.training.devices.test_chunks import SMALL

CHANGES = {"medfuse_tuned": SMALL, "toy": ("training.epochs=2", "tuning.trials=0", "splits={folds: 2}")}
"""What makes a recipe small enough for a test, by its name; the others are small as they are."""


def recipes():
    """Every whole benchmark that a page shows, with the plugin files that the page's own command names."""
    for page in PAGES:
        named = [
            b for b in blocks(page) if b.language == "yaml" and b.file and "task" in (yaml.safe_load(b.text) or {})
        ]
        for block in named:
            runs = [
                w for b in blocks(page) if b.language == "bash" for w in commands(b) if w[1:3] == ["run", block.file]
            ]
            plugins = [word for before, word in zip(runs[0], runs[0][1:], strict=False) if before == "-p"]
            yield pytest.param(page, block.file, plugins, id=f"{page.stem}-{block.file}")


@pytest.fixture(params=["this device", "an old device"])
def able(request, monkeypatch):
    """Whether bfloat16 pays; an old device has neither instructions nor layers for it."""
    found = precision.abilities(torch.device("cpu"))
    if request.param == "an old device":
        found = replace(found, device="an old device", native=False, recurrent=False)
        monkeypatch.setattr(precision, "abilities", lambda _: found)
    return found.pays


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked", [{}, {"precision": "bfloat16"}, {"precision": "bfloat16", "precision_forced": "true"}], ids=str
)
@pytest.mark.parametrize(("page", "name", "plugins"), list(recipes()))
def test_the_recipe_of_a_page_runs(page, name, plugins, asked, able, tmp_path, monkeypatch):
    files = write_files(page, tmp_path)
    changes = [*CHANGES.get(Path(name).stem, ()), *(f"training.{key}={value}" for key, value in asked.items())]
    words = [word for change in changes for word in ("--set", change)]
    words += [word for p in plugins for word in ("-p", str(files.get(p, ROOT / p)))]
    outcome = fusionbench("run", files[name], *words, "--workspace", tmp_path / "runs", "--device", "cpu")
    assert outcome.code == 0, shlex.join(map(str, words)) + outcome.err
    asks = yaml.safe_load(files[name].read_text("utf-8")).get("training", {}).get("precision") or asked.get("precision")
    assert ("computed in float32:" in outcome.out) == (
        asks == "bfloat16" and not able and "precision_forced" not in asked
    )
    assert ("computed in bfloat16, as" in outcome.out) == ("precision_forced" in asked and not able)
    (table,) = (tmp_path / "runs" / "reports").glob("*/leaderboard.csv")
    with table.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert all(line["models"] == line["models_planned"] != "0" for line in lines)
