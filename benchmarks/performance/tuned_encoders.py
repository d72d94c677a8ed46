"""How many images a second does MedFuse train on, both encoders tuned? One run, interleaved, medians and spread.

MedFuse's model without its first stage: an LSTM (2 x 256 units) over 48 steps of 76 channels and a tuned ResNet-34 at the
size of ``--pixels``, projected to 256, read by the fusion LSTM. Rows are random. Precision, channels-last, augmentation and
encoder_rows are switched one at a time and all together. Images a second count training rows of the epochs after the
first, validation (one batch) included in the time; megabytes are the peak of training above what the rows and the libraries
take. Every measurement has a process of its own, or memory that another one left would be counted. Weights are random unless
``--weights`` names a file: they change no time.

    python benchmarks/performance/tuned_encoders.py --model resnet18 --pixels 64 --batch 64 --folder /tmp/tuned
    python benchmarks/performance/tuned_encoders.py --device cuda --pixels 224 --rows 2048 --batch 128 --folder /tmp/tuned
    python benchmarks/performance/tuned_encoders.py --quick --folder /tmp/tuned   # does it run at all?
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Literal

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from populations import machine, markdown
from torch import nn

from fusionbench import FusionSpec, InputSpec, TargetKind
from fusionbench.config.sections import TrainingSection
from fusionbench.data.table import RowTable
from fusionbench.training.devices.device import find_device, peak_memory
from fusionbench.training.loop import train
from fusionbench.training.members import Member
from fusionbench.training.model import FusionModel, seeded
from fusionbench_plugins.encoders.lstm import Lstm
from fusionbench_plugins.encoders.timm_image import TimmImage
from fusionbench_plugins.imputers.zero import Zero
from fusionbench_plugins.strategies.medfuse import MedFuse

STEPS, CHANNELS, WIDTH = 48, 76, 256  # MedFuse's series of one-hour steps, and its width


@dataclass
class Variant:
    """One way to train, and what it took in each round.

    Args:
        precision: Of matrix products.
        channels_last: Memory format of the image network.
        augment: Of the pictures.
        encoder_rows: Rows that an encoder reads at once; None: the batch.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    augment: Literal["none", "medfuse"] = "none"
    encoder_rows: int | None = None
    rates: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        """Return its line of the table."""
        return {
            "precision": self.precision,
            "channels last": "yes" if self.channels_last else "no",
            "augment": self.augment,
            "encoder_rows": "null" if self.encoder_rows is None else self.encoder_rows,
            "images / s": round(median(self.rates), 1),
            "slowest": round(min(self.rates), 1),
            "fastest": round(max(self.rates), 1),
            "megabytes": round(max(self.megabytes)),
        }


def variants(chunk: int) -> list[Variant]:
    """Return plain training in each precision, each switch alone, and all of them."""
    found = []
    for precision in ("float32", "bfloat16"):
        made = partial(Variant, precision)
        found += [made(), made(channels_last=True), made(augment="medfuse"), made(encoder_rows=chunk)]
        found += [made(channels_last=True, augment="medfuse", encoder_rows=chunk)]
    return found


def build(variant: Variant, options: argparse.Namespace) -> FusionModel:
    """Return MedFuse with encoders as a variant wants them."""
    spec = FusionSpec({"ehr": WIDTH, "cxr": WIDTH}, 1, TargetKind.BINARY)
    image = TimmImage(
        InputSpec("image", (options.stored, options.stored)),
        model=options.model,
        pretrained=options.weights is not None,
        path=options.weights,
        frozen=False,
        size=options.pixels,
        augment=variant.augment,
        channels_last=variant.channels_last,
    )
    series = Lstm(InputSpec("series", (STEPS, CHANNELS)), hidden=256, layers=2, dropout=0.3)
    return FusionModel(
        {"ehr": series, "cxr": image},
        {"ehr": nn.Linear(256, WIDTH), "cxr": nn.Linear(image.output_dim, WIDTH)},
        Zero(spec),
        MedFuse(spec, pretrain=False),
        precision=variant.precision,
        encoder_rows=variant.encoder_rows,
    )


