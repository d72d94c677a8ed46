"""What is the same for every line, in words: depth of heads, epochs, what changes updates."""

from __future__ import annotations

import pytest

from fusionbench.config.sections import HeadSection, TrainingSection
from fusionbench.errors import ConfigError
from fusionbench.training.equality import described, epoch_lines, head_lines, modulation_lines
from tests.builders import OPTIONS, STRATEGIES, make_run

PLUGIN = """
from torch import nn
from fusionbench import FusionStrategy, hookimpl
from fusionbench.heads import head, unimodal_heads
import torch

class Theirs(FusionStrategy):
    '''Uses the head that it is given.'''
    def __init__(self, spec):
        super().__init__(spec)
        self.head = head(spec, sum(spec.dims.values()))
    def forward(self, batch):
        return self.head(torch.cat([batch.completed(n) for n in batch.names], dim=-1))

class Own(Theirs):
    '''Has layers of its own and says nothing.'''
    def __init__(self, spec):
        super().__init__(spec)
        self.head = nn.Sequential(nn.Linear(sum(spec.dims.values()), 7), nn.ReLU(), nn.Linear(7, spec.num_outputs))

class Scales(Theirs):
    '''Scales gradients and says that it does.'''
    modulates = "gradient"
    def modulate(self, gradients, output, batch, target, noise):
        return {n: g / 2 for n, g in gradients.items()}

class Turns(Scales):
    '''Turns gradients.'''
    rescales = False

class Leaves(Scales):
    '''Leaves it to the optimiser.'''
    modulates = "auto"

@hookimpl
def register_fusion_strategies(register):
    for name, strategy in {"theirs": Theirs, "own": Own, "scales": Scales, "turns": Turns, "leaves": Leaves}.items():
        register(name, strategy)
"""


@pytest.fixture
def guests(tmp_path):
    path = tmp_path / "guests.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return str(path)


def built(run):
    names = list(run.dataset.modalities)
    return [(arm, run.blueprint.fusion_spec(arm.seen(names))) for arm in run.resolved.arms]


def everyone():
    return [{"name": n, **OPTIONS.get(n, {})} for n in STRATEGIES]


def test_every_built_in_follows_the_head_of_the_benchmark_or_says_why_not(tmp_path):
    run = make_run(tmp_path, strategies=everyone())
    first, *others = head_lines(run.benchmark.model.head, built(run))
    assert first == "Heads: linear, for every line but these."
    assert others == ["'lmf' owns its depth: the product of low-rank factors is the logits; no head stands behind it."]
    for line in (first, *others):
        assert line in run.plan.protocol


@pytest.mark.parametrize("head", ["linear", "mlp", {"kind": "mlp", "depth": 3, "width": 5}])
def test_the_depth_of_all_strategies_is_that_of_the_benchmark(tmp_path, head):
    run = make_run(tmp_path, strategies=[a for a in everyone() if a["name"] != "lmf"], model={"width": 4, "head": head})
    layers = run.benchmark.model.head.layers
    for arm in run.resolved.arms:
        fusion = run.blueprint.build(arm, 0, {}).fusion
        heads = {n.rpartition(".")[0] for n, _ in fusion.named_parameters() if "head" in n or "joint" in n}
        depths = {n.rsplit(".", 1)[0] for n in heads if n.rsplit(".", 1)[-1].isdigit()}
        assert bool(depths) is (layers > 0 or arm.title == "attention"), arm.title
        if layers == 3:
            assert any(p.shape == (5, 5) for _, p in fusion.named_parameters()), arm.title


def test_options_that_set_a_depth_win_and_are_named(tmp_path, guests):
    strategies = [
        {"name": "concat", "label": "deep", "head_hidden": 6, "mask_indicator": True},
        {"name": "dwfuse", "hidden": 0},
        {"name": "ogm_ge", "score_source": "slice"},
        "theirs",
        "own",
    ]
    run = make_run(tmp_path, plugins=[guests], strategies=strategies, model={"width": 4, "head": "linear"})
    lines = head_lines(run.benchmark.model.head, built(run))
    assert lines[1:] == (
        "'deep' has a head of its own: its option head_hidden: 6 wins over model.head.",
        "'dwfuse' has a head of its own: its option hidden: 0 wins over model.head.",
        "'ogm_ge' has a head of its own: its option score_source: slice wins over model.head.",
        "'own' does not use model.head and does not say why (owns_depth): depths of heads are compared too.",
    )


def test_heads_in_words():
    assert described(HeadSection.model_validate("linear")) == "linear"
    assert described(HeadSection.model_validate("mlp")) == "mlp with 1 hidden layer of the width of the embeddings"
    deep = HeadSection.model_validate({"kind": "mlp", "depth": 2, "width": 9})
    assert described(deep) == "mlp with 2 hidden layers of 9 units"


def test_epochs_of_lines_that_use_others_are_named(tmp_path):
    run = make_run(tmp_path, strategies=["concat", "medfuse", "g_blend"], training={"epochs": 10, "batch_size": 32})
    assert epoch_lines(10, built(run)) == (
        "Epochs: 10 at most for the training that ends in the prediction, the same for every line.",
        "With stages that come before it, 15 for 'medfuse'; 26 for 'g_blend' (column 'epochs allowed').",
    )
    assert epoch_lines(10, built(make_run(tmp_path / "plain"))) == (
        "Epochs: 10 at most for the training that ends in the prediction, the same for every line.",
    )


def test_what_scales_gradients_is_refused_where_the_optimiser_divides_the_scale_out(tmp_path, guests):
    for strategy in ("scales", {"name": "ogm_ge", "apply": "gradient"}):
        with pytest.raises(
            ConfigError, match=r"(?s)scales gradients, and training.optimiser: adamw divides.*apply: auto"
        ):
            make_run(tmp_path, plugins=[guests], strategies=[strategy])
        sgd = {"epochs": 2, "batch_size": 32, "optimiser": "sgd"}
        assert make_run(tmp_path, plugins=[guests], strategies=[strategy], training=sgd).plan.fits
    run = make_run(tmp_path, plugins=[guests], strategies=["turns", "leaves", "ogm_ge", "concat"])
    (line,) = modulation_lines(run.benchmark.training, built(run))
    assert line.startswith("'leaves', 'ogm_ge': what it does to gradients is done to the update, since adamw divides")
    assert modulation_lines(TrainingSection(optimiser="sgd"), built(run)) == ()
