"""The merged file: what a child, its parent, a panel, the demo and ``--set`` make together is a benchmark file itself."""

from __future__ import annotations

import itertools

import pytest
import yaml

from fusionbench.config.merged import merged_text
from fusionbench.config.reading import load_benchmark, read_panels
from tests.config.toy_file import GOOD

PARENT = GOOD + "question: 'Which one: a or b?'\ndemo: {unless_set: REAL_DATA, training: {epochs: 2}}\n"


@pytest.fixture
def child(tmp_path):
    (tmp_path / "parent.yaml").write_text(PARENT, encoding="utf-8")
    path = tmp_path / "child.yaml"
    path.write_text(
        "extends: parent.yaml\nname: child\nstrategies: [sum, {name: concat, label: größer}]\n", encoding="utf-8"
    )
    return path


def test_it_is_the_same_benchmark(child, tmp_path):
    text = merged_text(read_panels(child, ["training.patience=1"], {}))
    (tmp_path / "merged.yaml").write_text(text, encoding="utf-8")
    merged = load_benchmark(tmp_path / "merged.yaml", environ={})
    assert merged.model_copy(update={"is_demo": True}) == load_benchmark(child, ["training.patience=1"], {})


def test_it_says_where_each_key_was_given(child, tmp_path):
    lines = merged_text(read_panels(child, ["training.patience=1"], {})).replace(f"{tmp_path}/", "").splitlines()
    above = {line.partition(":")[0]: before for before, line in itertools.pairwise(lines)}
    assert lines[0] == "# the demo: its block is laid over the file"
    assert (above["name"], above["task"], above["strategies"]) == (
        "# child.yaml:2",
        "# parent.yaml:2",
        "# child.yaml:3",
    )
    assert above["training"] == "# parent.yaml:13, --set training.patience=1"


def test_each_panel_is_a_document_and_passwords_stay_out(child):
    tracking = "tracking: {uri: 'postgresql://me:geheim@host/db'}\npanels: {one: {}, two: {task: {rows: 30}}}\n"
    child.write_text(child.read_text(encoding="utf-8") + tracking, encoding="utf-8")
    text = merged_text(read_panels(child, environ={"REAL_DATA": "x"}))
    one, two = yaml.safe_load_all(text)
    assert (one["name"], two["name"], two["task"]["rows"]) == ("child-one", "child-two", 30)
    assert "geheim" not in text
    assert "host" in text
