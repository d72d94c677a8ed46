"""An encoder over a batch in chunks of rows, so that the activations of one chunk only are alive.

This is the memory of gradient accumulation without its change of meaning: fusion, statistics and gradient
modulation see the whole batch. A chunk's activations are thrown away and computed again for its gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from fusionbench.noise import NoiseSource

EncoderState = tuple[dict[str, Tensor], dict[str, Tensor]]


def call_in_chunks(
    encoder: nn.Module, state: EncoderState, arguments: tuple[Tensor, ...], rows: int | None = None
) -> Tensor:
    """Call one member's encoder; each row meets its own noise.

    The zero input, a batch of one in the middle of a step, meets the noise of the batch's first row.

    Args:
        encoder: Reads every row alone, as encoders do.
        state: Its parameters and buffers by name.
        arguments: ``[batch, ...]`` each.
        rows: Most rows of a call. A larger batch is cut, and under gradients each chunk is computed twice; None: no batch
            is. Not under ``vmap``, which does not bear the hooks that computing again needs.

    Returns:
        ``[batch, ...]``.
    """
    batch = len(arguments[0])
    if rows is None or batch <= rows:
        return _call(encoder, state, arguments, slice(0, batch))
    call = _call_again if torch.is_grad_enabled() else _call
    return torch.cat([call(encoder, state, arguments, slice(s, min(s + rows, batch))) for s in range(0, batch, rows)])


def _call(encoder: nn.Module, state: EncoderState, arguments: tuple[Tensor, ...], chunk: slice) -> Tensor:
    parameters, buffers = state
    noisy = [f"{n}.noise".removeprefix(".") for n, m in encoder.named_modules() if isinstance(m, NoiseSource)]
    own = {**buffers, **{n: buffers[n][chunk] for n in noisy}}
    embeddings: Tensor = functional_call(encoder, (dict(parameters), own), tuple(a[chunk] for a in arguments))
    return embeddings


def _call_again(encoder: nn.Module, state: EncoderState, arguments: tuple[Tensor, ...], chunk: slice) -> Tensor:
    # no random state to bring back: encoders draw nothing
    embeddings: Tensor = checkpoint(
        _call, encoder, state, arguments, chunk, use_reentrant=False, preserve_rng_state=False
    )
    return embeddings
