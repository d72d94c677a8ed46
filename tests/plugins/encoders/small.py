"""Small encoders, and what they read."""

from __future__ import annotations

import numpy as np
import torch

from fusionbench import InputSpec
from fusionbench_plugins.encoders.hashed_words import HashedWords
from fusionbench_plugins.encoders.hf_text import HfText
from fusionbench_plugins.encoders.identity import Identity
from fusionbench_plugins.encoders.image_grid import ImageGrid
from fusionbench_plugins.encoders.lstm import Lstm
from fusionbench_plugins.encoders.mlp import Mlp
from fusionbench_plugins.encoders.series_summary import SeriesSummary
from fusionbench_plugins.encoders.timm_image import TimmImage

SERIES = InputSpec("series", (6, 3))
IMAGE = InputSpec("image", (20, 24))
TEXT = InputSpec("text")
VECTOR = InputSpec("vector", (5,))
TEXTS = ["No acute findings.", "Large right effusion, edema", "", "clear lungs " * 40]


def images(rows=3):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (rows, 20, 24), dtype=np.uint8))


def bert(folder, **options):
    return HfText(TEXT, path=folder, max_length=32, **options)


def resnet(folder, **options):
    return TimmImage(IMAGE, model="test_resnet", path=folder, size=32, **options)


def small_encoders():
    return {
        "lstm": (Lstm(SERIES, hidden=4), torch.randn(3, 6, 3)),
        "series_summary": (SeriesSummary(SERIES), torch.randn(3, 6, 3)),
        "image_grid": (ImageGrid(IMAGE), images()),
        "hashed_words": (HashedWords(TEXT, width=16), torch.from_numpy(HashedWords(TEXT, width=16).prepare(TEXTS)[0])),
        "mlp": (Mlp(VECTOR, hidden=(7,), output_dim=2, dropout=0.5), torch.randn(3, 5)),
        "identity": (Identity(VECTOR), torch.randn(3, 5)),
        "hf_text": (HfText(TEXT, pretrained=False), torch.from_numpy(HfText(TEXT, pretrained=False).prepare(TEXTS)[0])),
        "timm_image": (TimmImage(IMAGE, model="test_resnet", pretrained=False, size=32), images()),
    }