def random_rows(options: argparse.Namespace, device: torch.device) -> RowTable:
    """Return training rows and one batch more, for validation."""
    draw, rows = torch.Generator().manual_seed(0), options.rows + options.batch
    shape = (options.stored, options.stored)
    series = torch.randn(rows, STEPS, CHANNELS, generator=draw)
    pictures = torch.randint(0, 256, (rows, *shape), dtype=torch.uint8, generator=draw)
    return RowTable(
        values={"ehr": series.to(device), "cxr": pictures.to(device)},
        lengths={},
        standardise={},
        zero={},  # nobody reads the embedding of a zero input,
        zero_lengths={},
        available=torch.ones(rows, 2, dtype=torch.bool, device=device),
        target=(torch.arange(rows) % 2).to(device),
        kind=TargetKind.BINARY,
        num_outputs=1,
    )


def measure(variant: Variant, options: argparse.Namespace) -> tuple[float, float]:
    """Train once, and return images a second and megabytes; the first epoch, with all that is done once, is not timed."""
    if options.threads:
        torch.set_num_threads(options.threads)
    table = random_rows(options, find_device(options.device))
    rows = torch.arange(len(table.target), device=table.device)
    member = Member(
        build=lambda: seeded(0, lambda: build(variant, options)),
        table=table,
        fold=0,
        seed=0,
        train=rows[: options.rows],
        validation=rows[options.rows :],
        present=table.available,
        learning_rate=1e-4,
        weight_decay=0.0,
    )
    settings = TrainingSection(epochs=options.epochs + 1, patience=options.epochs + 1, batch_size=options.batch)
    ends: list[float] = []
    with peak_memory(table.device) as before:
        pass
    with peak_memory(table.device) as peak:
        train([member], settings, "auroc", lambda _: ends.append(time.perf_counter()))
    images = options.rows // options.batch * options.batch * options.epochs
    return images / (ends[-1] - ends[0]), peak.megabytes - before.megabytes


def write(folder: Path, lines: Sequence[dict[str, Any]], caption: str) -> None:
    """Write the table, for people and for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tuned_encoders.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    (folder / "tuned_encoders.md").write_text(f"{caption}\n\n{markdown(lines)}\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the table goes")
    parser.add_argument("--device", default="cpu", help="as of fusionbench run")
    parser.add_argument("--model", default="resnet34", help="a timm model")
    parser.add_argument("--weights", type=Path, help="its weights; random ones without")
    parser.add_argument("--pixels", type=int, default=224, help="side of the square that the network reads")
    parser.add_argument("--rows", type=int, default=128, help="training rows")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--chunk", type=int, help="encoder_rows; a quarter of the batch by default")
    parser.add_argument("--epochs", type=int, default=1, help="that are measured, after one that is not")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of a measurement; as torch chooses by default")
    parser.add_argument("--quick", action="store_true", help="the smallest numbers that run; measures nothing")
    options = parser.parse_args()
    if options.quick:
        options.model, options.pixels, options.rows, options.batch, options.rounds = "test_resnet", 32, 8, 4, 1
    options.chunk = options.chunk or max(1, options.batch // 4)
    options.stored = round(options.pixels * 8 / 7)  # 256 for 224
    return options


def main() -> None:
    """Measure every variant in turn, as often as there are rounds."""
    options = arguments()
    device = find_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)  # for the caption; each measurement sets its own
    size = f"{options.model} at {options.pixels} pixels, {options.rows} rows, batch {options.batch}"
    caption = f"{machine(device)}; {size}"
    print(caption, flush=True)
    measured = variants(options.chunk)
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
        for number in range(options.rounds):
            for variant in measured:
                rate, megabytes = alone.submit(measure, variant, options).result()
                variant.rates.append(rate)
                variant.megabytes.append(megabytes)
                print(f"round {number + 1}: {variant.line()}", flush=True)
    write(options.folder, [v.line() for v in measured], f"{caption}; {os.getloadavg()[0]:.1f} after")
    print((options.folder / "tuned_encoders.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
