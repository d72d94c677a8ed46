"""The way the field trains: one model, a Dataset, a DataLoader, torch's own optimiser, one process for each cell.

Written as fairly as we can: values are standardised and in memory before the clock starts, batches are collated by the
default collate function in the main process (workers are slower for rows as small as these), the best epoch is kept,
validation is scored by scikit-learn. Gradients are modulated as OGM-GE's official code does it: after the backward pass,
parameter by parameter, with noise from the global generator at the spread of the gradient, and nothing outside the epochs
that modulate. The strategy's own `modulate` gives the scaled gradient; two other ways to write it took as long, within 5 %.
Left out, in favour of this loop: statistics that a strategy sums over the training rows after an epoch (with the buffers made
of them), and stages. A strategy that modulates what the optimiser does is refused.

Run as a script it is one cell: train under one missing rate, score, bootstrap with scikit-learn.
    python benchmarks/performance/naive_loop.py CELL.pt
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fusionbench.training.model import FusionModel, Learned, View


@dataclass(frozen=True)
class Rows(Dataset[dict[str, Any]]):
    """Some rows of a data set.

    Args:
        values: By modality float ``[rows, ...]``, standardised.
        present: Bool ``[rows, modalities]``.
        target: Int64 ``[rows]``.
        rows: Int64 ``[n]``: which of them.
    """

    values: Mapping[str, Tensor]
    present: Tensor
    target: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        inputs = {n: v[row] for n, v in self.values.items()}
        return {"inputs": inputs, "present": self.present[row], "target": self.target[row]}


def train_alone(
    model: FusionModel,
    train: Rows,
    validation: Rows,
    *,
    epochs: int,
    patience: int = 10**9,
    batch_size: int = 128,
    device: str = "cpu",
) -> FusionModel:
    """Train one model and return it at its best epoch.

    Raises:
        ValueError: The strategy modulates updates.
    """
    if model.modulates == "update":
        raise ValueError("naive loop: gradients can be modulated, updates cannot; set the strategy's apply to gradient")
    model.to(device)
    named = dict(model.named_parameters())
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    loader = DataLoader(train, batch_size, shuffle=True, drop_last=True)
    best, best_epoch, best_state = -1.0, 0, copy.deepcopy(model.state_dict())
    _renew(model, 0, epochs)
    for epoch in range(epochs):
        model.train()
        modulates = model.modulates is not None and bool(getattr(model.fusion, "modulating", True))
        for batch in loader:
            target = batch["target"].to(device)
            learned = model.learn(_view(model, batch, device), target)
            optimiser.zero_grad()
            learned.loss.backward()  # type: ignore[no-untyped-call]
            if modulates:
                _modulate(model, named, learned, target)
            optimiser.step()
        _renew(model, epoch + 1, epochs)
        found = roc_auc_score(validation.target[validation.rows], scores(model, validation, device))
        if found > best:
            best, best_epoch, best_state = found, epoch, copy.deepcopy(model.state_dict())
        if epoch - best_epoch >= patience:
            break
    model.load_state_dict(best_state)
    return model


def _renew(model: FusionModel, completed: int, planned: int) -> None:
    """Let a model renew its buffers after an epoch (OGM-GE: does the coming one modulate?), unless it needs statistics."""
    if not model.keeps_statistics:
        for name, value in model.updates({}, completed, planned).items():
            model.get_buffer(name).copy_(value)


@torch.no_grad()
def _modulate(model: FusionModel, named: Mapping[str, nn.Parameter], learned: Learned, target: Tensor) -> None:
    """Scale gradients as the strategy says, and add noise to those that it scaled, if it wants noise."""
    gradients = {n: p.grad for n, p in named.items() if p.grad is not None}
    scaled = model.modulate(gradients, learned.output, learned.batch, target, {})
    for name, gradient in gradients.items():
        own = scaled[name]
        if own is not gradient and model.fusion.gradient_noise:
            own = own + torch.zeros_like(gradient).normal_(0, gradient.std().item() + 1e-8)
        named[name].grad = own


def scores(model: FusionModel, rows: Rows, device: str = "cpu") -> NDArray[np.float32]:
    """Return the logit of every row, float32 ``[n]``."""
    model.eval()
    with torch.no_grad():
        parts = [model.predict(_view(model, batch, device))[:, 0].cpu() for batch in DataLoader(rows, batch_size=128)]
    logits: NDArray[np.float32] = torch.cat(parts).numpy()
    return logits


def _view(model: FusionModel, batch: dict[str, Any], device: str) -> View:
    inputs = {n: v.to(device) for n, v in batch["inputs"].items()}
    encoded = {n: model.encoder[n](v) if n in model.encoder else v for n, v in inputs.items()}
    zero = {n: v.new_zeros(v.shape[1:]) for n, v in encoded.items()} if model.uses_zero_input else {}
    present = batch["present"].to(device)
    return View(encoded, zero, present, present)


def bootstrap(target: NDArray[np.int64], values: NDArray[np.float32], resamples: int) -> dict[str, tuple[float, float]]:
    """Return percentile intervals of AUROC and average precision, one scikit-learn call for each resample."""
    draw = np.random.default_rng(0)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # resamples of one class
        for _ in range(resamples):
            rows = draw.integers(0, len(target), len(target))
            found.append(
                (roc_auc_score(target[rows], values[rows]), average_precision_score(target[rows], values[rows]))
            )
    low, high = np.nanquantile(np.array(found), [0.025, 0.975], axis=0)
    return {"auroc": (low[0], high[0]), "auprc": (low[1], high[1])}


def one_cell(path: Path) -> str:
    """Train and score what a file describes; return the seconds of its parts, as text."""
    cell = torch.load(path, weights_only=True)
    model: nn.Module = _built(cell)
    assert isinstance(model, FusionModel)
    rows = {
        name: Rows(cell["values"], cell["present"], cell["target"], cell[name])
        for name in ("train", "validation", "test")
    }
    start = time.perf_counter()
    trained = train_alone(
        model,
        rows["train"],
        rows["validation"],
        epochs=cell["epochs"],
        patience=cell["patience"],
        batch_size=cell["batch_size"],
    )
    middle = time.perf_counter()
    predicted = scores(trained, rows["test"])
    intervals = bootstrap(cell["target"][cell["test"]].numpy(), predicted, cell["resamples"])
    end = time.perf_counter()
    low, high = intervals["auroc"]
    return f"training {middle - start:.2f} s, scoring, intervals {end - middle:.2f} s, AUROC {low:.3f} to {high:.3f}"


def _built(cell: Mapping[str, Any]) -> FusionModel:
    dims = {n: v.shape[1] for n, v in cell["values"].items()}
    return build(cell["strategy"], dims, cell["width"], cell["seed"])


def build(strategy: str, dims: Mapping[str, int], width: int, seed: int, **more: Any) -> FusionModel:
    """Return a model over pooled features for a binary target; ``more``: encoders, precision, the strategy's options."""
    from importlib import import_module

    from fusionbench import FusionSpec, TargetKind
    from fusionbench.training.model import seeded
    from fusionbench_plugins.imputers.zero import Zero

    spec = FusionSpec(dict.fromkeys(dims, width), 1, TargetKind.BINARY)
    found: dict[str, Any] = {}
    module = import_module(f"fusionbench_plugins.strategies.{strategy}")
    module.register_fusion_strategies(found.__setitem__)

    def made() -> FusionModel:
        encoders = {n: e() for n, e in more.get("encoders", {}).items()}
        project = {n: nn.Linear(d, width) for n, d in dims.items()}
        fusion = found[strategy](spec, **more.get("options", {}))
        return FusionModel(encoders, project, Zero(spec), fusion, precision=more.get("precision", "float32"))

    model: FusionModel = seeded(seed, made)
    return model


if __name__ == "__main__":
    print(one_cell(Path(sys.argv[1])))
