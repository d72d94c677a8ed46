"""Tiny models of the transformers library, with a tokeniser of a few words, as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = ("lungs", "clear", "edema", "left", "right", "effusion", "no", "large", "heart", "pain")
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def write_model(folder: Path, kind: str, tokeniser: bool = True, **options: Any) -> Path:
    """Write model ``kind`` (``Bert``, ``Roberta``, ...), with random weights."""
    import transformers

    small = {"vocab_size": len(WORDS) + 5, **(SMALL if kind not in ("T5", "Bart") else {}), **options}
    config = getattr(transformers, f"{kind}Config")(**small)
    getattr(transformers, f"{kind}Model")(config).eval().save_pretrained(str(folder))
    if tokeniser:
        write_tokeniser(folder)
    return folder


def write_tokeniser(folder: Path, words: tuple[str, ...] = WORDS) -> None:
    """Write a tokeniser that knows these words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, *words])}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    made = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
    made.save_pretrained(str(folder))
