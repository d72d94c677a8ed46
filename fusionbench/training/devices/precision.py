"""What the device in use can do in half precision: the one place that knows.

Asked of the hardware and tried, not looked up in a list of machines: a kernel that a library lacks shows when it is called.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map

from fusionbench.plan.arithmetic import Abilities

RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)
_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # of x86, of x86, of ARM, as Linux calls them
_HOLDING = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # what holds oneDNN back
# what it may be held to, from the first that knows bfloat16 on
_WITH_BFLOAT16 = ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX10", "DEFAULT", "ALL")


def abilities(device: torch.device) -> Abilities:
    """Return what a device can do; looked at once for each device."""
    if str(device) == "cuda":  # the one in use, which its tensors name with a number
        device = torch.device("cuda", torch.cuda.current_device())
    return _abilities(str(device))


@cache
def _abilities(name: str) -> Abilities:
    # in a thread of its own: what is tried must not be seen by whoever records, vectorises or recomputes around the caller
    with ThreadPoolExecutor(1, "fusionbench") as thread:
        return thread.submit(_looked_at, torch.device(name)).result()


def _looked_at(device: torch.device) -> Abilities:
    if device.type == "cpu":
        described, native = _cpu()
    elif device.type == "cuda":
        described, native = _cuda(device)
    else:  # MPS: some versions of the system multiply in bfloat16, and none says so beforehand
        described, native = str(device), _runs(lambda: _try_product(device))
    return Abilities(
        device=described,
        native=native,
        recurrent=all(_runs(partial(_try_layer, layer, device)) for layer in RECURRENT),
        half=_runs(lambda: _try_rows(device)),
    )


def _cuda(device: torch.device) -> tuple[str, bool]:
    """The device in words, and whether its generation has bfloat16 (NVIDIA: from compute capability 8 on)."""
    major, minor = torch.cuda.get_device_capability(device)
    named = f"{device} ({torch.cuda.get_device_name(device)}, compute capability {major}.{minor})"
    return named, torch.version.hip is not None or major >= 8


def _cpu() -> tuple[str, bool]:
    """The processor in words, and whether it has the instructions and the library that multiplies may use them."""
    held = next((f"{o.upper()} by {v}" for v in _HOLDING if (o := os.environ.get(v, ""))), "")
    free = not held or held.startswith(_WITH_BFLOAT16)
    words = torch.backends.cpu.get_cpu_capability() + ("" if free else f", held to {held}")
    return f"this processor ({words})", free and bool(_FLAGS & _cpu_flags())


def _cpu_flags() -> set[str]:
    """Instruction sets by Linux's names; elsewhere what torch knows of them."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, found = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return set(found.split())
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return {"avx512_bf16"} if platform.machine() in ("x86_64", "AMD64") and known is not None and known() else set()


def _runs(attempt: Callable[[], None]) -> bool:
    """Whether it raises nothing; a missing kernel is a ``RuntimeError``, also where it is not implemented at all."""
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        try:
            attempt()
        except (RuntimeError, TypeError):
            return False
    return True


def _try_product(device: torch.device) -> None:
    with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
        nn.functional.linear(torch.ones(2, 2, device=device), torch.ones(2, 2, device=device)).float().sum().item()


def _try_layer(layer: Callable[..., nn.RNNBase], device: torch.device) -> None:
    """One step forward and backward of the library's own layer, as a model with one would make them."""
    made = layer(2, 3, batch_first=True).to(device)
    with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
        steps, _ = made(torch.ones(2, 2, 2, device=device))
    steps.float().sum().backward()
    steps.float().sum().item()


def _try_rows(device: torch.device) -> None:
    rows = torch.ones(2, 2, dtype=torch.float16, device=device)
    rows[torch.tensor([1, 0], device=device)].float().sum().item()


# --------------------------------------------------------------------------------------------
# layers without a kernel


def guard_recurrent_layers(module: nn.Module) -> None:
    """Let every recurrent layer in a module compute in float32 where it has no kernel for bfloat16; elsewhere nothing changes.

    It is the layer that is changed, not the module that has it: an encoder of anybody's may hold one.
    """
    for layer in module.modules():
        if isinstance(layer, RECURRENT):
            # a method, so that a copy of the layer computes with the copy's own parameters
            layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]


def _forward(layer: nn.RNNBase, *arguments: Any, **more: Any) -> Any:
    device = next(layer.parameters()).device
    call = type(layer).forward
    if not torch.is_autocast_enabled(device.type) or abilities(device).recurrent:
        return call(layer, *arguments, **more)
    with torch.autocast(device.type, enabled=False):
        return call(layer, *_in_float32(arguments), **_in_float32(more))


def _in_float32(tree: Any) -> Any:
    def widened(value: Any) -> Any:
        if isinstance(value, PackedSequence):
            return value.float()
        return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

    return tree_map(widened, tree, is_leaf=lambda value: isinstance(value, PackedSequence))
