"""Plugin kinds that hold tensors: what they do where an author says nothing, and what decides an encoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fusionbench.contract.batch import Batch, FusionOutput, FusionSpec
from fusionbench.contract.learners import Encoder, FusionStrategy, Imputer, Regulariser
from fusionbench.contract.stages import Stage, TrainingClock
from fusionbench.targets import TargetKind, row_losses

SPEC = FusionSpec({"a": 2}, 1, TargetKind.BINARY)
LOGITS, TARGET = torch.tensor([[0.0], [2.0], [-1.0]]), torch.tensor([1, 0, 0])
OUTPUT = FusionOutput(LOGITS)
BATCH = Batch({"a": torch.zeros(3, 2)}, {"a": torch.ones(3, dtype=torch.bool)})


class Small(Encoder):
    """A layer with a setting."""

    def __init__(self, setting=1, width=2):
        super().__init__()
        self.setting, self.output_dim = setting, width
        self.layer = nn.Linear(2, width)
        self.register_buffer("shift", torch.zeros(1))
        nn.init.ones_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def extra_repr(self):
        return f"setting={self.setting}"


class Other(Small):
    """The same under another name."""


def changed(tensor):
    encoder = Small()
    with torch.no_grad():
        dict(encoder.state_dict())[tensor].view(-1)[0] += 1e-6
    return encoder


def test_equal_encoders_have_equal_fingerprints():
    assert Small().fingerprint() == Small().fingerprint()
    assert Small().eval().requires_grad_(requires_grad=False).fingerprint() == Small().fingerprint()


def shifted(shift):
    encoder = Small()
    encoder.shift = shift
    return encoder


@pytest.mark.parametrize(
    "shift", [torch.zeros(1, 1), torch.zeros(1, dtype=torch.int32)], ids=["other shape", "other type"]
)
def test_equal_bytes_that_mean_something_else_are_another_fingerprint(shift):
    assert shifted(shift).fingerprint() != Small().fingerprint()
    assert shifted(torch.zeros(1)).fingerprint() == Small().fingerprint()


@pytest.mark.parametrize(
    "other",
    [Small(setting=2), Small(width=3), Small().double(), Other(), changed("layer.weight"), changed("shift")],
    ids=["setting", "shape", "type", "class", "weight", "buffer"],
)
def test_whatever_decides_an_encoding_is_in_the_fingerprint(other):
    assert other.fingerprint() != Small().fingerprint()


def test_arrays_pass_an_encoder_and_text_needs_one_that_reads_it():
    values = np.ones((2, 3))
    assert Small().prepare(values) == (values, None)
    with pytest.raises(TypeError, match=r"Small cannot read text; override prepare\(\)"):
        Small().prepare(["a", "b"])


def test_an_encoder_is_stacked_everywhere_where_it_is_stackable():
    encoder = Small()
    assert encoder.stackable_on(torch.device("cuda"))
    encoder.stackable = False
    assert not encoder.stackable_on(torch.device("cpu"))


def test_a_hyper_parameter_is_a_buffer_that_stacked_models_may_differ_in():
    strategies = [FusionStrategy(SPEC) for _ in range(2)]
    for i, strategy in enumerate(strategies):
        strategy.hyper("alpha", i + 1)
    assert strategies[0].hyper_names == {"alpha"}
    _, buffers = torch.func.stack_module_state(strategies)
    assert buffers["alpha"].tolist() == [1, 2]
    assert buffers["alpha"].dtype == torch.float32


class Headed(FusionStrategy):
    """Output layers in every place where the default looks for them, and layers that are none."""

    def __init__(self, spec):
        super().__init__(spec)
        self.head = nn.Linear(2, 3)
        self.deep_head = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Dropout())
        self.heads = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Sequential(nn.Linear(2, 3))})
        self.more_heads = nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3, bias=False), nn.Linear(2, 5)])
        self.gate = nn.Linear(2, 3)


def test_the_biases_of_output_layers_begin_at_the_prevalence_and_nothing_else_moves():
    strategy, logits = Headed(SPEC), torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    before = {n: p.detach().clone() for n, p in strategy.named_parameters()}
    with torch.no_grad():
        strategy.start_at(logits)
    moved = {n for n, p in strategy.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"head.bias", "deep_head.2.bias", "heads.a.bias", "heads.b.0.bias", "more_heads.0.bias"}
    assert all(torch.equal(strategy.get_parameter(n), logits.float()) for n in moved)
    assert all(p.requires_grad and p.is_leaf for p in strategy.parameters())


def test_a_strategy_learns_the_task_in_one_stage_unless_it_says_otherwise():
    strategy = FusionStrategy(SPEC)
    assert strategy.spec is SPEC
    wanted = sum(float(row_losses(LOGITS[i : i + 1], TARGET[i : i + 1], SPEC.kind)) for i in range(3)) / 3
    assert float(strategy.loss(OUTPUT, BATCH, TARGET)) == pytest.approx(wanted)
    heads = strategy.head_losses(OUTPUT, BATCH, TARGET)
    assert float(heads["joint"].mean()) == pytest.approx(wanted)
    assert heads["joint.rows"].tolist() == [1, 1, 1]
    assert strategy.stages() == (Stage("train"),)
    assert strategy.modality_logits(OUTPUT, BATCH) == {}


def test_what_an_author_leaves_out_changes_and_records_nothing():
    for part in (FusionStrategy(SPEC), Imputer(SPEC), Regulariser(SPEC)):
        assert part.statistics(OUTPUT, BATCH, TARGET, None) == {}
        assert part.update({"sum": LOGITS}, TrainingClock(1, 2)) == {}
        assert part.traces(OUTPUT, BATCH, TARGET) == {}
        assert part.search_space(None) == {}
        assert part.corruption == "none"
    gradients = {"fusion.x": LOGITS}
    assert FusionStrategy(SPEC).modulate(gradients, OUTPUT, BATCH, TARGET, {}) is gradients
    loss = torch.tensor(2.0)
    assert Imputer(SPEC).loss(BATCH, loss) is loss


def test_what_an_author_must_write_is_asked_for():
    for part in (FusionStrategy(SPEC), Imputer(SPEC), Encoder()):
        with pytest.raises(NotImplementedError):
            part(BATCH)
    with pytest.raises(NotImplementedError):
        Regulariser(SPEC).loss(OUTPUT, BATCH, TARGET)
