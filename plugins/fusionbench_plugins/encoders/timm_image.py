"""Any image model of the timm library, pooled; frozen or tuned.

Library: Wightman, PyTorch Image Models (Apache-2.0). OmniFuse and MedFuse use a ResNet-34, 512 wide.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from pickle import UnpicklingError  # only its name, to catch what torch.load(weights_only=True) refuses
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionbench import InputSpec, Provenance, hookimpl
from fusionbench.errors import WeightsError
from fusionbench.hookspecs import Register
from fusionbench.offline import disable_telemetry, from_hub
from fusionbench_plugins.encoders._augment import MedFusePictures
from fusionbench_plugins.encoders._pretrained import (
    PretrainedEncoder,
    check_files,
    check_name,
    random_weights,
    same_for_all,
)

_FILES = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = frozenset({".safetensors", ".bin", ".pth", ".pt", ".tar"})
_DAMAGE = (RuntimeError, EOFError, OSError, AttributeError, TypeError, ValueError, KeyError, IndexError, struct.error)
_MOST_PIXELS, _MOST_CHANNELS = 4096, 256
# what timm.create_model reads itself; by name, why it is not for a benchmark file
_NOT_FOR_MODELS = {
    "features_only": "it gives a list of maps, and no embedding",
    "out_indices": "it belongs to features_only",
    "num_classes": "the classifier is taken off",
    "in_chans": "write 'channels'",
    "pretrained": "it is an option of the encoder",
    "pretrained_cfg": "write 'path' for other weights, 'mean' and 'std' for other numbers",
    "pretrained_cfg_overlay": "write 'path' for other weights, 'mean' and 'std' for other numbers",
    "pretrained_strict": "every tensor is loaded, or the weights are refused",
    "checkpoint_path": "write 'path'",
    "cache_dir": "the hub's cache is set by $HF_HUB_CACHE",
    "scriptable": "models are not compiled",
    "exportable": "models are not compiled",
    "no_jit": "models are not compiled",
}


class TimmImage(PretrainedEncoder):
    """Resize, normalise, and run a timm model without its classifier.

    Args:
        spec: An image modality, shape ``(height, width)``.
        model: Name of a timm model, with or without its weights' tag (``resnet34``, ``resnet34.tv_in1k``).
        pretrained: True: weights are needed, from ``path`` or the hub. False: random ones, marked in every output.
        path: A weights file (safetensors, or a state dict), or a folder with one.
        frozen: True: no gradient; runs once, through the feature store.
        size: Side of the square that the model reads, in pixels.
        augment: ``none``: images are resized to the square (aspect ratio is not kept). ``medfuse``, for tuned networks:
            MedFuse's transforms: shorter side to 8/7 of the size and centre crop, and in training random flip, rotation,
            scale and shift before the crop.
        mean: Subtracted from brightness in 0..1, one number for each channel. None: the model's own.
        std: Divides it. None: the model's own.
        channels: Times that the grey picture is repeated.
        model_args: Further arguments of the model, for example ``{"img_size": 384}``.
        channels_last: Memory format of a tuned convolutional network: True: channels last. None: on CUDA only; on a CPU it
            was no faster (docs/encoders.md). The numbers are the same to rounding.

    Raises:
        WeightsError: Weights are not at hand, or do not fit the model.
        ValueError: An option does not fit the model.

    Shapes:
        Reads uint8 ``[batch, height, width]``, returns float ``[batch, output_dim]``.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image"})
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Wightman 2019, PyTorch Image Models (the library)",
        code="https://github.com/huggingface/pytorch-image-models (Apache-2.0), used as a library",
        differs="batch norm keeps its running statistics and dropout is off, also when tuned",
    )
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        spec: InputSpec,
        model: str = "resnet34",
        pretrained: bool = True,
        path: str | Path | None = None,
        frozen: bool = True,
        size: int = 224,
        augment: Literal["none", "medfuse"] = "none",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channels: int = 3,
        model_args: Mapping[str, Any] | None = None,
        channels_last: bool | None = None,
    ) -> None:
        super().__init__()
        _check_augment(augment, frozen)
        _check_numbers(size, channels, std)
        _check_model_args(model_args or {})
        check_name("timm_image", model)
        if path is not None and not pretrained:
            raise ValueError("'path' names weights and 'pretrained: false' refuses them; leave one of them out")
        self.model = model
        self.size = size
        self.channels = channels
        self.channels_last = channels_last
        self.pictures = MedFusePictures(size) if augment == "medfuse" else _Resized(size)
        self.weights = "pretrained" if pretrained else "random"
        options = {"in_chans": channels, **(model_args or {})}
        config = _config(model)
        if pretrained:
            backbone = _with_weights(model, _weights_file(model, config, path), config, options)
        else:
            with random_weights("timm_image", model, frozen):
                backbone = _create(model, **options)
        backbone.reset_classifier(0)
        self.adopt(backbone, frozen)
        self.convolutional = sum(isinstance(m, nn.Conv2d) for m in backbone.modules()) > 1
        self.register_buffer("mean", _per_channel("mean", mean, config["mean"], channels))
        self.register_buffer("std", _per_channel("std", std, config["std"], channels))
        self.output_dim = self._probe()

    def extra_repr(self) -> str:
        """Settings that decide the output and are not in the weights."""
        import timm

        return f"model={self.model}, size={self.size}, channels={self.channels}, timm={timm.__version__}"

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode pictures of grey levels 0 to 255."""
        x = self.pictures(inputs[:, None].float() / 255)
        x = (x.expand(-1, self.channels, -1, -1) - self.mean) / self.std
        embedding: Tensor = self.backbone(self._laid_out(x))
        return embedding

    def _laid_out(self, x: Tensor) -> Tensor:
        wanted = x.is_cuda if self.channels_last is None else self.channels_last
        if self.frozen or not self.convolutional or not wanted:
            return x
        # every convolution brings its weights into the format of its input
        return x.contiguous(memory_format=torch.channels_last)

    def _probe(self) -> int:
        """Run two pictures: the width, and an early word about sizes that the model cannot read, and weights that see nothing."""
        met = _Pixels(self.backbone)
        pictures = torch.stack([torch.arange(64 * 64) * step % 256 for step in (1, 7)]).reshape(2, 64, 64)
        try:
            with torch.no_grad(), met:
                embeddings = self(pictures.to(torch.uint8))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"timm model '{self.model}' cannot read {self.size} x {self.size} pixels: {error}"
            ) from error
        shape = embeddings.shape
        if len(shape) != 2:
            raise ValueError(f"timm model '{self.model}' has no pooled output (shape {tuple(shape)}); choose another")
        if not torch.isfinite(embeddings).all():
            raise ValueError(
                f"timm model '{self.model}' gives NaN or infinity: are the weights, 'mean' and 'std' right?"
            )
        if same_for_all(embeddings):
            raise ValueError(
                f"timm model '{self.model}' gives two different pictures one embedding: it reads nothing of them; are the "
                "weights its own?"
            )
        if not self.frozen and met.starved:
            raise ValueError(
                f"timm model '{self.model}' cannot be tuned at {self.size} x {self.size} pixels: so little is left of them "
                f"in layer '{met.starved[0]}' that a part of its weights meets padding only; choose a larger 'size'"
            )
        return int(shape[1])


class _Pixels:
    """Inside the block: finds convolutions that read fewer pixels in a row than their stride or their padding.

    A part of their weights meets padding only and cannot learn. On a CPU its bfloat16 gradient is uninitialised memory
    (torch 2.14; found by trying strides 1 to 4 and kernels 3 to 7), which would spoil weights in silence.
    """

    def __init__(self, network: nn.Module) -> None:
        self.starved: list[str] = []
        self.watched = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.groups == 1}

    def __enter__(self) -> None:
        self.hooks = [m.register_forward_pre_hook(partial(self._look, n)) for n, m in self.watched.items()]

    def __exit__(self, *exception: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _look(self, name: str, module: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        padding = 0 if isinstance(module.padding, str) else module.padding[-1]
        if module.kernel_size[-1] > 1 and inputs[0].shape[-1] < max(module.stride[-1], padding):
            self.starved.append(name)


class _Resized(nn.Module):
    """Resize ``[batch, channels, height, width]`` to a square."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, pictures: Tensor) -> Tensor:
        square = (self.size, self.size)
        return F.interpolate(pictures, size=square, mode="bilinear", antialias=True, align_corners=False)


