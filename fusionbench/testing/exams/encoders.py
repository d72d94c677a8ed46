"""Checks that hold for encoders only."""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from fusionbench.contract.data import InputKind
from fusionbench.contract.learners import Encoder
from fusionbench.testing.assertions import expect, expect_equal, snapshot
from fusionbench.testing.exams.manners import global_state, same_state
from fusionbench.testing.inputs import EncoderSubject, InputCase, encode, floats, give_noise, read, valid
from fusionbench.testing.subjects import CheckSkippedError

GARBAGE = 1e6  # large, and its square is still a float32
SEEDS = 3


def check_accepts_names_input_kinds(subject: EncoderSubject) -> None:
    """A benchmark that gives an encoder a kind it cannot read is refused before anything is prepared.

    Mend: ``accepts = frozenset({"series"})``, of series, image, text and vector.
    """
    accepts, known = subject.plugin.accepts, set(get_args(InputKind))
    assert accepts, f"{subject.plugin.__name__}.accepts is empty"
    assert accepts <= known, f"{subject.plugin.__name__}.accepts has {sorted(accepts - known)}; kinds: {sorted(known)}"


def check_embeddings_have_the_declared_width(subject: EncoderSubject) -> None:
    """Everything behind an encoder is built for ``output_dim`` before a row is encoded.

    Mend: return float ``[batch, output_dim]``, or ``[batch, length, output_dim]`` for tokens, also for one row and for
    an all-zero row; guard logarithms, roots and divisions.
    """
    for whole in subject.accepted():
        encoder = subject.build(whole.spec)
        for case in (whole, whole.rows([0]), whole.blank()):
            encoded, rows = _encoded(encoder, case), len(case.values)
            found, wanted = tuple(encoded.shape), (rows, encoder.output_dim)
            expect(
                (*found[:1], *found[-1:]) == wanted and len(found) in (2, 3), case, f"shape {found}, wanted {wanted}"
            )
            expect(encoded.dtype == torch.float32, case, f"embeddings are {encoded.dtype}, not float32")
            expect(torch.isfinite(encoded).all(), case, "embeddings are not finite")


def check_preparation_treats_rows_alone(subject: EncoderSubject) -> None:
    """Rows are prepared once and then gathered in every order; lengths say where each one ends.

    Mend: ``prepare`` returns an array with one entry for each row, padded to a width of its own, and int64 lengths
    ``[rows]`` of at least 1, or None.
    """
    for case in subject.accepted():
        encoder = subject.build(case.spec)
        values, lengths = encoder.prepare(case.values)
        expect(
            isinstance(values, np.ndarray) and len(values) == len(case.values), case, "rows were lost or are no array"
        )
        if lengths is not None:
            fits = lengths.dtype == np.int64 and lengths.shape == (len(values),)
            expect(fits, case, f"lengths are {lengths.dtype} {list(lengths.shape)}, wanted int64 [{len(values)}]")
            inside = (lengths >= 1).all() and (lengths <= values.shape[1]).all()
            expect(bool(inside), case, f"lengths must be 1 to {values.shape[1]}")
        index = [len(values) - 1, 0]
        some, ends = encoder.prepare(case.rows(index).values)
        same = some.shape[1:] == values.shape[1:] and np.array_equal(some, values[index])
        expect(same, case, "two rows alone are prepared differently")
        expect(ends is None or np.array_equal(ends, lengths[index]), case, "two rows alone have other lengths")  # type: ignore[index]


def check_padding_is_never_read(subject: EncoderSubject) -> None:
    """What lies behind a row's last valid step is undefined; it must reach neither the embedding nor a gradient.

    Mend: ``torch.where(valid, values, 0)`` before the first layer; start backward passes at the last valid step.
    """
    padded = 0
    for case in subject.accepted():
        encoder = subject.build(case.spec)
        values, lengths = read(encoder, case)
        if lengths is None:
            continue
        padded += 1
        behind = torch.arange(values.shape[1]) >= lengths[:, None]
        expect(behind.any(), case, "no row is shorter than another: bring a case with padding")
        behind = behind.reshape(*behind.shape, *[1] * (values.ndim - 2))
        other = torch.full_like(values, GARBAGE) if values.is_floating_point() else values[:, :1].expand_as(values)
        spoiled = torch.where(behind, other, values)
        found, wanted = (_embeddings_and_gradients(encoder, v, lengths) for v in (spoiled, values))
        _expect_close(found, wanted, case, "padding decides")
    if not padded:
        raise CheckSkippedError("its inputs have no lengths")


