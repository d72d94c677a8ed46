"""Any encoder of the transformers library, pooled or as tokens; frozen or tuned.

Library: Wolf et al. 2020, Transformers (Apache-2.0). OmniFuse uses bert-base-uncased, frozen, 150 tokens, 768 wide.
Whether its 150 counts words or word pieces is not said; here it counts word pieces, the special ones included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fusionbench import InputSpec, Provenance, hookimpl
from fusionbench.errors import WeightsError
from fusionbench.hookspecs import Register
from fusionbench.keys import digest
from fusionbench.offline import disable_telemetry, from_hub
from fusionbench_plugins.encoders._pretrained import PretrainedEncoder, random_weights
from fusionbench_plugins.encoders.hashed_words import stable_hash, words

_SMALL: Mapping[str, int] = {
    "vocab_size": 8192,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 256,
}


class HfText(PretrainedEncoder):
    """Tokenise, cut to ``max_length``, and run a transformers encoder.

    Args:
        spec: A text modality.
        model: Name on the hub.
        revision: Commit, tag or branch; a commit pins weights and tokeniser. None: what the cache or the hub has.
        path: A folder with tokeniser, configuration and weights, instead of the hub.
        pretrained: False: random weights, marked in every output: of the model that ``path`` describes, else of a
            small BERT (64 wide, 2 layers) over hashed words, which needs no file at all.
        frozen: True: no gradient; runs once, through the feature store.
        max_length: Word pieces that are read, the special ones included; the rest of a text is cut off.
        pool: ``cls``: the first token's state. ``mean``: the mean over valid tokens. ``tokens``: all states.

    Raises:
        WeightsError: Weights or tokeniser are not at hand, or are incomplete.
        ValueError: An option does not fit the model.

    Shapes:
        Prepared: int64 ``[rows, max_length]`` with lengths; returns float ``[batch, output_dim]``, or for ``tokens``
        ``[batch, max_length, output_dim]`` with exact zeros after the last valid token.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"text"})
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Wolf et al. 2020, Transformers: State-of-the-Art Natural Language Processing, EMNLP (the library)",
        code="https://github.com/huggingface/transformers (Apache-2.0), used as a library",
        differs="the library's own dropout is off, also when tuned; 150 counts word pieces",
    )

    def __init__(
        self,
        spec: InputSpec,
        model: str = "bert-base-uncased",
        revision: str | None = None,
        path: str | Path | None = None,
        pretrained: bool = True,
        frozen: bool = True,
        max_length: int = 150,
        pool: Literal["cls", "mean", "tokens"] = "cls",
    ) -> None:
        super().__init__()
        if max_length < 2:
            raise ValueError(f"max_length must be at least 2, found {max_length}")
        disable_telemetry()
        self.pool = pool
        self.max_length = max_length
        self.weights = "pretrained" if pretrained else "random"
        folder = None if path is None else _folder(Path(path))
        self.tokenizer = _tokenizer(model, revision, folder) if folder or pretrained else None
        if pretrained:
            backbone = _pretrained(model, revision, folder)
        else:
            with random_weights("hf_text", model, frozen):
                backbone = _random(folder, max_length)
        longest = getattr(backbone.config, "max_position_embeddings", max_length)
        if max_length > longest > 0:
            raise ValueError(f"max_length is {max_length}, but the model reads at most {longest} word pieces")
        self.adopt(backbone, frozen)
        self.output_dim = int(backbone.config.hidden_size)

    def extra_repr(self) -> str:
        """Settings that decide the output and are not in the weights."""
        import transformers

        rules = "hashed" if self.tokenizer is None else digest(self.tokenizer.backend_tokenizer.to_str())
        settings = f"pool={self.pool}, max_length={self.max_length}, tokenizer={rules}"
        return f"{settings}, config={_config_digest(self.backbone)}, transformers={transformers.__version__}"

    def prepare(self, values: NDArray[Any] | Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Turn texts into word-piece numbers and how many of them are valid."""
        texts = [str(text) for text in values]
        if self.tokenizer is None:
            pieces = [_hashed_pieces(text, self.max_length) for text in texts]
        else:
            pieces = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"] if texts else []
        padding = 0 if self.tokenizer is None else self.tokenizer.pad_token_id
        tokens = np.full((len(texts), self.max_length), padding, dtype=np.int64)
        for row, found in zip(tokens, pieces, strict=True):
            row[: len(found)] = found
        return tokens, np.array([max(len(p), 1) for p in pieces], dtype=np.int64)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode word-piece numbers."""
        batch, steps = inputs.shape
        if lengths is None:
            lengths = torch.full((batch,), steps, device=inputs.device)
        valid = torch.arange(steps, device=inputs.device) < lengths[:, None]
        states: Tensor = self.backbone(input_ids=inputs, attention_mask=valid.long()).last_hidden_state
        if self.pool == "cls":
            return states[:, 0]
        states = torch.where(valid[..., None], states, 0)
        return states if self.pool == "tokens" else states.sum(dim=1) / lengths[:, None]


def _folder(path: Path) -> Path:
    if not (path / "config.json").is_file():
        found = "no config.json in it" if path.is_dir() else "no such folder"
        raise WeightsError(
            f"encoder 'hf_text': path '{path}': {found}; expected a folder with config.json, model.safetensors and the "
            "tokeniser's files, as save_pretrained() or 'hf download MODEL --local-dir FOLDER' writes it."
        )
    return path


def _tokenizer(model: str, revision: str | None, folder: Path | None) -> Any:
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer.from_pretrained, model, revision, folder, use_fast=True)
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise ValueError(f"model '{model}' has no fast tokeniser with a padding token; choose an encoder such as BERT")
    return tokenizer


