"""Many models of one architecture as one program.

Parameters and buffers are stacked, ``[models, ...]``; the part behind the encoders runs under ``vmap``.
Encoders that do not vectorise (recurrent ones) run one after the other on slices of the same stacked
parameters, so that one backward pass and one optimiser serve all. A population of one takes the same
path beside a twin: a model's numbers do not depend on how many others are trained with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from fusionbench.contract.isolation import owner_of
from fusionbench.contract.learners import Encoder
from fusionbench.contract.settings import torch_defaults_kept
from fusionbench.data.table import RowTable, Scaling, in_single
from fusionbench.errors import PluginError
from fusionbench.noise import NoiseSource
from fusionbench.training.devices.chunks import EncoderState, call_in_chunks
from fusionbench.training.devices.device import sent
from fusionbench.training.devices.threads import at_once, side_by_side
from fusionbench.training.model import FusionModel, Learned, View, Wants
from fusionbench.training.packing import packed
from fusionbench.training.scalings import Scalings, alike, stacked


class Gathered(NamedTuple):
    """What the encoder of one modality reads, or passes on where there is none.

    Args:
        values: ``[models, batch, ...]``, standardised where the modality says so.
        lengths: Int64 ``[models, batch]``, valid steps or tokens; None: all are.
    """

    values: Tensor
    lengths: Tensor | None


Encoded = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Encodings by modality, float ``[models, batch, dim]``, and those of all-zero inputs, ``[models, dim]``."""


class _Ready(NamedTuple):
    """Standardised rows that neighbouring models share: models from ``start`` to before ``stop``."""

    start: int
    stop: int
    values: Tensor


