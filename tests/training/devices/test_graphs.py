"""A recorded step does what the step does: the same numbers, from the same memory, and it never waits for the device."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fusionbench import FusionStrategy, InputSpec
from fusionbench.errors import CellError
from fusionbench.noise import Dropout
from fusionbench.training.devices import graphs
from fusionbench.training.devices.graphs import WARM_UP, CudaRecorder, RecordedStep, recorder_for
from fusionbench.training.loop import train
from fusionbench.training.model import FusionModel, seeded
from fusionbench_plugins.encoders.lstm import Lstm
from tests.builders import METHODS, make_member, make_model, make_rows, member_state, outcome, settings
from tests.tape import CaptureError, Tape


@pytest.fixture
def tapes(monkeypatch):
    """Whoever wants to record gets a tape; all of them."""
    made: list[Tape] = []

    def tape():
        made.append(Tape())
        return made[-1]

    monkeypatch.setattr(graphs, "recorder_for", lambda device: tape)
    return made


def members(strategy, imputer="mean", regularisers=(), precision="float32", table=None, **options):
    table = make_rows() if table is None else table

    def one(i):
        def build():
            model = make_model(strategy, imputer, i % 2, regularisers, spread=0.05 * i, **options)
            model.precision = precision
            return model

        return make_member(build, table, train=90, seed=i, learning_rate=0.01 * (i + 1), weight_decay=0.02 * i)

    return [one(i) for i in range(3)]


def trained(given, **changes):
    population, fits = train(given, settings(**{"graph": True, "epochs": 2, **changes}), "auroc")
    return [(outcome(f), member_state(population, i)) for i, f in enumerate(fits)]


def assert_recorded_as_done(given, tapes, monkeypatch, **changes):
    """Train with every step recorded that can be, and with none; return what came of it."""
    found = trained(given, **changes)
    assert sum(t.replays for t in tapes) > 3  # or nothing was recorded at all
    with monkeypatch.context() as other:
        other.setattr(graphs, "WARM_UP", 10**9)
        wanted = trained(given, **changes)
    for (fit, state), (fit_done, state_done) in zip(found, wanted, strict=True):
        assert fit == fit_done
        assert fit["failure"] is None
        for name, value in state.items():
            assert torch.equal(value, state_done[name]), name
    return found


@pytest.mark.parametrize(("strategy", "imputer", "regularisers"), METHODS)
def test_recorded_steps_train_to_the_last_bit_as_steps_that_are_done(
    strategy, imputer, regularisers, tapes, monkeypatch
):
    assert_recorded_as_done(members(strategy, imputer, regularisers), tapes, monkeypatch)


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {"optimiser": "sgd"}),
        ({}, {"traces": True}),
        ({"precision": "bfloat16"}, {}),
        ({"apply": "update"}, {}),
    ],
)
def test_so_they_do_with_other_settings(options, changes, tapes, monkeypatch):
    assert_recorded_as_done(members("ogm_ge", **options), tapes, monkeypatch, **changes)


def test_a_model_that_has_stopped_stays_as_it_is_in_recorded_steps(tapes, monkeypatch):
    given = members("concat")
    given[1] = replace(given[1], floor=(2.0,))  # pruned after the first epoch
    found = assert_recorded_as_done(given, tapes, monkeypatch, epochs=4)
    assert [fit["epochs"] for fit, _ in found] == [4, 1, 4]
    alone = trained([given[0]], epochs=4)
    assert alone[0][0]["history"] == pytest.approx(found[0][0]["history"], abs=1e-5)


@pytest.mark.parametrize("encoder_rows", [None, 5])
def test_a_series_encoder_that_is_trained_can_be_recorded(encoder_rows, tapes, monkeypatch):
    draw = np.random.default_rng(3)
    table = make_rows()
    steps = torch.tensor(draw.normal(size=(len(table.target), 6, 5)), dtype=torch.float32)
    table = replace(
        table,
        values={**table.values, "a": steps},
        lengths={"a": torch.from_numpy(draw.integers(1, 7, len(steps)))},
        zero={**table.zero, "a": torch.zeros(6, 5)},
        zero_lengths={"a": 6},
    )

    def with_encoder(member):
        def build():
            base = member.build()
            lstm = seeded(member.seed, lambda: Lstm(InputSpec("series", (6, 5)), hidden=5, dropout=0.2))
            return FusionModel(
                {"a": lstm}, dict(base.project.items()), base.imputer, base.fusion, encoder_rows=encoder_rows
            )

        return replace(member, build=build)

    given = [with_encoder(m) for m in members("concat", table=table)]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # a tape hears one thread, and CUDA has no threads here
    # oneDNN's kernel leaves what its gradient needs only where a gradient is asked for, which a tape does not do
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        assert_recorded_as_done(given, tapes, monkeypatch)


class Growing(FusionStrategy):
    """Keeps a buffer that is longer after the first epoch."""

    def __init__(self, spec):
        super().__init__(spec)
        self.head = nn.Linear(sum(spec.dims.values()), 1)
        self.dropout = Dropout(sum(spec.dims.values()), 0.3)
        self.register_buffer("seen", torch.ones(1))

    def forward(self, batch):
        together = torch.cat([batch.completed(n) for n in batch.names], dim=1)
        return self.head(self.dropout(together)) * self.seen.mean()

    def update(self, statistics, clock):
        return {"seen": torch.arange(1.0, 2.0 + min(clock.completed, 1))}


def test_a_step_is_recorded_anew_when_a_buffer_takes_another_place(tapes, monkeypatch):
    assert_recorded_as_done(members(Growing), tapes, monkeypatch, epochs=3)
    # before the first epoch the buffer is as it was built; after it, it is longer; then it keeps its place
    assert [t.replays > 0 for t in tapes[:2]] == [True, True]
    assert [t.replays for t in tapes[:2]] == [5 - WARM_UP, 10 - WARM_UP]


class Asking(FusionStrategy):
    """Asks the device for a number in every step."""

    stackable = False

    def __init__(self, spec):
        super().__init__(spec)
        self.head = nn.Linear(sum(spec.dims.values()), 1)

    def forward(self, batch):
        together = torch.cat([batch.completed(n) for n in batch.names], dim=1)
        return self.head(together) * (2.0 if together.mean().item() > 0 else 1.0)


def test_a_step_that_waits_for_the_device_is_not_recorded(tapes):
    with pytest.raises(CaptureError, match="_local_scalar_dense"):
        trained(members(Asking))


# --------------------------------------------------------------------------------------------
# the recorder's own promises


def test_inputs_are_copied_to_one_place_and_results_lie_in_one():
    places = []

    def double(x):
        places.append(x.data_ptr())
        return x * 2

    step = RecordedStep(double, Tape)
    found = [step(torch.tensor([float(i)])) for i in range(WARM_UP)]
    assert [f.item() for f in found] == [0.0, 2.0, 4.0]
    first = step(torch.tensor([7.0]))
    assert first.item() == 14.0
    second = step(torch.tensor([8.0]))
    assert second.data_ptr() == first.data_ptr()
    assert second.item() == 16.0
    assert len(places) == WARM_UP + 1  # Python no more
    assert len(set(places)) == 1
    step.forget()
    assert step(torch.tensor([9.0])).item() == 18.0
    assert len(places) == WARM_UP + 2


def test_only_cuda_records_and_elsewhere_the_setting_changes_nothing():
    assert recorder_for(torch.device("cpu")) is None
    (found, *_), (wanted, *_) = trained(members("ogm_ge")), trained(members("ogm_ge"), graph=False)
    assert found[0] == wanted[0]
    assert all(torch.equal(value, wanted[1][name]) for name, value in found[1].items())


def _cuda_that(refuses, monkeypatch):
    @contextmanager
    def capturing(graph):
        try:
            yield
        finally:  # as the end of a capture that was broken off does
            raise RuntimeError("operation failed due to a previous error during capture")

    @contextmanager
    def on(device):
        yield

    def call():
        raise refuses

    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", capturing)
    monkeypatch.setattr(torch.cuda, "device", on)
    return call


def test_what_the_device_refuses_says_what_to_do(monkeypatch):
    call = _cuda_that(RuntimeError("operation not permitted when stream is capturing\nmore"), monkeypatch)
    with pytest.raises(
        CellError, match=r"not permitted when stream is capturing; a plugin asks .* training.graph: false"
    ):
        CudaRecorder(torch.device("cuda")).record(call)


@pytest.mark.parametrize("refuses", [torch.OutOfMemoryError("out of memory"), ValueError("a plugin's own words")])
def test_what_has_another_cause_is_raised_as_it_is(refuses, monkeypatch):
    call = _cuda_that(refuses, monkeypatch)
    with pytest.raises(type(refuses), match=str(refuses)):
        CudaRecorder(torch.device("cuda")).record(call)
