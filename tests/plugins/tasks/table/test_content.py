"""Manifest and blocks put together."""

from __future__ import annotations

import shutil

import numpy as np

from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.table import TableTask
from tests.plugins.tasks.table.folder import ROWS, frame, prepare, problems, write


def test_presence_comes_from_empty_rows_where_the_manifest_does_not_say(tmp_path):
    folder = write(tmp_path, frame().drop(columns=["has_gene", "has_scan"]))
    assert "no column 'has_<modality>'" in problems(folder)
    assert prepare(folder, modalities=["gene", "scan"]).available.sum(axis=0).tolist() == [60, 40]


def test_what_is_marked_absent_is_not_read(tmp_path):
    folder = write(tmp_path, scan=np.ones((ROWS, 3)))
    data = prepare(folder)
    assert (data.modalities["scan"].values[~data.available[:, 1]] == 0).all()
    assert any(
        "20 rows that are marked absent" in line
        for line in TableTask(root=str(folder)).check(tmp_path, SilentProgress()).lines
    )


def test_modalities_are_chosen_and_ordered_and_rows_left_with_none_are_dropped(tmp_path):
    folder = write(tmp_path)
    assert list(prepare(folder, modalities=["scan", "gene"]).modalities) == ["scan", "gene"]
    alone = prepare(folder, modalities=["scan"])
    assert len(alone) == 40
    assert [s.rows for s in alone.funnel] == [60, 40]
    assert alone.warnings == ("20 rows have none of the modalities and are left out",)


def test_the_digest_follows_the_content_and_not_the_place(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    data = prepare(write(one))
    shutil.copytree(one, other)
    assert prepare(other).digest == data.digest
    values = np.load(other / "scan.npy")
    values[0, 0] += 1
    np.save(other / "scan.npy", values)
    assert prepare(other).digest != data.digest
    assert prepare(one, metric="auroc").digest != data.digest


def test_everything_wrong_is_said_at_once_and_nothing_of_a_row(tmp_path):
    gene = np.ones((ROWS, 4))
    gene[[3, 4], 1] = np.inf
    bad = frame(
        label=[None, *np.tile(["x", "secret"], 30)[1:]], split=["train"] * 59 + ["tset"], has_gene=["maybe"] + [1] * 59
    )
    text = problems(write(tmp_path, bad, gene=gene, scan=np.ones((ROWS - 1, 3))))
    for part in (
        "column 'label' is empty in 1 of 60 rows",
        "column 'split' must hold train, validation, test; 1 rows",
        "column 'has_gene' must hold 0 and 1; 1 of 60 rows",
        "modality 'gene': 2 present rows hold NaN or infinity, in 1 of 4 columns (1)",
        "scan.npy: has 59 rows and the manifest 60",
    ):
        assert part in text
    for private in ("secret", "maybe", "tset", "s3"):
        assert private not in text
