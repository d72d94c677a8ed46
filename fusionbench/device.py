"""Where models are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusionbench.errors import ConfigError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` takes CUDA where there is one, else the CPU.

    Raises:
        ConfigError: The name is no device, or the device is not on this machine.
    """
    import torch

    accepted = "accepted: auto, cpu, cuda, cuda:<n>, mps"
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"--device {name}: no such device; {accepted}")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as problem:
        first_sentence = str(problem).split("\n", 1)[0].split(". ", 1)[0]
        raise ConfigError(f"--device {name}: cannot be used on this machine: {first_sentence}; {accepted}") from None
    return device