def check_embedding_of_a_row_ignores_other_rows(subject: EncoderSubject) -> None:
    """A row's embedding is stored once and must not depend on the batch that it happened to be in.

    Mend: no batch statistics (keep batch norm in evaluation mode); reduce over steps, pixels or features, never rows.
    """
    for case in subject.accepted():
        for training in (False, True):
            encoder = subject.build(case.spec).train(training)
            whole = valid(*_with_lengths(encoder, case))
            for index in ([0], [len(case.values) - 1], [1, 0]):
                found = valid(*_with_lengths(encoder, case.rows(index)))
                mode = "training" if training else "evaluation"
                _expect_close(
                    {"embedding": found}, {"embedding": whole[index]}, case, f"rows influence each other in {mode}"
                )


def check_encoding_is_deterministic(subject: EncoderSubject) -> None:
    """Embeddings of frozen encoders are stored under a hash of what decides them; chance is not in the hash.

    Mend: no randomness in evaluation mode, no counters or caches in ``forward``.
    """
    for case in subject.accepted():
        encoder = subject.build(case.spec)
        same = torch.equal(_encoded(encoder, case), _encoded(encoder, case))
        expect(same, case, "two calls gave different embeddings")


def check_frozen_means_that_no_gradient_arrives(subject: EncoderSubject) -> None:
    """A frozen encoder runs once, outside training: parameters that ask for gradients would wait for ever.

    Mend: ``requires_grad_(False)`` on every parameter of a frozen encoder; with ``frozen = False`` use every one.
    """
    for case in subject.accepted():
        encoder = subject.build(case.spec)
        asking = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]
        if encoder.frozen:
            expect(not asking, case, f"it is frozen, and {', '.join(asking)} require gradients")
            continue
        gradients = _embeddings_and_gradients(encoder.train(), *read(encoder, case))
        for name in asking:
            arrived = f"gradient of {name}" in gradients
            expect(arrived, case, f"it is not frozen, and no gradient reaches {name}")
            expect(
                torch.isfinite(gradients[f"gradient of {name}"]).all(), case, f"the gradient of {name} is not finite"
            )


def check_fingerprint_says_what_decides_the_embedding(subject: EncoderSubject) -> None:
    """Stored embeddings are found by the fingerprint: equal encoders must agree on it, others must not.

    Mend: name settings in ``extra_repr``; keep weights in parameters or persistent buffers, nothing else in the hash.
    """
    for case in subject.accepted():
        encoder = subject.build(case.spec, seed=1)
        before = encoder.fingerprint()
        expect(
            before == subject.build(case.spec, seed=1).fingerprint(), case, "equal encoders have different fingerprints"
        )
        _encoded(encoder, case)
        expect(before == encoder.fingerprint(), case, "the fingerprint changed by encoding")
        for name, tensor in encoder.state_dict().items():  # shares memory with the encoder
            kept = tensor.clone()
            tensor.copy_(tensor + 1)
            expect(encoder.fingerprint() != before, case, f"the fingerprint does not depend on {name}")
            tensor.copy_(kept)


def check_fingerprint_follows_the_weights_in_use(subject: EncoderSubject) -> None:
    """Weights outside ``state_dict`` decide embeddings that are then found under another encoder's name.

    Mend: use ``nn.Parameter`` and ``register_buffer``, not plain attributes; read settings in ``extra_repr``.
    """
    for case in subject.accepted():
        one, other = (subject.build(case.spec, seed=seed) for seed in (1, 2))
        if one.fingerprint() == other.fingerprint():
            found, wanted = _encoded(one, case), _encoded(other, case)
            _expect_close({"embedding": found}, {"embedding": wanted}, case, "equal fingerprints, other embeddings")


