"""The DrFuse example against the parity file of its shared part. The distribution is not installed: it is read by path."""

from __future__ import annotations

import pytest
import torch

from fusionbench.plugins.catalogue import Plugins
from tests.parity import close, parity
from tests.test_example_plugins import ROOT

DRFUSE = ROOT / "plugins" / "fusionbench-drfuse" / "fusionbench_drfuse.py"


def drfuse():
    """The module, loaded as ``-p`` loads it."""
    import sys

    plugins = Plugins([str(DRFUSE)])
    return sys.modules[plugins.get("strategies", "drfuse").target.__module__]


def shared_parts(oracle):
    parts = torch.tensor([oracle["inputs"]["h0"], oracle["inputs"]["h1"]], dtype=torch.float64)
    second = torch.tensor(oracle["inputs"]["second_present"]).bool()
    return parts, torch.stack([torch.ones_like(second), second])


def test_the_shared_part_equals_the_official_mean_and_the_single_part_where_it_is_alone():
    oracle = parity("drfuse_shared")
    parts, usable = shared_parts(oracle)
    close(drfuse().shared_mean(parts, torch.ones_like(usable)), oracle["shared_mean"])
    close(drfuse().shared_mean(parts, usable), oracle["shared_final"])


def test_the_divergence_equals_the_official_one_over_rows_that_have_both():
    oracle = parity("drfuse_shared")
    parts, usable = shared_parts(oracle)
    close(drfuse().divergence(parts, usable, one_sided=True), oracle["jsd_masked"])
    everybody, paired = torch.ones_like(usable), usable.all(dim=0).sum()
    unmasked = drfuse().divergence(parts, everybody, one_sided=True) * len(usable[0]) / paired
    close(unmasked, oracle["jsd_official_unmasked_sum_over_paired_count"])


def test_the_default_counts_both_states_of_the_bernoulli_variables():
    oracle = parity("drfuse_shared")
    parts, usable = shared_parts(oracle)
    mirrored = drfuse().divergence(-parts, usable, one_sided=True)
    assert mirrored.item() != pytest.approx(oracle["jsd_masked"])
    close(drfuse().divergence(parts, usable), drfuse().divergence(parts, usable, one_sided=True) + mirrored)
