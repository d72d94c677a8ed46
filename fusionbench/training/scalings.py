"""How the models of a population standardise what they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionbench.data.table import Scaling


@dataclass
class Scalings:
    """Mean and scale of one modality for every model, ``[models, width]``."""

    mean: Tensor
    scale: Tensor

    def standardise_(self, values: Tensor) -> Tensor:
        """Standardise values in place: a step's rows were gathered for it alone, and a new tensor costs page faults."""
        shape = (len(self.mean), *[1] * (values.ndim - 2), -1)
        return values.sub_(self.mean.reshape(shape)).div_(self.scale.reshape(shape))


def stacked(found: list[Scaling]) -> Scalings:
    """Return the scalings of several models as one."""
    return Scalings(torch.stack([s.mean for s in found]), torch.stack([s.scale for s in found]))


def alike(found: Mapping[str, Scaling], size: int, device: torch.device) -> dict[str, Scalings]:
    """Return one scaling by modality as that of every model of a population.

    Args:
        found: By modality.
        size: How many models.
        device: Where they are.
    """
    return {
        name: Scalings(*(part.to(device).expand(size, *part.shape).clone() for part in scaling))
        for name, scaling in found.items()
    }