class Population:
    """Stacked models over one table.

    Args:
        models: Models of the same architecture and shapes, one for each member.
        table: The rows.
        fitted_on: For each member the training rows (int64) whose mean and spread standardise its inputs.
        present: For each member bool ``[rows, modalities]``: what of them training may see.
    """

    def __init__(
        self, models: Sequence[FusionModel], table: RowTable, fitted_on: Sequence[Tensor], present: Sequence[Tensor]
    ) -> None:
        self.template = models[0]
        self._table, self._ready = table, dict[str, list[_Ready]]()
        self.size = len(models)
        parameters, buffers = stack_module_state(list(models))
        on_device = {n: p.detach().to(table.device).requires_grad_(p.requires_grad) for n, p in parameters.items()}
        self.packed, self.parameters = packed(on_device)
        self.buffers = {n: b.to(table.device) for n, b in buffers.items()}
        self._scalings = {
            n: s for n in self.template.modalities if (s := self._stack_scalings(n, fitted_on, present)) is not None
        }
        self._ready = {n: r for n in self._scalings if (r := self._standardise_ahead(n, fitted_on, present))}
        encoders = {n: e for n, e in self.template.encoder.items() if isinstance(e, Encoder)}
        self._stacked = {n: e.stackable_on(table.device) for n, e in encoders.items()}
        # modules for several models at a time, where models run one by one; on CUDA kernels are queued all the same
        one_by_one = [n for n, stacked in self._stacked.items() if not stacked and table.device.type == "cpu"]
        self._at_once = {n: at_once([m.encoder[n] for m in models]) for n in one_by_one}
        self._gathered: dict[tuple[str, torch.Size, torch.dtype], Tensor] = {}
        every = [dict(m.named_modules()) for m in models]
        self._noise = {
            f"{n}.noise": [own[n] for own in every] for n, m in every[0].items() if isinstance(m, NoiseSource)
        }

    @property
    def table(self) -> RowTable:
        """The rows. Another table may take its place, standardised as this one."""
        return self._table

    @table.setter
    def table(self, table: RowTable) -> None:
        if table is not self._table:
            self._table, self._ready = table, {}

    def scalings(self) -> dict[str, Scaling]:
        """Return mean and scale of each modality that the first model standardises."""
        return {name: Scaling(found.mean[0], found.scale[0]) for name, found in self._scalings.items()}

    def standardise_by(self, found: Mapping[str, Scaling]) -> None:
        """Let every model standardise by these means and scales, as one that is read back does."""
        self._ready, self._scalings = {}, alike(found, self.size, self._table.device)

    def _stack_scalings(self, name: str, fitted_on: Sequence[Tensor], present: Sequence[Tensor]) -> Scalings | None:
        if name not in self.table.standardise:
            return None
        found: list[Scaling] = [self.table.scaling(name, r, p) for r, p in zip(fitted_on, present, strict=True)]
        return stacked(found)

    def _standardise_ahead(self, name: str, fitted_on: Sequence[Tensor], present: Sequence[Tensor]) -> list[_Ready]:
        """Standardise the table once for all members that share mean and scale; nothing where memory is short."""
        found: list[_Ready] = []
        scalings = [self.table.scaling(name, r, p) for r, p in zip(fitted_on, present, strict=True)]
        for number, scaling in enumerate(scalings):
            values = self.table.standardised(name, scaling)
            if values is None:
                return []
            if found and found[-1].values is values:
                found[-1] = found[-1]._replace(stop=number + 1)
            else:
                found.append(_Ready(number, number + 1, values))
        return found

    # ---------------------------------------------------------------- mapping over members

    def each(self, method: str, *arguments: Any, static: tuple[Any, ...] = ()) -> Any:
        """Call a model method for every member; every tensor in arguments and result is ``[models, ...]``.

        ``static`` arguments are the same for all members and follow the stacked ones.
        """
        return self._map(self.template, "", lambda *a: (method, *a, *static), self.template.stackable, arguments)

    def _map(
        self,
        module: Any,
        prefix: str,
        call: Callable[..., Any],
        stackable: bool,
        arguments: tuple[Any, ...],
        run: Callable[..., Any] = functional_call,
    ) -> Any:
        members = (_below(self.parameters, prefix), _below(self.buffers, prefix), arguments)

        def one(parameters: Any, buffers: Any, arguments: Any) -> Any:
            with torch_defaults_kept():
                return run(module, (parameters, buffers), call(*arguments))

        if not stackable:
            results = [one(*member) for member in _apart(members, self.size)]
            return tree_map(_stack, results[0], *results[1:])
        if self.size > 1:
            return vmap(one, randomness="error")(*members)
        # kernels for a batch of one matrix add up in another order than those for several
        return tree_map(_first, vmap(one, randomness="error")(*tree_map(_with_twin, members)))

    # ---------------------------------------------------------------- data

    def view(self, rows: Tensor, present: Tensor, available: Tensor | None = None) -> View:
        """Gather, standardise and encode; in training mode the view is valid until the next one of as many rows.

        Args:
            rows: Int64 ``[models, batch]``.
            present: Bool ``[models, batch, modalities]``: what is shown.
            available: Bool, same shape: what training may know beyond that. None: nothing.
        """
        return self.encode(self.gather(rows), present, present if available is None else available)

    def gather(self, rows: Tensor, *, alike: bool = False) -> dict[str, Gathered]:
        """Gather and standardise what encoders read; in training mode valid until the next call for as many rows.

        Args:
            rows: Int64 ``[models, batch]``.
            alike: Whether the rows of every model are the same: they are then gathered once where all standardise alike,
                and nobody may write to them.
        """
        return {
            n: Gathered(self._standardised(n, rows, alike), self._lengths(n, rows)) for n in self.template.modalities
        }

    def zero_inputs(self) -> dict[str, Gathered]:
        """Return the all-zero input of every modality as a batch of one, where somebody reads it."""
        return {n: self._zero_input(n) for n in self.template.modalities} if self.template.uses_zero_input else {}

    def encode(
        self,
        gathered: Mapping[str, Gathered],
        present: Tensor,
        available: Tensor,
        zero: Mapping[str, Gathered] | None = None,
        encoded: Encoded | None = None,
    ) -> View:
        """Encode what was gathered.

        Args:
            gathered: By modality.
            present: Bool ``[models, batch, modalities]``: what is shown.
            available: Bool, same shape: what training may know beyond that.
            zero: As :meth:`zero_inputs` returns it; None: it is asked.
            encoded: What is encoded already, as :meth:`encode_apart` does.
        """
        zero = self.zero_inputs() if zero is None else zero
        known, known_zero = ({}, {}) if encoded is None else encoded
        rows = {n: known[n] if n in known else self._encode(n, gathered[n]) for n in self.template.modalities}
        zeros = {n: self._encode(n, g)[:, 0] for n, g in zero.items()} | known_zero
        return View(rows, zeros, present, available)

    @property
    def apart(self) -> list[str]:
        """Modalities whose encoders run one model after the other; only what follows them is one program."""
        return [n for n, stacked in self._stacked.items() if not stacked]

    def encode_apart(self, gathered: Mapping[str, Gathered], zero: Mapping[str, Gathered]) -> Encoded:
        """Encode the modalities of :attr:`apart`, rows and zero inputs."""
        names = self.apart
        return (
            {n: self._encode(n, gathered[n]) for n in names},
            {n: self._encode(n, zero[n])[:, 0] for n in names if n in zero},
        )

    def _standardised(self, name: str, rows: Tensor, alike: bool) -> Tensor:
        values, chosen = self.table.values[name], rows.flatten()
        if name in self._ready:
            if alike and len(self._ready[name]) == 1:
                shared = self._gather_ready(name, rows[:1])
                return shared.expand(len(rows), *shared.shape[1:])
            return self._gather_ready(name, rows)
        if self.template.training:  # a step's rows are gone with the step; the pages of a new tensor cost as much again
            values = torch.index_select(values, 0, chosen, out=self._kept(name, rows, values))
            if values.dtype == torch.float16:
                values = self._kept(name, rows, values, torch.float32).copy_(values)
        else:
            # copies whole rows; indexing with two axes walks over single elements
            values = in_single(values.index_select(0, chosen))
        values = values.reshape(*rows.shape, *values.shape[1:])
        return self._scalings[name].standardise_(_floats(values)) if name in self._scalings else values

    def _gather_ready(self, name: str, rows: Tensor) -> Tensor:
        """Gather from tables that are standardised already, one for neighbours that share it."""
        ready, batch = self._ready[name], rows.shape[1]
        first = ready[0].values
        shape = (rows.numel(), *first.shape[1:])
        found = self._kept(name, rows, first) if self.template.training else first.new_empty(shape)
        for start, stop, values in ready:
            part = rows[start:stop].flatten()
            torch.index_select(values, 0, part, out=found[start * batch : start * batch + len(part)])
        return found.reshape(*rows.shape, *first.shape[1:])

    def _kept(self, name: str, rows: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Memory for the rows of a step, as the table has them but perhaps of another type."""
        key = (name, rows.shape, like.dtype if dtype is None else dtype)
        if key not in self._gathered:
            self._gathered[key] = like.new_empty(rows.numel(), *like.shape[1:], dtype=dtype)
        return self._gathered[key]

    def _lengths(self, name: str, rows: Tensor) -> Tensor | None:
        return self.table.lengths[name][rows] if name in self.table.lengths else None

    def _zero_input(self, name: str) -> Gathered:
        zero, length = self.table.zero[name], self.table.zero_lengths.get(name)
        # a copy: where nothing encodes or projects it, a plugin that writes to it would write to the table
        values = zero.expand(self.size, 1, *zero.shape).clone()
        lengths = None
        if length is not None:
            lengths = torch.full((self.size, 1), length, dtype=torch.int64, device=values.device)
        if name not in self.template.encoder and name in self._scalings:
            values = self._scalings[name].standardise_(_floats(values))
        return Gathered(values, lengths)

    def _encode(self, name: str, gathered: Gathered) -> Tensor:
        values, lengths = gathered
        if name in self.template.encoder:
            values = self._run_encoder(name, values, lengths)
        return _pool(values, lengths)

    def _run_encoder(self, name: str, values: Tensor, lengths: Tensor | None) -> Tensor:
        encoder = self.template.encoder[name]
        assert isinstance(encoder, Encoder)
        arguments, prefix = (values,) if lengths is None else (values, lengths), f"encoder.{name}."
        stacked = self._stacked[name]
        rows = None if stacked else self.template.encoder_rows

        def run(module: nn.Module, state: EncoderState, own: tuple[Tensor, ...]) -> Tensor:
            with self.template.autocast(values.device):
                return call_in_chunks(module, state, own, rows)

        encoded: Tensor
        if len(self._at_once.get(name, ())) > 1:
            members = (_below(self.parameters, prefix), _below(self.buffers, prefix), arguments)
            encoded = side_by_side(lambda module, own: run(module, own[:2], own[2]), self._at_once[name], members)
        else:
            encoded = self._map(encoder, prefix, lambda *a: a, stacked, arguments, run)
        _expect_embeddings(encoder, encoded, values.shape[1])
        widened: Tensor = self.template.widened(encoded)
        return widened

    # ---------------------------------------------------------------- what the loop calls

    @contextmanager
    def holding(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Iterator[None]:
        """Compute with these tensors instead of the population's own inside the block."""
        own = self.parameters, self.buffers
        self.parameters, self.buffers = parameters, buffers
        try:
            yield
        finally:
            self.parameters, self.buffers = own

    def learn(self, view: View, target: Tensor) -> Learned:
        """Return losses ``[models]`` and what gradient hooks look at."""
        learned: Learned = self.each("learn", view, target)
        return learned

    @torch.no_grad()
    def predict(self, view: View) -> Tensor:
        """Return logits ``[models, batch, outputs]``."""
        logits: Tensor = self.each("predict", view)
        return logits

    @property
    def draws_noise(self) -> bool:
        """Whether some member has noise sources (dropout)."""
        return bool(self._noise)

    def wants(self, completed: int, planned: int) -> tuple[bool, bool]:
        """Return whether any member's strategy changes gradients or updates in the coming epoch, and whether any reads noise."""
        if self.template.modulates is None:
            return False, False
        with torch.no_grad():
            found: Wants = self.each("wants", static=(completed, planned))
        return bool(found.modulation.any()), bool(found.noise.any())

    def draw_noise(self, batch_size: int, generators: Sequence[torch.Generator]) -> None:
        """Give every noise source of every member a fresh draw from the member's own generator."""
        for name, sources in self._noise.items():
            draws = [s.draw(batch_size, g) for s, g in zip(sources, generators, strict=True)]
            self._put(name, sent(torch.stack(draws), self.table.device))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode, without gradients, inside the block."""
        modules = [self.template, *(m for several in self._at_once.values() for m in several)]
        for module in modules:
            module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module in modules:
                module.train()

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of all parameters and buffers but noise."""
        state = {**self.parameters, **{n: b for n, b in self.buffers.items() if n not in self._noise}}
        return {n: t.detach().clone() for n, t in state.items()}

    def state_of(self, member: int) -> dict[str, Tensor]:
        """Return one member's parameters and buffers but noise, as :meth:`restore_members` takes them."""
        state = {**self.parameters, **{n: b for n, b in self.buffers.items() if n not in self._noise}}
        return {n: t.detach()[member] for n, t in state.items()}

    def restore_members(self, states: Sequence[dict[str, Tensor]]) -> None:
        """Set every member's parameters and buffers."""
        self.restore({n: torch.stack([s[n] for s in states]) for n in states[0]})

    def restore(self, state: dict[str, Tensor], names: Sequence[str] | None = None) -> None:
        """Set parameters and buffers from a snapshot, all or the named ones."""
        with torch.no_grad():
            for name in state if names is None else names:
                if name in self.parameters:
                    self.parameters[name].copy_(state[name])
                else:  # what was fitted may have another shape than before
                    self._put(name, state[name].to(self.table.device))

    def set_buffers(self, values: dict[str, Tensor]) -> bool:
        """Set buffers; values are ``[models, ...]``. Return whether all have kept their place in memory."""
        # copied first: a value may be another view of the buffer that it is to fill
        copies = {n: v.detach().to(self.buffers[n].dtype, copy=True).contiguous() for n, v in values.items()}
        kept = [self._put(name, value) for name, value in copies.items()]
        return all(kept)

    def _put(self, name: str, value: Tensor) -> bool:
        kept = self.buffers[name]
        fits = (kept.shape, kept.dtype) == (value.shape, value.dtype)
        self.buffers[name] = kept.copy_(value) if fits else value.clone()
        return fits


def _expect_embeddings(encoder: Encoder, found: Tensor, rows: int) -> None:
    """Refuse embeddings ``[models, rows, width]``, or ``[models, rows, tokens, width]``, of another shape.

    Raises:
        PluginError: It names the plugin, what was expected, and what came.
    """
    if found.ndim not in (3, 4) or (found.shape[1], found.shape[-1]) != (rows, encoder.output_dim):
        wanted = f"[{rows}, {encoder.output_dim}]"
        raise PluginError(f"{owner_of(encoder)}: embeddings {wanted} expected, found {list(found.shape[1:])}")


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _apart(tree: Any, size: int) -> list[Any]:
    # unbound at once: picking one member after the other gives each a gradient as large as the whole stack
    leaves, structure = tree_flatten(tree)
    columns = [leaf.unbind() if isinstance(leaf, Tensor) else [leaf] * size for leaf in leaves]
    return [tree_unflatten(member, structure) for member in zip(*columns, strict=True)]


def _with_twin(tensor: Tensor) -> Tensor:
    return torch.cat([tensor, tensor])


def _first(stacked: Any) -> Any:
    return stacked[:1] if isinstance(stacked, Tensor) else stacked


def _floats(values: Tensor) -> Tensor:
    return values if values.is_floating_point() else values.float()


def _stack(*members: Any) -> Any:
    return torch.stack(members) if isinstance(members[0], Tensor) else members[0]


def _pool(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean over the valid tokens of ``[models, batch, tokens, dim]``; pooled encodings pass."""
    if values.ndim == 3:
        return values
    if lengths is None:
        return values.mean(dim=2)
    valid = torch.arange(values.shape[2], device=values.device) < lengths[..., None]
    kept = torch.where(valid[..., None], values, 0)
    return kept.sum(dim=2) / valid.sum(dim=2, keepdim=True).clamp_min(1)
