"""How fast are populations, against a naive loop and against the machine? One run, interleaved, medians and spread.

Training: a naive loop (DataLoader, one model; benchmarks/performance/naive_loop.py), our population of one,
populations of several sizes in float32, and in bfloat16 where the device has it, and as many populations as there are cores
side by side, as a run trains them; each trains and validates the same rows for the same epochs, in
rounds that go through all of them. `building` is the share of a contender's time that building its models alone takes,
measured beside it in the same rounds; it falls with the number of epochs, which is three for every case. `floor` is the
share of the machine's floor that is reached: the time that the step's matrix products alone take at the speed of one large
matrix product, measured in the same rounds; in processor time, which other programs on the machine disturb less (on CUDA
by the clock).

``--sweep``: 8 strategies x 5 rates x 3 seeds of the demo, by `fusionbench run` and in the field's way: a process for each
cell, one training for each rate, scikit-learn in the bootstrap. A sample of cells is run, as many at a time as there are
cores, and extrapolated linearly. ``--reencode``: ResNet-34 and BERT-base, at random, against the feature store.

    python benchmarks/performance/populations.py --sweep --reencode --folder /tmp/performance   # everything
    python benchmarks/performance/populations.py --quick --folder /tmp/performance              # does it run at all?
    python benchmarks/performance/populations.py --device cuda --graph --sizes 1 16 64 256 --folder /tmp/performance

``--graph``, on CUDA only: the largest population also with its step recorded and replayed (`training.graph`). Recording
comes once in a training: take more epochs or rows than the default to see what a long one gains.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from naive_loop import Rows, build, train_alone
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fusionbench import InputSpec, TargetKind
from fusionbench.config.sections import TrainingSection
from fusionbench.data.table import RowTable
from fusionbench.progress import SilentStage
from fusionbench.run.crew import workers_for
from fusionbench.run.execution import Job, train_jobs
from fusionbench.training.devices.device import find_device, freed_memory_kept, peak_memory
from fusionbench.training.devices.precision import abilities
from fusionbench.training.loop import train
from fusionbench.training.members import Member
from fusionbench.training.model import FusionModel, View
from fusionbench.training.population import Population
from fusionbench.training.prediction import assemble
from fusionbench.training.recording.recorded import Programs
from fusionbench_plugins.encoders.lstm import Lstm

HOUSE = Path(__file__).resolve().parents[1]
STEPS, CHANNELS = 24, 76  # of the papers' EHR series
PAPER = {"ehr": 256, "cxr": 512, "report": 768}  # widths of LSTM, ResNet-34 and BERT-base
DEMO = {"ehr": 380, "cxr": 48, "report": 256}
SWEEP_STRATEGIES = ("late_average", "concat", "sum", "se_gate", "ogm_ge", "pmr", "medfuse", "dwfuse")
SWEEP_RATES, SWEEP_SEEDS = (0.0, 0.2, 0.4, 0.6, 0.8), (0, 1, 2)
BATCH = 128
ON_CPU = 16  # models of a population, as a run stacks them there


@dataclass(frozen=True)
class Case:
    """One kind of input.

    Args:
        name: For the tables.
        dims: Width of each modality's encoding.
        width: Common width of the embeddings.
        series: Whether the EHR arrives as a series, for an LSTM that is trained (two layers of 256 units).
        rows: Rows; three quarters are trained on, the others validated.
        sizes: Sizes of the populations.
        study: Whether models are the trials of one study: of one seed, with a learning rate for each.
    """

    name: str
    dims: Mapping[str, int]
    width: int
    series: bool
    rows: int
    sizes: Sequence[int]
    study: bool = False

    @property
    def trained(self) -> int:
        """Rows of an epoch: whole batches of the training rows."""
        return self.rows * 3 // 4 // BATCH * BATCH

    @property
    def validated(self) -> int:
        """Rows that are scored after an epoch."""
        return self.rows - self.rows * 3 // 4

    def build(self, strategy: str, seed: int, precision: str = "float32", cell: str = "auto") -> FusionModel:
        """Return a fresh model."""
        spec = InputSpec("series", (STEPS, CHANNELS))
        encoders = {"ehr": lambda: Lstm(spec, hidden=PAPER["ehr"], layers=2, cell=cell)} if self.series else {}  # type: ignore[arg-type]
        return build(strategy, self.dims, self.width, seed, encoders=encoders, precision=precision)

    def table(self, device: torch.device) -> RowTable:
        """Return random rows that know a little about their label."""
        draw = np.random.default_rng(0)
        target = draw.integers(0, 2, self.rows)
        shapes = {n: (STEPS, CHANNELS) if self.series and n == "ehr" else (d,) for n, d in self.dims.items()}
        values = {
            n: draw.normal(size=(self.rows, *s)) + 0.1 * target.reshape(-1, *[1] * len(s)) for n, s in shapes.items()
        }
        available = draw.random((self.rows, len(self.dims))) >= 0.2
        available[:, 0] = True
        return RowTable(
            values={n: torch.tensor(v, dtype=torch.float32, device=device) for n, v in values.items()},
            lengths={},
            standardise={n: torch.ones(s[-1], dtype=torch.bool, device=device) for n, s in shapes.items()},
            zero={n: torch.zeros(s, device=device) for n, s in shapes.items()},
            zero_lengths={},
            available=torch.from_numpy(available).to(device),
            target=torch.from_numpy(target).to(device),
            kind=TargetKind.BINARY,
            num_outputs=1,
        )


@dataclass
class Contender:
    """One way to train, and what it took in each round.

    Args:
        label: For the tables.
        models: How many it trains.
        precision: Of the matrix products.
        call: Builds and trains them.
        build: Builds them alone; None: there is nothing to build.
        seconds: By the clock.
        processor: Of all threads.
        building: Seconds by the clock of ``build``.
        megabytes: Peak memory.
    """

    label: str
    models: int
    precision: str
    call: Callable[[], Any]
    build: Callable[[], Any] | None = None
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    building: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)


# --------------------------------------------------------------------------------------------
# training


def contenders(case: Case, strategy: str, epochs: int, device: torch.device, *, graph: bool = False) -> list[Contender]:
    """Return every way to train one strategy; all of them share the rows. ``graph``: also with a recorded step."""
    table = case.table(device)
    split = case.rows * 3 // 4
    rows = torch.arange(case.rows, device=device)
    settings = TrainingSection(epochs=epochs, patience=epochs + 1, batch_size=BATCH)

    def member(number: int, precision: str) -> Member:
        seed = 0 if case.study else number
        return Member(
            build=lambda: case.build(strategy, seed, precision),
            table=table,
            fold=0,
            seed=seed,
            train=rows[:split],
            validation=rows[split:],
            present=table.available,
            learning_rate=1e-3 * 1.2 ** (number if case.study else 0),
            weight_decay=0.01,
        )

    def ours(models: int, precision: str, *, graph: bool = False) -> Contender:
        members = [member(s, precision) for s in range(models)]
        own = settings.model_copy(update={"graph": graph})
        label = f"population of {models}{', recorded step' if graph else ''}"
        lists = Programs()  # kept from round to round, as a run keeps them for all populations of a signature
        call = partial(train, members, own, "auroc", None, lists)
        return Contender(label, models, precision, call, lambda: assemble(members))

    def side_by_side(models: int, workers: int) -> Contender:
        """Everything that a run does for it: fork, record, train, send back."""
        jobs = [Job(member(s, "float32"), "same", f"model {s}", s) for s in range(models)]
        own = settings.model_copy(update={"workers": workers, "population": -(-models // workers)})
        label = f"{workers} populations of {-(-models // workers)} side by side"
        call = lambda: list(train_jobs(jobs, own, "auroc", SilentStage()))  # noqa: E731
        return Contender(label, models, "float32", call, lambda: assemble([j.member for j in jobs]))

    values = {n: (v - v.mean(dim=0)) / v.std(dim=0) for n, v in ((n, v.cpu()) for n, v in table.values.items())}
    parts = [Rows(values, table.available.cpu(), table.target.cpu(), r.cpu()) for r in (rows[:split], rows[split:])]
    naive = partial(train_alone, train=parts[0], validation=parts[1], epochs=epochs, device=str(device))
    build_alone = partial(
        case.build, strategy, 0, cell="fused"
    )  # the library's kernel, as the field takes it everywhere
    largest = max(s for s in case.sizes if device.type == "cuda" or s <= ON_CPU)
    return [
        Contender("naive loop", 1, "float32", lambda: naive(build_alone()), build_alone),
        *(ours(n, "float32") for n in case.sizes),
        *([side_by_side(largest, cores)] if (cores := workers_for(device)) > 1 and largest > 1 else []),
        *([ours(largest, "bfloat16")] if abilities(device).pays else []),
        *([ours(max(case.sizes), "float32", graph=True)] if graph else []),
    ]


def rounds_of(given: Sequence[Contender], floors: Mapping[str, Contender], rounds: int, device: torch.device) -> None:
    """Measure everybody in turn, as often as there are rounds; the first epoch of each kind is not measured."""
    given[0].call()
    given[1].call()
    for _ in range(rounds):
        for contender in (*given, *floors.values()):
            measure(contender, device)


def measure(contender: Contender, device: torch.device) -> None:
    """Run a contender once, from and to a quiet device, and each with the allocator as a run of the product sets it."""
    with freed_memory_kept(device), peak_memory(device) as memory:
        seconds, processor = timed(contender.call, device)
    contender.seconds.append(seconds)
    contender.processor.append(processor)
    contender.megabytes.append(memory.megabytes)
    if contender.build is not None:
        with freed_memory_kept(device):
            contender.building.append(timed(contender.build, device)[0])


def timed(call: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Return the seconds that a call takes by the clock, and those of the processor."""
    synchronise(device)
    start, busy = time.perf_counter(), sum(os.times()[:4])  # with that of forks that have ended
    call()
    synchronise(device)
    return time.perf_counter() - start, sum(os.times()[:4]) - busy


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def floors_of(device: torch.device) -> dict[str, Contender]:
    """Return a large matrix product in each precision; its speed is the machine's roof."""
    found, size = {}, product_size(device)
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        found[name] = Contender(f"matrix product, {name}", 1, name, partial(_multiply, a, b))
    return found


