"""Every built-in plugin takes the published exam; tests/testing proves that it can be failed."""

from __future__ import annotations

import importlib
import pkgutil

import fusionbench_plugins.encoders
import fusionbench_plugins.imputers
import fusionbench_plugins.missingness
import fusionbench_plugins.regularisers
import fusionbench_plugins.strategies
from fusionbench.testing import parametrize_with_checks
from fusionbench_plugins.tasks.planted import Planted

VARIANTS = {
    "concat": [{"head_hidden": 4}, {"mask_indicator": True}],
    "sum": [{"variant": "logit"}, {"rescale": True}],
    "late_average": [{"average": "logit"}],
    "se_gate": [{"granularity": "modality"}],
    "medfuse": [{"pretrain": False}, {"freeze_encoders": True}],
    "attention": [{"layers": 2, "heads": 2}],
    "daft": [{"activation": "sigmoid", "condition": "mean"}, {"activation": "tanh", "residual": False}],
    "lmf": [{"absent": "constant"}],
    "tmc": [{"annealing": 0.5}],
    "lstm": [{"cell": "plain", "layers": 2, "dropout": 0.5, "bidirectional": True}],
    "mlp": [{"hidden": (7,), "dropout": 0.5}],
    "mar": [{"strength": -1.0, "driver": "ehr"}],
    "mnar": [{"strength": 0.0}],
}
# in place of the default options: small models, and models with random weights, where the defaults are large ones to download
LOCAL = {
    "gradient_boosting": [{"trees": 4, "leaf_rows": 2}],  # a hundred trees for each case and check take long
    "hf_text": [{"pretrained": False, "pool": pool} for pool in ("cls", "tokens")]
    + [{"pretrained": False, "pool": "mean", "frozen": False}],
    "timm_image": [{"model": "test_resnet", "pretrained": False, "size": 32, "frozen": f} for f in (True, False)],
}
# masks that were drawn elsewhere: it has no thresholds to look at
WITHOUT_THRESHOLDS = {"stored"}


def built_ins():
    """Every class that a plugin file registers, with its default options and the variants above."""
    for package, hook in (
        (fusionbench_plugins.strategies, "register_fusion_strategies"),
        (fusionbench_plugins.imputers, "register_imputers"),
        (fusionbench_plugins.regularisers, "register_regularisers"),
        (fusionbench_plugins.encoders, "register_encoders"),
        (fusionbench_plugins.missingness, "register_missingness"),
    ):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            registered = {}
            register = getattr(importlib.import_module(info.name), hook, None)
            if register is not None:
                register(register=registered.__setitem__)
            for name, plugin in registered.items():
                chosen = LOCAL.get(name, [{}, *VARIANTS.get(name, [])])
                yield from ((plugin, options) for options in chosen if name not in WITHOUT_THRESHOLDS)


# the other tasks read files
GENERATED = [(Planted, {"problem": problem, "rows": 80}) for problem in ("xor", "noise", "lazy", "regimes")]


@parametrize_with_checks([*built_ins(), *GENERATED])
def test_built_in_plugin_conforms(subject, check):
    check(subject)
