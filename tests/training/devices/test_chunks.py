"""Tuned image and text networks: in chunks of rows, in bfloat16, with augmentation, in any company, from a file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.testing import assert_close

from fusionbench import FusionSpec, InputSpec
from fusionbench.noise import NoiseSource
from fusionbench.targets import TargetKind
from fusionbench.training.loop import train
from fusionbench.training.model import FusionModel, seeded
from fusionbench.training.population import Population
from tests.builders import ROWS, WIDTH, make_member, make_rows, member_state, plugin, run_toy, settings, shared_key
from tests.front import fusionbench
from tests.tape import Watch
from tests.test_docs import write_files

SPECS = {"ehr": InputSpec("series", (6, 3)), "cxr": InputSpec("image", (20, 20)), "report": InputSpec("text")}
OPTIONS = {
    "ehr": ("lstm", {"hidden": 8, "dropout": 0.5}),
    "cxr": ("timm_image", {"model": "test_resnet", "size": 20, "augment": "medfuse"}),
    "report": ("hf_text", {"max_length": 8}),
}
BATCH = 16
DOCS = Path(__file__).resolve().parents[3] / "docs"


def encoder(name, **changes):
    kind, options = OPTIONS[name]
    tuned = {} if kind == "lstm" else {"pretrained": False, "frozen": False}
    return plugin("encoders", kind)(SPECS[name], **{**options, **tuned, **changes})


def rows(dtype=torch.float32):
    """A series, pictures and texts; who has which and the label as in :func:`make_rows`."""
    table = make_rows(dtype=dtype)
    draw, effect = np.random.default_rng(0), table.target.numpy()
    pictures = np.clip(draw.normal(90, 30, (ROWS, 20, 20)) + 70 * effect[:, None, None], 0, 255)
    texts = [f"{'effusion' if e else 'clear'} lungs {draw.integers(9)}" for e in effect]
    tokens, lengths = encoder("report").prepare(texts)
    series = torch.tensor(draw.normal(size=(ROWS, 6, 3)) + effect[:, None, None], dtype=dtype)
    return make_rows(
        values={"ehr": series, "cxr": torch.tensor(pictures.astype(np.uint8)), "report": torch.tensor(tokens)},
        lengths={"report": torch.tensor(lengths)},
        standardise={},
        zero={
            "ehr": torch.zeros(6, 3, dtype=dtype),
            "cxr": torch.zeros(20, 20, dtype=torch.uint8),
            "report": tokens_0(),
        },
        zero_lengths={"report": 2},
    )


def tokens_0():
    return torch.tensor(encoder("report").prepare([""])[0][0])


def model(seed=0, strategy="concat", imputer="zero", dtype=torch.float32, names=tuple(SPECS), changes=None, **more):
    spec = FusionSpec(dict.fromkeys(names, WIDTH), 1, TargetKind.BINARY)

    def build():
        encoders = {n: encoder(n, **(changes or {}).get(n, {})) for n in names}
        project = {n: nn.Linear(e.output_dim, WIDTH) for n, e in encoders.items()}
        parts = plugin("imputers", imputer)(spec), plugin("strategies", strategy)(spec)
        return FusionModel(encoders, project, *parts, columns=[list(SPECS).index(n) for n in names], **more)

    return seeded(seed, build).to(dtype)


def population(table, seeds=(0, 1), **options):
    models = [model(seed, **options) for seed in seeds]
    made = Population(models, table, [torch.arange(60)] * len(seeds), [table.available] * len(seeds))
    made.draw_noise(BATCH, [torch.Generator().manual_seed(s) for s in seeds])
    return made


def step(made):
    """View, losses and gradients of one batch."""
    batch = torch.stack([torch.arange(BATCH) + i for i in range(made.size)])
    view = made.view(batch, made.table.available[batch])
    learned = made.learn(view, made.table.target[batch])
    found = torch.autograd.grad(learned.loss.sum(), list(made.parameters.values()), allow_unused=True)
    return view, learned, {n: g for n, g in zip(made.parameters, found, strict=True) if g is not None}


# ---------------------------------------------------------------------------------------- chunks of rows


@pytest.mark.parametrize("chunk", [5, 100])  # of 16 rows: the last chunk is a single row; one chunk
def test_in_chunks_losses_and_gradients_are_those_of_the_whole_batch(chunk):
    table = rows(torch.float64)
    whole, pieces = (population(table, dtype=torch.float64, encoder_rows=r) for r in (None, chunk))
    (_, wanted, gradients), (_, found, again) = step(whole), step(pieces)
    assert_close(found.loss, wanted.loss, rtol=0, atol=1e-10)
    assert gradients.keys() == again.keys() == whole.parameters.keys()
    for name, gradient in gradients.items():
        assert_close(again[name], gradient, rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


def test_the_noise_of_this_comparison_is_on():
    table = rows(torch.float64)
    noisy, plain = population(table, dtype=torch.float64), population(table, dtype=torch.float64)
    for name in plain._noise:
        plain.buffers[name] = torch.empty(2, 0)
    (view, _, _), (other, _, _) = step(noisy), step(plain)
    changed = {n for n in view.encoded if not torch.equal(view.encoded[n], other.encoded[n])}
    assert changed == {"ehr", "cxr"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_in_chunks_gradients_agree_in_the_precision_of_training_too(precision):
    table = rows()
    whole, pieces = (population(table, precision=precision, encoder_rows=r) for r in (None, 5))
    gradients, again = step(whole)[2], step(pieces)[2]
    for name, gradient in gradients.items():
        scale = float(gradient.abs().max()) + 1e-6
        assert_close(again[name], gradient, rtol=0, atol=scale * (1e-4 if precision == "float32" else 0.05))


@pytest.mark.parametrize("chunk", [None, 5])
def test_a_step_with_tuned_networks_never_waits_for_the_device(chunk, monkeypatch):
    # transformers looks at the mask to skip it, but not while a CUDA stream is captured
    monkeypatch.setattr("transformers.masking_utils.is_tracing", lambda tensor=None: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # a watch hears one thread
    made = population(rows(), encoder_rows=chunk)
    step(made)
    with Watch() as watch:
        step(made)
    assert sum("convolution" in str(operation) for operation, *_ in watch.done) > 2


def kept_by(made):
    """How many inner activations of the image network are alive between forward and backward."""
    storages = []
    for module in made.template.encoder["cxr"].backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *found: storages.append(StorageWeakRef(found[-1].untyped_storage())))
    batch = torch.arange(BATCH).expand(made.size, -1)
    view = made.view(batch, made.table.available[batch])
    assert view.encoded["cxr"].requires_grad
    assert storages
    return sum(not s.expired() for s in storages)


def test_in_chunks_no_activation_is_kept_for_the_backward_pass():
    table = rows()
    assert kept_by(population(table)) > 0
    assert kept_by(population(table, encoder_rows=6)) == 0


def rows_seen(made, name):
    """Rows of every call of an encoder's innermost network, in training and in evaluation."""
    seen = []
    inner = made.template.encoder[name]
    inner.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    step(made)
    training, seen[:] = list(seen), []
    with made.evaluating():
        batch = torch.arange(40).expand(made.size, -1)
        made.view(batch, made.table.available[batch])
    return training, list(seen)