def product_size(device: torch.device) -> int:
    """Rows of a product that is large for the device."""
    return 8192 if device.type == "cuda" else 1024


PRODUCTS = 20


def _multiply(a: Tensor, b: Tensor) -> None:
    for _ in range(PRODUCTS):
        torch.mm(a, b)


def operations(case: Case, strategy: str, epochs: int) -> float:
    """Return the floating-point operations of the matrix products of one model's training, validation included."""
    model = case.build(strategy, 0, cell="plain")  # the library's fused cell is not counted
    table = case.table(torch.device("cpu"))
    some = slice(0, BATCH)
    with FlopCounterMode(display=False) as forward:
        view = _encoded(model, table, some)
        loss = model.learn(view, table.target[some]).loss
    ahead = forward.get_total_flops()
    with FlopCounterMode(display=False) as backward:
        loss.backward()  # type: ignore[no-untyped-call]
    step = ahead + backward.get_total_flops()
    return float(epochs * (step * case.trained + ahead * case.validated) / BATCH)


def _encoded(model: FusionModel, table: RowTable, rows: slice) -> View:
    values = {n: v[rows] for n, v in table.values.items()}
    encoded = {n: model.encoder[n](v) if n in model.encoder else v for n, v in values.items()}
    return View(encoded, {}, table.available[rows], table.available[rows])


