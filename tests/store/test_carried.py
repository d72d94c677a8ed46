"""Results that come from another store: all of them, none that nobody asked for, none that is damaged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusionbench.errors import WorkspaceError
from fusionbench.store.carried import files_of, take_in
from fusionbench.store.results import Store
from tests.builders import make_run
from tests.executing import TUNED


@pytest.fixture
def worked(tmp_path):
    """A run that is done, its files, the keys of its models and of its searches."""
    run = make_run(tmp_path / "there", **{**TUNED, "training": {"epochs": 2, "batch_size": 32, "keep_weights": True}})
    run.execute()
    models, studies = [f.key for f in run.plan.fits], [s.key for s in run.plan.studies]
    return run, files_of(run.store.at, models, studies), models, studies


def test_everything_arrives(worked, tmp_path):
    run, files, models, studies = worked
    here, said = Store(tmp_path / "here"), []
    take_in(here, files, models, studies, said.append)
    assert said == []
    assert here.keys() == set(models) == here.keys_with_weights()
    for key in models:
        assert here.load(key).content == run.store.load(key).content
    for key in studies:
        assert here.sealed_study(key) == run.store.sealed_study(key)


def test_only_what_was_asked_for_is_sent_and_taken(worked, tmp_path):
    run, files, models, studies = worked
    assert {p.split("/")[1].split(".")[0] for p in files_of(run.store.at, models[:1], [])} == {models[0]}
    with pytest.raises(WorkspaceError, match="which belongs to none of its models"):
        take_in(Store(tmp_path / "here"), files, models[1:], studies, print)


@pytest.mark.parametrize("path", ["../escaped", "fits/../../escaped.json", "/etc/passwd", "salt", "fits/.hidden.json"])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path, path):
    with pytest.raises(WorkspaceError, match="belongs to none"):
        take_in(Store(tmp_path / "here"), {path: b"x"}, ["escaped"], [], print)
    assert not (tmp_path / "escaped").exists()


def test_what_was_damaged_on_the_way_is_named_and_not_kept(worked, tmp_path):
    _, files, models, studies = worked
    wrong = f"fits/{models[0]}.safetensors", f"studies/{studies[0]}.json", f"weights/{models[1]}.safetensors"
    damaged = {path: content[:-7] + b"damaged" if path in wrong else content for path, content in files.items()}
    here, said = Store(tmp_path / "here"), []
    take_in(here, damaged, models, studies, said.append)
    assert here.keys() == set(models[1:])
    assert here.sealed_study(studies[0]) is None
    assert models[1] not in here.keys_with_weights()
    assert len(said) == 3


def test_a_result_is_added_to_what_is_there(worked, tmp_path):
    run, files, models, studies = worked
    known = run.store.load(models[0])
    label = next(iter(known.logits))
    here = Store(tmp_path / "here")
    parts = {what: {"other": found[label]} for what, found in known.predicted.items()}
    here.save(replace(known, **parts))
    take_in(here, files, models, studies, print)
    assert here.load(models[0]).logits.keys() == {"other", *known.logits}


def test_a_failure_arrives(tmp_path):
    there, here = Store(tmp_path / "there"), Store(tmp_path / "here")
    there.save_failure("abc", {"cell": "a model"}, "it diverged")
    take_in(here, files_of(there.at, ["abc"], []), ["abc"], [], print)
    assert (here.at.failures / "abc.json").read_text(encoding="utf-8").count("it diverged") == 1