def _check_augment(augment: str, frozen: bool) -> None:
    if augment != "none" and frozen:
        raise ValueError(
            f"augment: {augment} changes pictures in every epoch, and a frozen encoder reads each of them once; "
            "set 'frozen: false', or leave 'augment' out"
        )


def _check_numbers(size: int, channels: int, std: Sequence[float] | None) -> None:
    for name, value, most in (("size", size, _MOST_PIXELS), ("channels", channels, _MOST_CHANNELS)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"{name} must be a whole number from 1 to {most:,}, found {value!r}")
    if std is not None and not all(number > 0 for number in std):
        raise ValueError(f"std divides brightness, so each of its numbers must be above 0, found {list(std)}")


def _check_model_args(arguments: Mapping[str, Any]) -> None:
    own = sorted(set(arguments) & _NOT_FOR_MODELS.keys())
    if own:
        reasons = "; ".join(f"'{name}': {_NOT_FOR_MODELS[name]}" for name in own)
        raise ValueError(f"model_args holds arguments of the network, and not of how it is made; leave out {reasons}")


def _config(model: str) -> dict[str, Any]:
    """What timm knows about a model's weights."""
    disable_telemetry()
    import timm

    bare = model.removeprefix("timm/")
    if bare != model and timm.is_model(bare):
        raise ValueError(f"timm has no model '{model}': write 'model: {bare}', without the hub's 'timm/'")
    if not timm.is_model(model):
        close = timm.list_models(f"*{model.split('.', maxsplit=1)[0][:6]}*")[:5]
        raise ValueError(
            f"timm has no model '{model}'; names like it: {', '.join(close) or 'none'} (timm.list_models())"
        )
    try:
        found = timm.get_pretrained_cfg(model)
    except RuntimeError as error:  # a tag that the model does not have
        raise ValueError(f"timm model '{model}': {error}") from error
    return found.to_dict() if found else {"mean": (0.5,), "std": (0.5,)}


