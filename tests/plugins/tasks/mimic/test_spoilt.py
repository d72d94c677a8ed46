"""Small MIMIC trees that were spoilt at random: read as they were, or with a warning, or refused; never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import small_tree
from tests.plugins.tasks.mimic.spoilt import ANY, KINDS, REFUSED, SAME, WARNED, Spoilt, spoil


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """What the tree is read as where nothing was spoilt."""
    tree = small_tree()
    for row in tree.tables["admissions"]:
        row["race"] = "OTHER"
    return examined(tmp_path_factory.mktemp("reference"), Spoilt(tree, SAME))[0]


def examined(folder: Path, spoilt: Spoilt) -> tuple[str, tuple[str, ...], str]:
    """Return digest, warnings and error."""
    root, cxr = spoilt.tree.write(folder, plain=True)
    spoilt.after(root, cxr)
    try:
        found = MimicIhm(str(root), str(cxr), threads=1).prepare(folder / "cache", SilentProgress())
    except DataError as problem:
        return "", (), str(problem)
    return found.digest, found.warnings, ""


def examine(seed: int, folder: Path, reference: str, kind: int | None = None) -> str:
    generator = random.Random(seed)
    tree = small_tree()
    for row in tree.tables["admissions"]:
        row["race"] = "OTHER"
    spoilt = spoil(generator) if kind is None else KINDS[kind](tree, generator)
    digest, warnings, error = examined(folder / str(seed), spoilt)
    assert "1000000" not in error, seed  # no patient is named
    assert "3000000" not in error, seed
    if spoilt.must == SAME:
        assert (digest, error) == (reference, ""), seed
    elif spoilt.must == WARNED:
        assert any(spoilt.said in warning for warning in warnings), (seed, warnings, error)
    elif spoilt.must == REFUSED:
        assert spoilt.said in error, (seed, error)
    return spoilt.must


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=[kind.__name__ for kind in KINDS])
def test_each_kind_is_read_warned_of_or_refused(tmp_path, reference, kind):
    assert examine(kind, tmp_path, reference, kind) in (SAME, WARNED, REFUSED, ANY)


@pytest.mark.slow  # a thousand trees, each written, extracted and linked: ten minutes
def test_a_thousand_spoilt_trees(tmp_path, reference):
    found = [examine(seed, tmp_path, reference) for seed in range(1000)]
    assert min(found.count(must) for must in (SAME, WARNED, REFUSED, ANY)) > 50
