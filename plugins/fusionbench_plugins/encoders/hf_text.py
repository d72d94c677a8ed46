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
from fusionbench_plugins.encoders._pretrained import (
    PretrainedEncoder,
    check_files,
    check_name,
    random_weights,
    same_for_all,
)
from fusionbench_plugins.encoders._windows import Windows, mean_over, windows_of, wrong_lengths
from fusionbench_plugins.encoders.hashed_words import stable_hash, words

_SMALL: Mapping[str, int] = {
    "vocab_size": 8192,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 256,
}
_HASHED_AROUND = ([1], [2])  # what stands around hashed words
_LOST_POSITIONS = 16
_FEWEST_WORDS = 3
_MOST_UNKNOWN = 0.95
# what networks raise for inputs that they were not made for
_REFUSALS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


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
        window: With ``pool: mean``: read long texts in windows of so many word pieces, the special ones included; ``max_length``
            then limits the whole text, and may be more than the model reads at once. The mean is over all word pieces of a text,
            each counted once: one that lies in two windows counts half in each, special ones are counted once in all. A text
            that fits into one window has the mean that it has without. None: no windows.
        stride: How many word pieces further the next window begins; None: half a window.

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
        window: int | None = None,
        stride: int | None = None,
    ) -> None:
        super().__init__()
        problems = list(wrong_lengths(max_length, pool, window, stride))
        if problems:
            raise ValueError("\n".join(problems))
        disable_telemetry()
        check_name("hf_text", model)
        self.pool = pool
        self.max_length = max_length
        self.reads_at_once = max_length if window is None else window
        self.windows: Windows | None = None
        self.weights = "pretrained" if pretrained else "random"
        folder = None if path is None else _folder(Path(path))
        if folder or pretrained:
            _check_config(_load("AutoConfig", model, revision, folder), str(folder or model))
        self.tokenizer = _tokenizer(model, revision, folder) if folder or pretrained else None
        if pretrained:
            backbone = _pretrained(model, revision, folder)
        else:
            with random_weights("hf_text", model, frozen):
                backbone = _random(folder, self.reads_at_once)
        _check_vocabulary(self.tokenizer, backbone, str(folder or model))
        self.adopt(backbone, frozen)
        self.output_dim = self._probe(str(folder or model))
        if window is not None:
            self.windows = self._windows(window, window // 2 if stride is None else stride)

    def extra_repr(self) -> str:
        """Settings that decide the output and are not in the weights."""
        import transformers

        rules = "hashed" if self.tokenizer is None else digest(self.tokenizer.backend_tokenizer.to_str())
        settings = f"pool={self.pool}, max_length={self.max_length}, tokenizer={rules}"
        if self.windows is not None:
            settings += f", window={self.windows.width}, stride={self.windows.stride}"
        return f"{settings}, config={_config_digest(self.backbone)}, transformers={transformers.__version__}"

    def prepare(self, values: NDArray[Any] | Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Turn texts into word-piece numbers and how many of them are valid."""
        texts = [str(text) for text in values]
        if self.tokenizer is None:
            pieces = [_hashed_pieces(text, self.max_length) for text in texts]
        else:
            pieces = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"] if texts else []
            _check_known(self.tokenizer, pieces)
        padding = 0 if self.tokenizer is None else self.tokenizer.pad_token_id
        tokens = np.full((len(texts), self.max_length), padding, dtype=np.int64)
        for row, found in zip(tokens, pieces, strict=True):
            row[: len(found)] = found
        return tokens, np.array([max(len(p), 1) for p in pieces], dtype=np.int64)

    def remarks(self, values: NDArray[Any] | Sequence[str]) -> list[str]:
        """Say how many texts are cut at ``max_length``, and by how much."""
        lengths = self._pieces([str(text) for text in values if str(text)])
        lost = [1 - self.max_length / n for n in lengths if n > self.max_length]
        if not lost:
            return []
        more = "" if self.windows is not None else "; pool: mean with window and stride reads longer ones"
        half, most = (f"{100 * share:.0f} %" for share in (float(np.median(lost)), max(lost)))
        said = (
            f"{len(lost):,} of {len(lengths):,} texts are longer than max_length ({self.max_length:,} word pieces) and are cut: "
            f"half of these lose {half} or more of their word pieces, the longest {most}{more}"
        )
        return [said]

    def _pieces(self, texts: list[str]) -> list[int]:
        """Word pieces of each whole text, the special ones included."""
        if self.tokenizer is None:
            return [len(words(text)) + 2 for text in texts]
        return [len(found) for found in self.tokenizer(texts, verbose=False)["input_ids"]] if texts else []

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode word-piece numbers."""
        batch, steps = inputs.shape
        if lengths is None:
            lengths = torch.full((batch,), steps, device=inputs.device)
        if self.windows is not None and int(lengths.max()) > self.windows.width:
            return mean_over(self.windows, inputs, lengths, self._states)
        if self.windows is not None:
            inputs, steps = inputs[:, : self.windows.width], min(steps, self.windows.width)
        valid = torch.arange(steps, device=inputs.device) < lengths[:, None]
        states = self._states(inputs, valid)
        if self.pool == "cls":
            return states[:, 0]
        states = torch.where(valid[..., None], states, 0)
        return states if self.pool == "tokens" else states.sum(dim=1) / lengths[:, None]

    def _states(self, inputs: Tensor, valid: Tensor) -> Tensor:
        states: Tensor = self.backbone(input_ids=inputs, attention_mask=valid.long()).last_hidden_state
        return states

    def _windows(self, width: int, stride: int) -> Windows:
        if self.tokenizer is None:
            return windows_of(width, stride, _HASHED_AROUND, 0)
        return windows_of(width, stride, _around(self.tokenizer), int(self.tokenizer.pad_token_id))

    def _probe(self, model: str) -> int:
        """Read two different texts: the width, and an early word where they cannot be told apart, or are too long."""
        tokens, lengths = self.prepare(self._probe_texts())
        try:
            embeddings = self._embedded(tokens[:, : lengths.max()], lengths)
        except _REFUSALS as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"model '{model}' cannot read texts: {type(error).__name__}: {reason}") from error
        if not torch.isfinite(embeddings).all():
            raise WeightsError(f"encoder 'hf_text': the weights of '{model}' give NaN or infinity; fetch them again.")
        if same_for_all(embeddings):
            raise ValueError(_nothing_read(model, self.pool))
        self._check_longest(tokens)
        return int(embeddings.shape[-1])

    def _check_longest(self, tokens: NDArray[Any]) -> None:
        """Refuse a length that the model has no positions for."""
        longest = getattr(self.backbone.config, "max_position_embeddings", None) or 0
        # some lose a few of theirs: RoBERTa has 514, and reads 512 word pieces
        asked = self.reads_at_once
        if asked <= longest - _LOST_POSITIONS or longest <= 0:
            return
        if asked > longest or not self._reads(asked, tokens):
            readable = next((n for n in range(min(asked - 1, longest), 1, -1) if self._reads(n, tokens)), 0)
            name = "max_length" if asked == self.max_length else "window"
            raise ValueError(f"{name} is {asked}, but the model reads at most {readable} word pieces")

    def _embedded(self, tokens: NDArray[Any], lengths: NDArray[np.int64]) -> Tensor:
        with torch.no_grad():
            embeddings: Tensor = self(torch.from_numpy(tokens), torch.from_numpy(lengths))
        return embeddings

    def _reads(self, length: int, tokens: NDArray[Any]) -> bool:
        """Whether a text of so many word pieces can be read."""
        row = np.full((1, length), tokens[0, 1], dtype=np.int64)  # the first is the same for every text in many models
        try:
            self._embedded(row, np.array([length]))
        except _REFUSALS:
            return False
        return True

    def _probe_texts(self) -> list[str]:
        """Two texts of words that the tokeniser knows; they begin alike, and differ in the second word."""
        known = ["a", "b", "c"] if self.tokenizer is None else _known_words(self.tokenizer)
        return [f"{known[0]} {word} {word}" for word in known[1:3]]


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special pieces before and after every text."""
    word = _known_words(tokenizer)[0]
    bare = list(tokenizer(word, add_special_tokens=False)["input_ids"])
    whole = list(tokenizer(word)["input_ids"])
    start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]


def _folder(path: Path) -> Path:
    if not (path / "config.json").is_file():
        found = "no config.json in it" if path.is_dir() else "no such folder"
        raise WeightsError(
            f"encoder 'hf_text': path '{path}': {found}; expected a folder with config.json, model.safetensors and the "
            "tokeniser's files, as save_pretrained() or 'hf download MODEL --local-dir FOLDER' writes it."
        )
    check_files("hf_text", path)
    return path


def _check_config(config: Any, model: str) -> None:
    """Refuse models that are no encoders of texts, before their weights are read."""
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(
            f"model '{model}' is an encoder-decoder model ({config.model_type}), which has no one state for a text; choose an "
            "encoder such as BERT or RoBERTa"
        )


def _tokenizer(model: str, revision: str | None, folder: Path | None) -> Any:
    tokenizer = _load("AutoTokenizer", model, revision, folder, use_fast=True)
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise ValueError(f"model '{model}' has no fast tokeniser with a padding token; choose an encoder such as BERT")
    return tokenizer


def _with_words(tokenizer: Any) -> Any:
    """Return a tokeniser that knows some words; without its files, the library makes one that knows none.

    Raises:
        OSError: It knows none.
    """
    special = set(tokenizer.all_special_ids)
    if sum(number not in special for number in tokenizer.get_vocab().values()) < _FEWEST_WORDS:
        raise OSError(
            "the tokeniser's files are not there: every word would be unknown. Beside config.json and the weights there must be "
            "tokenizer.json, or what its kind has (vocab.txt, vocab.json with merges.txt, spiece.model)"
        )
    return tokenizer


def _known_words(tokenizer: Any) -> list[str]:
    """Return some words that the tokeniser reads as itself, and not as unknown ones.

    Raises:
        WeightsError: There are not even three.
    """
    special, vocabulary = set(tokenizer.all_special_ids), sorted(tokenizer.get_vocab().values())
    ordinary = [number for number in vocabulary if number not in special]
    seen: dict[tuple[int, ...], str] = {}
    for number in [*ordinary[len(ordinary) // 2 :], *ordinary]:  # the first are letters and bytes in many
        word = tokenizer.decode([number]).strip()
        pieces = tuple(tokenizer(word, add_special_tokens=False)["input_ids"]) if word.isalnum() else ()
        if pieces and not special & set(pieces):
            seen.setdefault(pieces, word)
        if len(seen) == _FEWEST_WORDS:
            return list(seen.values())
    raise WeightsError(
        f"encoder 'hf_text': the tokeniser knows {len(seen)} words of its own {len(ordinary):,}: it is not the one of this "
        "model; fetch model and tokeniser again"
    )


def _check_known(tokenizer: Any, pieces: Sequence[Sequence[int]]) -> None:
    """Refuse texts of which the tokeniser knows nothing: all that is left of them is how long they are."""
    if tokenizer.unk_token_id is None:
        return
    around = tokenizer("")["input_ids"]  # not all of them are declared as special
    read = sum(len(found) - len(around) for found in pieces)
    unknown = sum(found.count(tokenizer.unk_token_id) for found in pieces)
    if unknown > _MOST_UNKNOWN * read:
        raise WeightsError(
            f"encoder 'hf_text': {unknown:,} of the {read:,} word pieces of the texts are unknown to the tokeniser, so nearly "
            "nothing of them would be read. Are the tokeniser's files those of this model, and does the model know the "
            "language and the script of the texts?"
        )


def _check_vocabulary(tokenizer: Any, backbone: Any, model: str) -> None:
    """Refuse a tokeniser with more word pieces than the model has embeddings for."""
    if tokenizer is None:
        return
    try:
        known = backbone.get_input_embeddings().num_embeddings
    except (AttributeError, NotImplementedError):
        return  # the probe says whether it reads texts
    most = max(tokenizer.get_vocab().values()) + 1
    if most > known:
        raise WeightsError(
            f"encoder 'hf_text': the tokeniser of '{model}' has {most:,} word pieces and the model embeddings for {known:,}: "
            "they do not belong together. Fetch both again, from one model."
        )


def _nothing_read(model: str, pool: str) -> str:
    said = f"model '{model}': two different texts have one embedding under 'pool: {pool}'. "
    if pool != "cls":
        return f"{said}It reads nothing of them; are the weights its own?"
    return (
        f"{said}That is the state of the first word piece, and a model that reads from left to right (a decoder such as GPT-2) "
        "has seen nothing else by then; choose 'pool: mean', or an encoder such as BERT"
    )


def _pretrained(model: str, revision: str | None, folder: Path | None) -> Any:
    """The model with all of its weights; the pooler, which nothing reads, is taken out."""
    backbone, info = _load("AutoModel", model, revision, folder, output_loading_info=True)
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
    from transformers import AutoModel, BertConfig

    if folder is not None:
        config = _load("AutoConfig", "", None, folder)
    else:
        config = BertConfig(**_SMALL, max_position_embeddings=max(512, max_length))
    return _without_pooler(AutoModel.from_config(config, trust_remote_code=False))


def _without_pooler(backbone: nn.Module) -> nn.Module:
    # in many checkpoints it is missing and would be random; it would then change the fingerprint each time
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # type: ignore[assignment]
    return backbone


def _load(kind: str, model: str, revision: str | None, folder: Path | None, **options: Any) -> Any:
    """Call ``from_pretrained`` of one of the library's classes on the folder, or on the cache and then the hub.

    Code that lies beside the weights is never run: on a terminal, the library would ask whether it may.
    """
    import transformers

    def load(name: str, **more: Any) -> Any:
        try:
            found = getattr(transformers, kind).from_pretrained(name, trust_remote_code=False, **options, **more)
        except (ValueError, OSError) as error:
            if "trust_remote_code" not in str(error):
                raise
            raise WeightsError(
                f"encoder 'hf_text': model '{folder or model}' comes with code of its own, which is not run; choose a model that "
                "the transformers library knows by itself"
            ) from error
        return _with_words(found) if kind == "AutoTokenizer" else found

    if folder is None:
        return from_hub(
            lambda local: load(model, revision=revision, local_files_only=local),
            encoder="hf_text",
            repository=model,
            revision=revision,
        )
    try:
        return load(str(folder), local_files_only=True)
    except WeightsError:
        raise
    except (
        Exception
    ) as error:  # what the library raises for damaged files is its own affair, and differs between versions
        reason = " ".join(str(error).split())[:400]
        raise WeightsError(
            f"encoder 'hf_text': path '{folder}' cannot be loaded: {type(error).__name__}: {reason}"
        ) from error


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
