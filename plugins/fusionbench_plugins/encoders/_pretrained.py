"""What the encoders around a model library share: frozen or tuned, always in evaluation mode; files that are no weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import torch
from torch import Tensor, nn

from fusionbench import Encoder
from fusionbench.errors import WeightsError
from fusionbench.seeding import seed_for

HUB_PREFIXES: Final = (
    "https://huggingface.co/",
    "http://huggingface.co/",
    "huggingface.co/",
    "https://hf.co/",
    "hf.co/",
    "hf-hub:",
    "hf_hub:",
    "hf://",
    "models--",
)
_POINTER = b"version https://git-lfs"
_LONGEST_POINTER = 1024
_ROUNDING = 1e-6  # of one row and of several, products of matrices are added up in another order


class PretrainedEncoder(Encoder):
    """An encoder around ``self.backbone``, which stays in evaluation mode also while it is tuned.

    Batch norm's running statistics would be state that changes behind the training loop's back, and absent inputs
    would enter them; the libraries' dropout would draw random numbers that the loop does not know.
    """

    # a stack of these would be many copies of a large network: members are trained one after the other
    stackable: bool = False
    backbone: nn.Module

    def adopt(self, backbone: nn.Module, frozen: bool) -> None:
        """Make ``backbone`` part of the encoder; ``frozen`` takes its gradients away."""
        self.frozen = frozen
        self.backbone = backbone.requires_grad_(not frozen)
        self.backbone.eval()

    def train(self, mode: bool = True) -> Self:
        """Switch the mode of everything but the backbone."""
        super().train(mode)
        self.backbone.eval()
        return self


@contextmanager
def random_weights(encoder: str, model: str, frozen: bool) -> Iterator[None]:
    """Draw initial weights inside: always the same ones when frozen, the loop's own when tuned.

    A frozen encoder is no part of a run's seed: with other weights in every run, the feature store would never hit.
    """
    if not frozen:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("random weights", encoder=encoder, model=model))
        yield


def check_name(encoder: str, model: str) -> None:
    """Refuse a name that carries the hub's address with it.

    Raises:
        ValueError: It does; the message has the name that is meant.
    """
    prefix = next((p for p in HUB_PREFIXES if model.lower().startswith(p)), "")
    if prefix:
        bare = model[len(prefix) :].strip("/").replace("--", "/" if prefix == "models--" else "--")
        bare = bare.split("/tree/")[0].split("/blob/")[0]
        bare = bare.removeprefix("timm/") if encoder == "timm_image" else bare  # the library names its own without it
        raise ValueError(
            f"{encoder} takes the name of a model without '{prefix}': write 'model: {bare}', or give a folder with 'path:'"
        )


def check_files(encoder: str, path: Path) -> None:
    """Refuse a file, or a folder with a file, that only stands for what was meant to be fetched.

    Raises:
        WeightsError: One is a Git-LFS pointer, a web page, or empty.
    """
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    found = [f"'{file.name}' {why}" for file in files if (why := _stands_for_another(file))]
    if found:
        raise WeightsError(
            f"encoder '{encoder}': {path}: {'; '.join(found)}. Fetch what is meant: 'git lfs pull' in the clone of the "
            "model, or 'hf download MODEL --local-dir FOLDER'."
        )


def _stands_for_another(file: Path) -> str:
    """Why a file cannot be what its name says; empty where it may be."""
    # texts such as added_tokens.json or a README may be short, and say something
    holds_numbers = file.suffix in (".safetensors", ".bin", ".pth", ".pt", ".tar", ".model")
    try:
        with file.open("rb") as opened:
            head = opened.read(_LONGEST_POINTER)
    except OSError as problem:
        return f"cannot be read ({problem.strerror})"
    if head.startswith(_POINTER):
        return "is a Git-LFS pointer, a few lines that stand for the file"
    if holds_numbers and not head:
        return "is empty"
    if holds_numbers and head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "is a web page"
    return ""


def same_for_all(embeddings: Tensor) -> bool:
    """Whether different inputs, ``[inputs, ...]``, have one embedding: what made them reads nothing of the inputs."""
    apart = (embeddings - embeddings[:1]).abs().max()
    return bool(torch.isfinite(embeddings).all() and apart <= _ROUNDING * embeddings.abs().max())