def lines_of(
    case: Case,
    strategy: str,
    epochs: int,
    given: Sequence[Contender],
    floors: Mapping[str, Contender],
    device: torch.device,
) -> Iterator[dict[str, Any]]:
    """Return a line of the table for each contender."""
    needed = operations(case, strategy, epochs)
    naive = given[0]
    for c in given:
        floor, took = floors[c.precision], c.processor
        at_best = min(floor.processor)
        if device.type == "cuda":  # what the processor does meanwhile says nothing
            at_best, took = min(floor.seconds), c.seconds
        roof = 2 * product_size(device) ** 3 * PRODUCTS / at_best
        rates = [epochs * case.trained * c.models / s for s in c.seconds]
        ratios = [n / s * c.models for n, s in zip(naive.seconds, c.seconds, strict=True)]  # within a round
        busy = [n / s * c.models for n, s in zip(naive.processor, c.processor, strict=True)]
        yield {
            "inputs": case.name,
            "strategy": strategy,
            "trained by": c.label,
            "precision": c.precision,
            "samples x models / s": round(median(rates)),
            "slowest": round(min(rates)),
            "fastest": round(max(rates)),
            "against naive": round(median(ratios), 2),
            "in processor time": round(median(busy), 2),
            "building": round(median(b / s for b, s in zip(c.building, c.seconds, strict=True)), 3),
            "floor": round(needed * c.models / roof / median(took), 3 if device.type == "cuda" else 2),
            "megabytes": round(max(c.megabytes)),
        }