@pytest.mark.parametrize("name", ["ehr", "cxr", "report"])
def test_no_more_rows_than_asked_for_enter_an_encoder_and_scoring_computes_nothing_twice(name):
    training, scoring = rows_seen(population(rows(), seeds=(0,), encoder_rows=6), name)
    assert training == [6, 6, 4, 4, 6, 6]  # backward goes from the last chunk to the first
    assert scoring == [6] * 6 + [4]
    assert rows_seen(population(rows(), seeds=(0,)), name) == ([16], [40])


def test_an_encoder_that_is_stacked_is_not_cut():
    table = rows(torch.float64)
    changes = {"ehr": {"cell": "plain"}}
    whole, pieces = (population(table, dtype=torch.float64, changes=changes, encoder_rows=r) for r in (None, 5))
    assert rows_seen(pieces, "ehr") == ([16], [40])
    assert_close(step(pieces)[2], step(whole)[2], rtol=0, atol=1e-10)


@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize("cell", ["fused", "plain"])
def test_the_zero_input_passes_encoders_with_noise(cell, chunk):
    made = population(rows(), imputer="zero_input", changes={"ehr": {"cell": cell}}, encoder_rows=chunk)
    view, learned, _ = step(made)
    assert {n: tuple(z.shape[:1]) for n, z in view.zero.items()} == dict.fromkeys(SPECS, (2,))
    assert torch.isfinite(learned.loss).all()


def trained(seeds=(0, 1), table=None, **options):
    table = rows() if table is None else table
    epochs = {n: options.pop(n) for n in ("epochs",) if n in options}

    def member(seed):
        return make_member(lambda: model(seed, **options), table, seed=seed, learning_rate=0.003)

    return train([member(s) for s in seeds], settings(batch_size=BATCH, **epochs), "auroc")


@pytest.mark.parametrize("strategy", ["ogm_ge", "pmr"])  # gradient modulation, statistics over the training rows
def test_training_in_chunks_is_training_of_whole_batches(strategy):
    table = rows(torch.float64)
    states = [
        trained(table=table, strategy=strategy, dtype=torch.float64, encoder_rows=r, epochs=1)[0].snapshot()
        for r in (None, 5)
    ]
    for name, value in states[0].items():
        assert_close(states[1][name], value, rtol=0, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}")