def check_stacked_encoders_equal_solo_encoders(subject: EncoderSubject) -> None:
    """Trainable encoders of many runs are stacked into one program; each must come out as if it had run alone.

    Mend: no ``if`` on tensor values, no ``.item()``, no built-in LSTM or attention; noise from the loop. An encoder
    that cannot do without says ``stackable = False``.
    """
    for case in subject.accepted():
        built = [subject.build(case.spec, seed=seed).double().train() for seed in range(SEEDS)]
        if built[0].frozen or not built[0].stackable_on(torch.device("cpu")):
            raise CheckSkippedError("it is frozen and runs once" if built[0].frozen else "it says stackable = False")
        values, lengths = read(built[0], case)
        values = floats({"values": values})["values"]
        for seed, encoder in enumerate(built):
            give_noise(encoder, len(values), seed)
        states = [floats(snapshot(encoder)) for encoder in built]
        if not states[0]:
            raise CheckSkippedError("it has no tensors to stack")
        wanted = torch.stack([_stateless(built[0], state, values, lengths) for state in states])
        stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        try:
            found = vmap(lambda s, e=built[0], v=values, n=lengths: _stateless(e, s, v, n), randomness="error")(stacked)
        except (RuntimeError, ValueError) as error:
            raise AssertionError(f"{case.name}: cannot be stacked: {str(error).splitlines()[0]}") from error
        expect_equal(
            {"embedding": found}, {"embedding": wanted}, case, "a stacked encoder differs from the encoder alone"
        )


def check_encoding_leaves_everything_alone(subject: EncoderSubject) -> None:
    """Inputs go to every run, and random numbers are shared; whoever changes them changes the others' results.

    Mend: no in-place operations on inputs, no draws from global generators (``fusionbench.noise.Dropout``), no
    running statistics: batch norm stays in evaluation mode.
    """
    for case in subject.accepted():
        encoder = subject.build(case.spec).train()
        values, lengths = read(encoder, case)
        kept, state, before = values.clone(), snapshot(encoder), global_state()
        encode(encoder, values, lengths)
        expect(same_state(global_state(), before), case, "it drew from, or set, global random state or modes")
        expect(torch.equal(values, kept), case, "it changed its input")
        expect_equal(snapshot(encoder), state, case, "forward in training mode changed the encoder's state")


def _encoded(encoder: Encoder, case: InputCase) -> Tensor:
    return _with_lengths(encoder, case)[0]


def _with_lengths(encoder: Encoder, case: InputCase) -> tuple[Tensor, Tensor | None]:
    values, lengths = read(encoder, case)
    with torch.no_grad():
        return encode(encoder, values, lengths), lengths


def _stateless(encoder: Encoder, state: dict[str, Tensor], values: Tensor, lengths: Tensor | None) -> Tensor:
    arguments = (values,) if lengths is None else (values, lengths)
    encoded: Tensor = functional_call(encoder, state, arguments)
    return encoded


def _embeddings_and_gradients(encoder: Encoder, values: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
    """The valid embeddings and, by name, the gradients that arrive."""
    encoded = valid(encode(encoder, values, lengths), lengths)
    wanted = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    if not wanted or not encoded.requires_grad:
        return {"embedding": encoded.detach()}
    gradients = torch.autograd.grad(encoded.square().mean(), list(wanted.values()), allow_unused=True)
    arrived = {f"gradient of {name}": g for name, g in zip(wanted, gradients, strict=True) if g is not None}
    return {"embedding": encoded.detach(), **arrived}


def _expect_close(found: dict[str, Tensor], wanted: dict[str, Tensor], case: InputCase, message: str) -> None:
    """Fail unless embeddings agree to what float32 leaves of them in batches of other sizes."""
    for name, tensor in wanted.items():
        near = torch.allclose(found[name], tensor, rtol=1e-4, atol=1e-5)
        expect(near, case, f"{message} ({name})")