def measure_training(options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """Measure every case and strategy."""
    found: list[dict[str, Any]] = []
    for case, strategy in itertools.product(cases(options), options.strategies):
        if case.series and strategy != options.strategies[0]:
            continue  # the encoder takes nearly all of the time
        given = contenders(case, strategy, options.epochs, device, graph=options.graph)
        floors = floors_of(device)
        rounds_of(given, floors, options.rounds, device)
        lines = list(lines_of(case, strategy, options.epochs, given, floors, device))
        print(markdown(lines), flush=True)
        found += lines
    return found


def cases(options: argparse.Namespace) -> list[Case]:
    """Return what is measured."""
    sizes, on_cuda = options.sizes, find_device(options.device).type == "cuda"
    few = [n for n in sizes if on_cuda or n <= ON_CPU]  # the LSTM's cores are busy with few models
    given = [
        Case("pooled, sizes of the papers", PAPER, 128, series=False, rows=options.rows, sizes=sizes),
        Case("pooled, sizes of the demo", DEMO, 32, series=False, rows=options.rows, sizes=sizes),
        Case(
            "trials of one study, sizes of the demo", DEMO, 32, series=False, rows=options.rows, sizes=few, study=True
        ),
        Case("EHR by LSTM", PAPER, 128, series=True, rows=options.rows // 4, sizes=few),
    ]
    return [c for c in given if c.rows >= 2 * BATCH]


# --------------------------------------------------------------------------------------------
# the whole sweep


def measure_sweep(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time the sweep both ways, in turns."""
    workspace = options.folder / "workspace"
    files = write_cells(workspace, options.cells)
    ours: list[float] = []
    theirs: list[float] = []
    for files_of_round in _shares(files, options.sweep_rounds):
        start = time.perf_counter()
        subprocess.run(sweep_command(workspace, options.device), check=True, stdout=subprocess.DEVNULL)
        middle = time.perf_counter()
        run_cells(files_of_round)
        ours.append(middle - start)
        theirs.append((time.perf_counter() - middle) / len(files_of_round))
    cells = len(SWEEP_STRATEGIES) * len(SWEEP_RATES) * len(SWEEP_SEEDS)
    whole = [t * cells for t in theirs]
    return [
        {
            "way": f"one process for each of {cells} cells (extrapolated from {len(files)})",
            **_spread(whole),
            "ratio": 1.0,
        },
        {
            "way": "fusionbench run",
            **_spread(ours),
            "ratio": round(median(t / o for t, o in zip(whole, ours, strict=True)), 1),
        },
    ]


def _shares(files: Sequence[Path], rounds: int) -> list[Sequence[Path]]:
    return [files[i::rounds] for i in range(rounds) if files[i::rounds]]


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"seconds": round(median(values), 1), "fastest": round(min(values), 1), "slowest": round(max(values), 1)}


def sweep_changes() -> list[str]:
    """Return the keys of the demo that make it the sweep."""
    return [
        "name=sweep_speed",
        f"strategies=[{', '.join(SWEEP_STRATEGIES)}]",
        "imputers=[zero]",
        "missingness.patterns=[random]",
        f"missingness.rates={list(SWEEP_RATES)}",
        f"splits.seeds={list(SWEEP_SEEDS)}",
        "splits.use=[0]",
        "tuning.trials=0",
        "evaluation.subsets=false",
    ]


def sweep_command(workspace: Path, device: str) -> list[str]:
    """Return the command that runs the sweep anew."""
    changes = [part for change in sweep_changes() for part in ("--set", change)]
    start = "from fusionbench.cli import main; main()"
    program = [sys.executable, "-c", start, "run", str(HOUSE / "mimic_ihm.yaml")]
    return [*program, "--workspace", str(workspace), "--device", device, "--fresh", "--quiet", *changes]


def write_cells(workspace: Path, count: int) -> list[Path]:
    """Prepare data and features as a run does, and write a sample of cells for the field's way."""
    from fusionbench.config.document import Places
    from fusionbench.config.reading import load_benchmark
    from fusionbench.plugins.catalogue import Plugins
    from fusionbench.plugins.resolving import resolve
    from fusionbench.progress import SilentProgress
    from fusionbench.run.runner import Run

    benchmark = load_benchmark(HOUSE / "mimic_ihm.yaml", sweep_changes(), environ={})
    resolved = resolve(benchmark, Plugins(), Places({(): "sweep"}).at)
    run = Run(benchmark, resolved, workspace, torch.device("cpu"), SilentProgress())
    run.prepare()
    fold = next(iter(run.folds.values()))
    development = fold.development
    rows = {
        "train": torch.as_tensor(development.train),
        "validation": torch.as_tensor(development.validation),
        "test": torch.as_tensor(test_rows(len(run.dataset), development.train, development.validation)),
    }
    fixed = {
        "values": _standardised(run.table, rows["train"]),
        "target": run.table.target,
        "width": benchmark.model.width,
        "epochs": benchmark.training.epochs,
        "patience": benchmark.training.patience,
        "batch_size": benchmark.training.batch_size,
        "resamples": benchmark.evaluation.resamples,
        **rows,
    }
    every = list(itertools.product(SWEEP_STRATEGIES, SWEEP_RATES, SWEEP_SEEDS))
    chosen = every[:: max(1, len(every) // count)][:count]
    return [_write_cell(workspace, i, fixed, run.table.available, *cell) for i, cell in enumerate(chosen)]


def test_rows(total: int, *others: Any) -> Any:
    """Return the rows that are in none of the others."""
    return np.setdiff1d(np.arange(total), np.concatenate(others))


def _standardised(table: RowTable, rows: Tensor) -> dict[str, Tensor]:
    found = {}
    for name, values in table.values.items():
        scaling = table.scaling(name, rows, table.available) if name in table.standardise else None
        found[name] = values if scaling is None else (values - scaling.mean) / scaling.scale
    return found


def _write_cell(
    workspace: Path, number: int, fixed: Mapping[str, Any], available: Tensor, strategy: str, rate: float, seed: int
) -> Path:
    draw = torch.Generator().manual_seed(seed)
    present = available & (torch.rand(available.shape, generator=draw) >= rate)
    path = workspace / f"cell{number}.pt"
    torch.save({**fixed, "present": present, "strategy": strategy, "seed": seed}, path)
    return path


def run_cells(files: Sequence[Path]) -> None:
    """Run cells as processes of one thread each, as many at a time as there are cores."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("naive_loop.py")

    def one(path: Path) -> str:
        command = [sys.executable, str(script), str(path)]
        return subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout.strip()

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for said in pool.map(one, files):
            print(f"cell: {said}", flush=True)


# --------------------------------------------------------------------------------------------
# encoding again


def measure_encoding(options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """Compare an epoch that encodes images and texts again with an epoch on stored features, in time per sample."""
    case = replace(cases(options)[0], sizes=[1])
    _, alone, _ = contenders(case, "concat", options.epochs, device)
    (many,) = [c for c in contenders(replace(case, sizes=[16]), "concat", options.epochs, device) if c.models == 16][:1]
    encoders = _paper_encoders(options.encoded_rows, device)
    store = Contender("gather and standardise stored features", 1, "float32", _reading(case, device))
    for _ in range(options.rounds):
        for contender in (alone, many, store, *encoders):
            measure(contender, device)
    epochs = options.epochs * case.trained
    encoding = sum(1000 * median(c.seconds) / options.encoded_rows for c in encoders)
    lines = [(c.label, 1000 * median(c.seconds) / options.encoded_rows) for c in encoders]
    lines += [(store.label, 1000 * median(store.seconds) / case.rows)]
    lines += [(f"training, {c.label}", 1000 * median(c.seconds) / epochs / c.models) for c in (alone, many)]
    return [
        {
            "per sample and model": label,
            "milliseconds": float(f"{ms:.3g}"),
            "encoding again takes": _times(encoding, ms),
        }
        for label, ms in lines
    ]


def _times(encoding: float, milliseconds: float) -> str:
    """How many times as long an epoch is that encodes again before it does this."""
    return f"{(encoding + milliseconds) / milliseconds:,.0f} x" if milliseconds < encoding / 10 else ""


def _paper_encoders(rows: int, device: torch.device) -> list[Contender]:
    from timm import create_model
    from transformers import BertConfig, BertModel

    image = create_model("resnet34", pretrained=False, num_classes=0).eval().to(device)
    text = BertModel(BertConfig()).eval().to(device)
    pictures = torch.rand(rows, 3, 224, 224, device=device)
    tokens = torch.randint(0, 30_000, (rows, 150), device=device)

    def passing(model: Any, inputs: Tensor) -> None:
        with torch.inference_mode():
            model(inputs)

    return [
        Contender("ResNet-34, 224 x 224", 1, "float32", partial(passing, image, pictures)),
        Contender("BERT-base, 150 tokens", 1, "float32", partial(passing, text, tokens)),
    ]


def _reading(case: Case, device: torch.device) -> Callable[[], Any]:
    table = case.table(device)
    rows = torch.arange(case.rows, device=device)
    population = Population([case.build("concat", 0)], table, [rows], [table.available])

    def read() -> None:
        for batch in torch.split(rows, BATCH):
            population.view(batch[None], table.available[batch][None])

    return read


# --------------------------------------------------------------------------------------------
# what is left behind


def markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return lines as a table."""
    names = list(lines[0])
    rows = [names, ["---"] * len(names), *([_text(line[n]) for n in names] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def machine(device: torch.device) -> str:
    """Say on what and beside what everything was measured."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return (
        f"device {device.type} ({name}), {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, load average {os.getloadavg()[0]:.1f}"
    )


def draw(lines: Sequence[Mapping[str, Any]], path: Path, caption: str) -> None:
    """Draw samples x models per second, a panel for each kind of input, a bar for each way to train."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(line["inputs"] for line in lines))
    figure = Figure(figsize=(4.4 * len(names), 3.4), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        own = [line for line in lines if line["inputs"] == name]
        own = [line for line in own if line["strategy"] == own[0]["strategy"]]
        labels = [f"{o['trained by']}{', bf16' if o['precision'] == 'bfloat16' else ''}" for o in own]
        colours = ["#D55E00"] + ["#0072B2" if o["precision"] == "float32" else "#009E73" for o in own[1:]]
        rates = [o["samples x models / s"] for o in own]
        reach = [
            [r - o["slowest"] for r, o in zip(rates, own, strict=True)],
            [o["fastest"] - r for r, o in zip(rates, own, strict=True)],
        ]
        axis.barh(labels, rates, color=colours, xerr=reach, error_kw={"elinewidth": 1, "capsize": 2})
        for place, line in enumerate(own):
            axis.annotate(f" {line['against naive']:g} x", (line["fastest"], place), va="center", fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.25)
        axis.locator_params(axis="x", nbins=4)
        axis.set_title(f"{name}\n({own[0]['strategy']})", fontsize=10)
        axis.set_xlabel("samples x models per second")
    figure.suptitle(caption, fontsize=8)
    figure.savefig(path, dpi=150)


def write(folder: Path, parts: Mapping[str, Sequence[Mapping[str, Any]]], caption: str) -> None:
    """Write a CSV file for each part, all tables as Markdown, and the picture."""
    for name, lines in parts.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
    text = "\n\n".join(f"## {name}\n\n{markdown(lines)}" for name, lines in parts.items())
    (folder / "performance.md").write_text(f"{caption}\n\n{text}\n", encoding="utf-8")
    if "training" in parts:
        draw(parts["training"], folder / "performance.png", caption)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where tables, picture and workspace go")
    parser.add_argument("--strategies", nargs="+", default=["concat", "se_gate", "ogm_ge", "dwfuse"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 4, 16, 64], help="of populations, 1 first")
    parser.add_argument("--rows", type=int, default=2048, help="rows; a quarter of them with the LSTM")
    parser.add_argument("--epochs", type=int, default=3, help="of every training, the LSTM's too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="as of fusionbench run")
    parser.add_argument("--graph", action="store_true", help="also with the step recorded; for --device cuda")
    parser.add_argument("--threads", type=int, help="of this process; as torch chooses by default")
    parser.add_argument("--no-training", action="store_true", help="leave the first part out")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--cells", type=int, default=8, help="of the field's sweep that are really run")
    parser.add_argument("--sweep-rounds", type=int, default=2)
    parser.add_argument("--reencode", action="store_true")
    parser.add_argument("--encoded-rows", type=int, default=32)
    parser.add_argument("--quick", action="store_true", help="the smallest numbers that run; measures nothing")
    options = parser.parse_args()
    if options.quick:
        options.strategies, options.sizes, options.rows, options.rounds = ["concat"], [1, 2], 1024, 1
        options.cells, options.sweep_rounds, options.encoded_rows = 2, 1, 2
    return options


def main() -> None:
    """Measure what is asked for and write it down."""
    options = arguments()
    device = find_device(options.device)
    if options.graph and device.type != "cuda":
        print(f"--graph is for CUDA; the device is {device.type}: leave it out or give --device cuda", file=sys.stderr)
        sys.exit(2)
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    caption = machine(device)
    print(caption, flush=True)
    parts: dict[str, list[dict[str, Any]]] = {}
    if not options.no_training:
        parts["training"] = measure_training(options, device)
    if options.reencode:
        parts["encoding"] = measure_encoding(options, device)
    if options.sweep:
        parts["sweep"] = measure_sweep(options)
    if parts:
        write(options.folder, parts, f"{caption} before, {os.getloadavg()[0]:.1f} after")
    print(f"written to {options.folder}: {', '.join(parts) or 'nothing was asked for'}")


if __name__ == "__main__":
    main()