def _pretrained(model: str, revision: str | None, folder: Path | None) -> Any:
    """The model with all of its weights; the pooler, which nothing reads, is taken out."""
    from transformers import AutoModel

    backbone, info = _load(AutoModel.from_pretrained, model, revision, folder, output_loading_info=True)
    missing = sorted(k for k in info["missing_keys"] if not k.startswith("pooler."))
    misshapen = len(info["mismatched_keys"])
    if missing or misshapen:
        raise WeightsError(
            f"encoder 'hf_text': the weights of '{folder or model}' are incomplete: {len(missing)} tensors are missing "
            f"(first: {', '.join(missing[:3]) or 'none'}) and {misshapen} have another shape. Fetch them again, or "
            "name the model that they were saved from."
        )
    return _without_pooler(backbone)


def _random(folder: Path | None, max_length: int) -> Any:
    from transformers import AutoConfig, AutoModel, BertConfig

    if folder is not None:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    else:
        config = BertConfig(**_SMALL, max_position_embeddings=max(512, max_length))
    return _without_pooler(AutoModel.from_config(config))


def _without_pooler(backbone: nn.Module) -> nn.Module:
    # in many checkpoints it is missing and would be random; it would then change the fingerprint each time
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # type: ignore[assignment]
    return backbone


def _load(load: Any, model: str, revision: str | None, folder: Path | None, **options: Any) -> Any:
    """Call one of the library's ``from_pretrained`` on the folder, or on the cache and then the hub."""
    if folder is None:
        return from_hub(
            lambda local: load(model, revision=revision, local_files_only=local, **options),
            encoder="hf_text",
            repository=model,
            revision=revision,
        )
    try:
        return load(str(folder), local_files_only=True, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:400]
        raise WeightsError(f"encoder 'hf_text': path '{folder}' cannot be loaded: {reason}") from error


def _config_digest(backbone: Any) -> str:
    """Hash of the model's configuration (layers, heads, activation), without where it was loaded from."""
    settings = {k: v for k, v in backbone.config.to_dict().items() if not k.startswith("_") and "version" not in k}
    return digest(repr(sorted(settings.items())))


def _hashed_pieces(text: str, max_length: int) -> list[int]:
    """Begin, one number for each word, end; 0 is padding."""
    first = 3
    numbers = [first + stable_hash(w) % (_SMALL["vocab_size"] - first) for w in words(text)]
    return [1, *numbers[: max_length - 2], 2]


@hookimpl
def register_encoders(register: Register) -> None:
    """Register ``hf_text``."""
    register("hf_text", HfText)
