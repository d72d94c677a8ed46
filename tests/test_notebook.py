"""The notebook of the documentation: it was executed, it shows what it says, and it runs."""

from __future__ import annotations

import importlib.util
import json
import linecache
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def cells(kind="code"):
    return [c for c in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind]


def shown(cell):
    return [o.get("data", {}) for o in cell["outputs"]]


def test_every_cell_was_executed_in_order_and_none_failed():
    assert [c["execution_count"] for c in cells()] == list(range(1, len(cells()) + 1))
    assert [o for c in cells() for o in c["outputs"] if o["output_type"] in ("error", "stream")] == []


def test_it_shows_the_answer_the_tables_a_picture_and_bars():
    html = "".join("".join(d.get("text/html", "")) for c in cells() for d in shown(c))
    assert '<div class="fusionbench">' in html
    assert "SYNTHETIC DATA" in html
    assert "<progress" in html
    assert '<table border="1" class="dataframe">' in html
    assert any("image/png" in d for c in cells() for d in shown(c))


def test_it_names_no_machine_and_no_time():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(tmp|home|work|root|Users)/", text)
    assert not re.search(r"; \d+:\d\d<", text)


def test_its_cells_run_as_they_stand(tmp_path, monkeypatch):
    """Every cell in one namespace, with sources where a notebook has them; takes 10 s, for it trains all that it shows."""
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "__main__"}
    for number, cell in enumerate(cells()):
        source, name = "".join(cell["source"]), f"<cell {number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec"), space)
    board = space["results"].leaderboard
    assert set(board["strategy"]) >= {"gate", "concat", "sum"}
    assert space["results"].failures == {}
    assert space["again"].best().equals(space["results"].best())
    assert space["both"].shape == (4, 1)
    assert (space["kept"].predict_proba(space["new"]) == space["both"]).all()


@pytest.mark.slow
def test_a_kernel_runs_it(tmp_path):
    if any(importlib.util.find_spec(m) is None for m in ("ipykernel", "nbclient", "nbformat")):
        pytest.skip("needs a kernel (pip install -e '.[notebook]')")
    spec = importlib.util.spec_from_file_location("run_notebook", ROOT / "tools" / "run_notebook.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    book = tool.scrubbed(tool.executed(NOTEBOOK, tmp_path))
    now = {i: c["outputs"] for i, c in enumerate(book["cells"]) if c["cell_type"] == "code"}
    assert not any(o["output_type"] == "error" for outputs in now.values() for o in outputs)
    assert any("text/html" in o.get("data", {}) for outputs in now.values() for o in outputs)