def test_chunks_take_no_part_in_the_key_of_a_result():
    def key(**training):
        return shared_key(training=training)

    assert key(encoder_rows=4) == key()


def test_every_model_of_a_benchmark_gets_the_rows_that_it_asks_for(tmp_path):
    run, summary = run_toy(tmp_path, training={"epochs": 1, "encoder_rows": 7})
    assert run.blueprint.build(run.plan.arms[0], 0, {}).encoder_rows == 7
    assert summary.failures == []


# ---------------------------------------------------------------------------------------- company, precision


@pytest.mark.parametrize("chunk", [None, 5])
def test_augmented_and_tuned_a_member_is_the_same_in_other_company(chunk):
    crowd, alone = (trained(seeds, names=("ehr", "cxr"), encoder_rows=chunk, epochs=2) for seeds in ((0, 1), (1,)))
    assert alone[1][0].history == pytest.approx(crowd[1][1].history, abs=1e-6)
    for name, value in member_state(alone[0], 0).items():
        assert_close(value, member_state(crowd[0], 1)[name], rtol=0, atol=1e-5)


def test_in_training_batch_norm_keeps_the_statistics_that_it_came_with():
    before = {n: b.clone() for n, b in model(0).named_buffers() if "running" in n}
    after = member_state(trained((0,), epochs=1)[0], 0)
    assert before
    assert all(torch.equal(after[n], b) for n, b in before.items())


@pytest.mark.parametrize(("name", "chunk"), [("cxr", None), ("report", None), ("cxr", 5)])
def test_a_tuned_network_learns_in_bfloat16(name, chunk):
    made, (fit,) = trained((0,), names=(name,), precision="bfloat16", encoder_rows=chunk, epochs=4)
    assert fit.failure is None
    assert fit.score > 0.9
    assert {t.dtype for t in made.snapshot().values() if t.is_floating_point()} == {torch.float32}
    initial = dict(model(names=(name,)).named_parameters())
    assert not [n for n, p in made.parameters.items() if n.endswith("weight") and torch.equal(p[0], initial[n])]


def test_in_bfloat16_networks_multiply_in_bfloat16_and_hand_on_float32():
    made = population(rows(), precision="bfloat16", encoder_rows=5)
    seen = set()
    for name in ("cxr", "report"):
        for module in made.template.encoder[name].backbone.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(lambda _, __, found, n=name: seen.add((n, found.dtype)))
    view, learned, gradients = step(made)
    assert seen == {("cxr", torch.bfloat16), ("report", torch.bfloat16)}
    assert {t.dtype for t in view.encoded.values()} == {torch.float32}
    assert learned.loss.dtype == learned.output.logits.dtype == torch.float32
    assert {g.dtype for g in gradients.values()} == {torch.float32}


def test_every_noise_source_of_these_models_draws_a_row_for_each_row():
    sources = [m for m in model().modules() if isinstance(m, NoiseSource)]
    assert len(sources) == 2
    assert {len(s.draw(9, torch.Generator().manual_seed(0))) for s in sources} == {9}


# ---------------------------------------------------------------------------------------- from a file


SMALL = (
    "task.synthetic={stays: 60, image_size: 36}",
    "task.image_size=36",
    "encoders.ehr.hidden=8",
    "encoders.cxr={model: test_resnet, path: null, pretrained: false, size: 32}",
    "model.width=8",
    "splits={folds: 2, use: [0]}",
    "training.epochs=2",
    "training.encoder_rows=6",
    "training.selection=loss",
    "tuning.trials=0",
    "evaluation.resamples=100",
    "observers=[files]",
)
"""What makes the recipe of the page a matter of seconds, without weights from elsewhere."""


def test_the_recipe_of_the_page_runs_on_a_small_synthetic_cohort(tmp_path):
    recipe = write_files(DOCS / "encoders.md", tmp_path)["medfuse_tuned.yaml"]
    settings = [part for change in SMALL for part in ("--set", change)]
    found = fusionbench("run", recipe, *settings, "--workspace", tmp_path / "runs", "--device", "cpu", "--quiet")
    assert found.code == 0, found.err
    text = (tmp_path / "runs" / "reports" / "medfuse_tuned" / "cells.csv").read_text(encoding="utf-8")
    cells = list(csv.DictReader(text.splitlines()))
    assert {c["random_weights"] for c in cells} == {"True"}
    assert {c["strategy"].partition(" ")[0] for c in cells} == {"medfuse", "concat"}
    assert all(0 <= float(c["brier"]) <= 1 for c in cells)
