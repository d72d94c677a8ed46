"""Hiding modalities on purpose, in training only.

A model that is to cope with absent modalities must meet them in training, and an imputer learns only
from what is hidden and known. Policies, from the least to the most strict:

* ``none``: everything available is shown.
* ``bernoulli``: each modality is hidden with a given probability, independently.
* ``uniform_subset``: a uniformly random non-empty subset of the available modalities is shown.
* ``partial_subset``: the same, never all of them (where a row has more than one).

No policy leaves a row empty that had something. Drawing is a pure function of given uniform numbers, in
closed form, so that stacked runs can share or vary them and nothing is drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from fusionbench.contract.learners import CorruptionPolicy
from fusionbench.errors import ConfigError, PluginError, did_you_mean

STRICTNESS: tuple[CorruptionPolicy, ...] = get_args(CorruptionPolicy)


class Corruption(NamedTuple):
    """A hiding policy; ``rate`` is the probability of hiding under ``bernoulli``, and 0 otherwise."""

    policy: CorruptionPolicy = "none"
    rate: float = 0.0

    @property
    def strictness(self) -> tuple[int, float]:
        """Sorts policies from the least to the most strict."""
        return STRICTNESS.index(self.policy), self.rate


def draw_shown(policy: CorruptionPolicy, rate: float | Tensor, available: Tensor, generator: torch.Generator) -> Tensor:
    """Draw what the model may see.

    Args:
        policy: One of the policies of this module.
        rate: Probability of hiding under ``bernoulli``; a tensor must broadcast against ``available``.
        available: Bool ``[..., batch, modalities]``, True = the record has it.
        generator: A CPU generator; draws are made on the CPU so that every device sees the same.

    Returns:
        Bool, shaped like ``available``: True = available and shown. Non-empty wherever ``available`` is.
    """
    if policy == "none":
        return available
    uniforms = draw_uniforms(available.shape, generator).to(available.device)
    return shown_from_uniforms(policy, rate, available, uniforms)


def draw_uniforms(shape: torch.Size | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return float ``[..., batch, modalities + 1]`` in [0, 1) for masks of ``shape [..., batch, modalities]``.

    The last column chooses among subsets, or among modalities to restore; the others are one draw each.
    """
    return torch.rand(*shape[:-1], shape[-1] + 1, generator=generator)


def shown_from_uniforms(policy: CorruptionPolicy, rate: float | Tensor, available: Tensor, uniforms: Tensor) -> Tensor:
    """Turn uniform numbers into what is shown; see :func:`draw_shown` and :func:`draw_uniforms`."""
    if policy == "none":
        return available
    if policy == "bernoulli":
        return _bernoulli(rate, available, uniforms)
    if policy in ("uniform_subset", "partial_subset"):
        return _subset(available, uniforms[..., -1:], leave_out_all=policy == "partial_subset")
    raise ValueError(f"corruption policy must be one of {', '.join(STRICTNESS)}; found {policy!r}")


def _bernoulli(rate: float | Tensor, available: Tensor, uniforms: Tensor) -> Tensor:
    kept = available & (uniforms[..., :-1] >= rate)
    chosen = _integer_below(available.sum(dim=-1, keepdim=True), uniforms[..., -1:])
    restored = available & (_rank(available) == chosen)
    return kept | (restored & ~kept.any(dim=-1, keepdim=True))


def _subset(available: Tensor, uniform: Tensor, *, leave_out_all: bool) -> Tensor:
    # the subsets of n available modalities are the binary numbers 1 .. 2^n - 1, the last being "all";
    # bit r says whether the r-th available modality is shown
    subsets = (1 << available.sum(dim=-1, keepdim=True)) - 1
    code = 1 + _integer_below((subsets - 1).clamp_min(1) if leave_out_all else subsets, uniform)
    return available & ((code >> _rank(available)) & 1).bool()


def _rank(available: Tensor) -> Tensor:
    """Position of each modality among the available ones of its row; 0 where it is not available."""
    return (available.cumsum(dim=-1) - 1).clamp_min(0)


def _integer_below(bound: Tensor, uniform: Tensor) -> Tensor:
    """Uniform integers in ``[0, bound)``; 0 where the bound is 0."""
    # rounding may carry u * bound up to the bound itself
    return torch.minimum((uniform * bound).long(), (bound - 1).clamp_min(0))


def combined_policy(
    asked: Mapping[str, Corruption], setting: Corruption | None = None, place: str = "corruption"
) -> Corruption:
    """Combine what the parts of a model ask for with the benchmark's own setting.

    The strictest wins: a part that asks for less can live with more hiding, a part that asks for more
    would have nothing to learn from. A setting is never overruled in silence: one that is less strict
    than what a part needs is an error.

    Args:
        asked: What each part asks for, by its name in messages (``"strategy 'ogm_ge'"``).
        setting: What the benchmark file says, or None where it says nothing.
        place: Where in the benchmark file, for messages (``"bench.yaml:12: strategies[1].corruption"``).

    Raises:
        PluginError: A part asks for a policy or a rate that does not exist.
        ConfigError: The setting does not exist, or is less strict than what a part needs.
    """
    for owner, corruption in asked.items():
        if problem := _problem(corruption):
            raise PluginError(f"{owner}: {problem}")
    owner, strictest = max(asked.items(), key=lambda item: item[1].strictness, default=("", Corruption()))
    if setting is None:
        return strictest
    if problem := _problem(setting):
        raise ConfigError(f"{place}: {problem}")
    if strictest.strictness > setting.strictness:
        raise ConfigError(
            f"{place}: {_text(setting)} hides less than {owner} needs ({_text(strictest)}); "
            f"set {_text(strictest)} or a stricter policy ({' < '.join(STRICTNESS)}), or leave the setting out"
        )
    return setting


def _problem(corruption: Corruption) -> str:
    policy, rate = corruption
    if policy not in STRICTNESS:
        return f"no corruption policy {policy!r}; accepted: {', '.join(STRICTNESS)}{did_you_mean(policy, STRICTNESS)}"
    if policy == "bernoulli" and not 0 < rate < 1:
        return f"'bernoulli' needs a rate between 0 and 1, both excluded; found {rate}"
    if policy != "bernoulli" and rate != 0:
        return f"{policy!r} takes no rate; found {rate}; leave it out, or use 'bernoulli'"
    return ""


def _text(corruption: Corruption) -> str:
    return f"'bernoulli' at {corruption.rate:g}" if corruption.policy == "bernoulli" else f"'{corruption.policy}'"