def _create(model: str, **options: Any) -> Any:
    import timm

    try:
        return timm.create_model(model, **options)
    except (TypeError, AssertionError, AttributeError, IndexError) as error:
        raise ValueError(f"timm model '{model}' does not take these options: {error}") from error


def _weights_file(model: str, config: Mapping[str, Any], path: str | Path | None) -> Path:
    if path is not None:
        return _local_file(Path(path))
    repository = config.get("hf_hub_id")
    if not repository:
        raise WeightsError(
            f"encoder 'timm_image': timm knows no weights on the hub for '{model}'. Give 'path:' with a weights file, "
            "choose a tag that has some (timm.list_pretrained()), or set 'pretrained: false' to accept random weights."
        )
    from huggingface_hub import hf_hub_download

    name = config.get("hf_hub_filename") or _FILES[0]
    return from_hub(
        lambda local: Path(hf_hub_download(repository, name, local_files_only=local)),
        encoder="timm_image",
        repository=repository,
    )


def _local_file(path: Path) -> Path:
    """The weights file that ``path`` is, or holds."""
    if path.exists():
        check_files("timm_image", path)
    if path.is_file():
        return path
    known = [path / name for name in _FILES if (path / name).is_file()]
    others = sorted(p for p in path.glob("*") if p.suffix in _SUFFIXES) if path.is_dir() else []
    if known or len(others) == 1:
        return (known or others)[0]
    found = f"{len(others)} files that may hold weights" if path.is_dir() else "no such file or folder"
    raise WeightsError(
        f"encoder 'timm_image': path '{path}': found {found}; expected a .safetensors file, a state dict (.pth, .pt, "
        f".bin), or a folder with '{_FILES[0]}' or a single such file."
    )


def _with_weights(model: str, file: Path, config: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Build the model and load every one of its tensors from ``file``; nothing stays random."""
    state = _read(file)
    classifier = config.get("classifier") or "head"
    head = state.get(f"{classifier if isinstance(classifier, str) else classifier[0]}.weight")
    classes = 0 if head is None else len(head)  # timm checks names strictly only when the classifier fits
    overlay = {"state_dict": state, "num_classes": classes, "custom_load": False}
    try:
        return _create(model, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay, **options)
    except (RuntimeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:400]
        raise WeightsError(
            f"encoder 'timm_image': '{file.name}' does not hold the weights of timm model '{model}': {reason}. "
            "Name the model that the file was saved from, with timm's names of its layers."
        ) from error


def _read(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from timm.models import load_state_dict

    try:
        state: dict[str, Tensor] = load_state_dict(str(file), weights_only=True)
    except (SafetensorError, UnpicklingError, *_DAMAGE) as error:
        raise WeightsError(
            f"encoder 'timm_image': '{file.name}' cannot be read as weights ({type(error).__name__}); expected a "
            ".safetensors file, or a file of tensors only that torch.load(weights_only=True) accepts."
        ) from error
    return state


def _per_channel(name: str, given: Sequence[float] | None, own: Sequence[float], channels: int) -> Tensor:
    """Normalisation numbers as ``[channels, 1, 1]``; the model's own are averaged where they do not fit."""
    numbers = list(given) if given is not None else list(own)
    if given is None and len(numbers) != channels:
        numbers = [sum(numbers) / len(numbers)] * channels
    if len(numbers) != channels:
        raise ValueError(f"{name} needs one number for each of {channels} channels, found {len(numbers)}")
    return torch.tensor(numbers).reshape(-1, 1, 1)


@hookimpl
def register_encoders(register: Register) -> None:
    """Register ``timm_image``."""
    register("timm_image", TimmImage)
