"""Nothing of test rows reaches training, validation or tuning: spoil features and labels of every test row, and train again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fusionbench import Modality
from fusionbench.plugins.catalogue import Plugins
from tests.builders import OPTIONS, make_run, toy_dataset
from tests.plugins.encoders.models import write_model

PARTS = np.array(["train", "train", "train", "validation", "test"])
LOOKING = ["mar", "mnar"]
WHERE = ["test", "train", "both", "grid"]
WORDS = np.array(["fever", "cough", "clear", "effusion", "stable"])


def clean(rows=100, kinds=False):
    """The toy data with a fixed split; with a series, pictures and texts instead of its vectors where asked."""
    dataset = toy_dataset(rows=rows)
    split = PARTS[np.arange(rows) // 2 % len(PARTS)]
    draw, label = np.random.default_rng(3), dataset.target
    modalities = dict(dataset.modalities)
    if kinds:
        series = (draw.normal(size=(rows, 4, 3)) + label[:, None, None]).astype(np.float32)
        pictures = draw.integers(0, 200, (rows, 32, 32)).astype(np.uint8) + (40 * label[:, None, None]).astype(np.uint8)
        texts = [" ".join(WORDS[draw.integers(0, 3 + 2 * y, 6)]) for y in label]
        lengths = draw.integers(1, 5, rows)
        modalities = {
            "a": Modality("series", series, lengths=lengths, standardise=np.ones(3, bool)),
            "b": Modality("image", pictures),
            "c": Modality("text", texts),
        }
    return replace(dataset, modalities=modalities, split=split, digest=f"canary {rows} {kinds}")


def spoilt(dataset):
    """Every test row with features 50 times as large, and another label."""
    test = dataset.split == "test"
    target = np.where(test, 1 - dataset.target, dataset.target)
    return replace(dataset, target=target, modalities={n: _spoilt(m, test) for n, m in dataset.modalities.items()})


def _spoilt(modality, test):
    if modality.kind == "text":
        values = ["unheard of words" if t else v for v, t in zip(modality.values, test, strict=True)]
    elif modality.kind == "image":
        values = np.where(test[:, None, None], 255 - modality.values, modality.values)
    else:
        values = modality.values.copy()
        values[test] *= 50
    return replace(modality, values=values)


def learnt(workspace, dataset, **changes):
    """All that training and tuning came to, model by model; and what was predicted."""
    run = make_run(workspace, dataset, **{"splits": {"source": "task"}, **changes})
    summary = run.execute()
    assert summary.failures == []
    found = [run.store.load(f.key) for f in run.plan.fits]
    trials = [run.store.sealed_study(s.key) for s in run.plan.studies]
    models = [
        (f.arm.label, f.condition, r.score, r.best_epoch, r.epochs, r.options)
        for f, r in zip(run.plan.fits, found, strict=True)
    ]
    weights = [run.store.weights(f.key) for f in run.plan.fits if run.store.has_sound_weights(f.key)]
    tuned = [[(t["params"], t["score"], t["epochs"]) for t in s["trials"]] for s in trials if s is not None]
    return models, weights, tuned, [r.logits for r in found]


def check(tmp_path, dataset, **changes):
    before = learnt(tmp_path / "before", dataset, **changes)
    after = learnt(tmp_path / "after", spoilt(dataset), **changes)
    assert before[0] == after[0]
    assert before[2] == after[2]
    assert len(before[1]) == len(after[1])
    for one, other in zip(before[1], after[1], strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[n], other[n]) for n in one)
    pairs = zip(before[3], after[3], strict=True)
    differ = [not np.array_equal(a, b) for p, q in pairs for a, b in zip(p.values(), q.values(), strict=True)]
    assert any(differ), "the spoilt rows were not even looked at"


def missing(mechanism, where, patterns=("random",)):
    return {"mechanism": mechanism, "where": where, "patterns": list(patterns), "rates": [0, 0.5]}


@pytest.mark.parametrize(("mechanism", "where"), [("mcar", "both"), ("mar", "both"), ("mnar", "grid"), ("mar", "test")])
def test_mechanisms(tmp_path, mechanism, where):
    check(tmp_path, clean(), missingness=missing(mechanism, where), strategies=["concat"])


@pytest.mark.parametrize("condition", ["mean", "each"])
def test_tuning(tmp_path, condition):
    tuning = {
        "trials": 2,
        "common": {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}},
        "condition": condition,
    }
    check(
        tmp_path,
        clean(),
        missingness=missing("mnar", "both"),
        strategies=["sum"],
        imputers=["zero", "knn"],
        tuning=tuning,
    )


def test_tuning_on_inner_folds(tmp_path):
    tuning = {
        "trials": 2,
        "common": {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}},
        "condition": "mean",
        "inner_folds": 3,
    }
    check(
        tmp_path,
        clean(),
        missingness=missing("mnar", "test"),
        strategies=["sum", "logistic_regression"],
        imputers=["knn"],
        tuning=tuning,
    )


def test_encoders_of_every_kind_of_modality(tmp_path):
    encoders = {"a": "lstm", "b": "image_grid", "c": "hashed_words"}
    check(tmp_path, clean(kinds=True), missingness=missing("mar", "train"), encoders=encoders, strategies=["concat"])


@pytest.mark.slow  # every mechanism in every place: two runs each
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("mechanism", ["mcar", *LOOKING])
def test_every_mechanism_everywhere(tmp_path, mechanism, where):
    patterns = ("random", "all", "a", "a+b")
    check(tmp_path, clean(), missingness=missing(mechanism, where, patterns), strategies=["concat"])


@pytest.mark.slow  # every imputer
@pytest.mark.parametrize("imputer", Plugins().names("imputers"))
def test_every_imputer(tmp_path, imputer):
    check(tmp_path, clean(), missingness=missing("mar", "both"), strategies=["sum"], imputers=[imputer])


@pytest.mark.slow  # every strategy
@pytest.mark.parametrize("strategy", Plugins().names("strategies"))
def test_every_strategy(tmp_path, strategy):
    chosen = [{"name": strategy, **OPTIONS.get(strategy, {})}]
    check(tmp_path, clean(), missingness=missing("mnar", "both"), strategies=chosen)


TINY = {"name": "timm_image", "model": "resnet10t", "pretrained": False, "frozen": False, "size": 32}


@pytest.mark.slow  # every encoder that needs no download
@pytest.mark.parametrize("encoder", ["lstm", "series_summary", "image_grid", "hashed_words", TINY, "hf_text"], ids=str)
def test_every_encoder(tmp_path, encoder):
    of = {"lstm": "a", "series_summary": "a", "hashed_words": "c", "hf_text": "c"}
    if encoder == "hf_text":
        folder = write_model(tmp_path / "model", "Bert")
        encoder = {"name": encoder, "path": str(folder), "frozen": False}
    name = encoder if isinstance(encoder, str) else encoder["name"]
    encoders = {"a": "series_summary", "b": "image_grid", "c": "hashed_words", of.get(name, "b"): encoder}
    check(tmp_path, clean(kinds=True), missingness=missing("mar", "both"), encoders=encoders, strategies=["concat"])


@pytest.mark.slow  # encoders of vectors
@pytest.mark.parametrize("encoder", ["identity", "mlp"])
def test_every_encoder_of_vectors(tmp_path, encoder):
    encoders = dict.fromkeys("abc", encoder)
    check(tmp_path, clean(), missingness=missing("mar", "both"), encoders=encoders, strategies=["concat"])
