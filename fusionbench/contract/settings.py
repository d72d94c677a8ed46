"""Everything that a plugin could set or draw for everybody, and putting it back.

Each thing is a pair: what reads it, and what puts a value that was read back. A new kind of thing is one more pair.
"""

from __future__ import annotations

import builtins
import contextlib
import decimal
import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple


class Setting(NamedTuple):
    """A thing that is one for the whole process."""

    get: Callable[[], Any]
    put: Callable[[Any], Any]


WATCHED: Final = [
    s
    for name in (
        "SIGINT",
        "SIGTERM",
        "SIGHUP",
        "SIGQUIT",
        "SIGALRM",
        "SIGUSR1",
        "SIGUSR2",
        "SIGPIPE",
        "SIGCHLD",
        "SIGTSTP",
    )
    if (s := getattr(signal, name, None)) is not None
]


class GlobalState:
    """What plugins could set or draw for everybody, of libraries that are imported already.

    Args:
        inner: Whether another one stands around it, which puts back what is the process's.
    """

    def __init__(self, *, inner: bool = False) -> None:
        self._recursion, self._inner = sys.getrecursionlimit(), inner
        self._libraries = {name for name in ("numpy", "torch") if name in sys.modules}
        self._kept = [(setting, setting.get()) for setting in self._settings()]

    def restore(self) -> None:
        """Put everything back; what cannot be put back does not keep the rest from it."""
        sys.setrecursionlimit(self._recursion)  # first: the others call functions
        for setting, value in self._kept:
            with contextlib.suppress(Exception):
                setting.put(value)
        if "torch" not in self._libraries and "torch" in sys.modules:  # it came with the plugin: as it is when imported
            _as_imported(sys.modules["torch"])

    def _settings(self) -> Iterator[Setting]:
        yield from _OF_RANDOM if self._inner else _OF_PYTHON
        if not self._inner and threading.current_thread() is threading.main_thread():  # another one may not touch them
            yield from _OF_SIGNALS
        if "numpy" in self._libraries:
            yield from _of_numpy(sys.modules["numpy"])
        if "torch" in self._libraries:
            yield from _of_torch(sys.modules["torch"])


# --------------------------------------------------------------------------------------------
# Python and the process


def _folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return None


def _put_folder(value: str | None) -> None:
    if value is not None and _folder() != value:
        os.chdir(value)


def _umask() -> int:
    value = os.umask(0o077)  # it can only be read by setting it
    os.umask(value)
    return value


def _put_environment(value: dict[str, str]) -> None:
    if dict(os.environ) == value:
        return
    zone = os.environ.get("TZ")
    for name in os.environ.keys() - value.keys():
        del os.environ[name]
    os.environ.update(value)
    if zone != value.get("TZ") and hasattr(time, "tzset"):
        time.tzset()


def _put_filters(value: list[Any]) -> None:
    """Put filters of warnings back; those that a library adds for warnings of its own stay."""
    own = [f for f in warnings.filters if f not in value and _is_particular(f)]
    if [*own, *value] != list(warnings.filters):
        warnings.filters[:] = [*own, *value]  # type: ignore[index]
        getattr(warnings, "_filters_mutated", lambda: None)()


def _is_particular(entry: Any) -> bool:
    action, message, category, module = entry[:4]
    return action != "error" and (message is not None or module is not None or category.__module__ != "builtins")


def _logging() -> tuple[Any, ...]:
    root = logging.getLogger()
    return root.level, root.disabled, list(root.handlers), list(root.filters), root.manager.disable


def _put_logging(value: tuple[Any, ...]) -> None:
    root = logging.getLogger()
    if _logging() != value:
        root.setLevel(value[0])
        root.disabled, root.handlers[:], root.filters[:] = value[1], value[2], value[3]
        logging.disable(value[4])


def _put_path(value: list[str]) -> None:
    if sys.path != value:
        sys.path[:] = value


def _builtins() -> dict[str, Any]:
    return dict(vars(builtins))


def _put_builtins(value: dict[str, Any]) -> None:
    for name, own in value.items():
        if name != "_" and vars(builtins).get(name) is not own:  # the last value of a session
            setattr(builtins, name, own)


def _attribute(owner: Any, name: str) -> Setting:
    return Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _if_changed(get: Callable[[], Any], put: Callable[[Any], Any]) -> Setting:
    def put_back(value: Any) -> None:
        if get() != value:
            put(value)

    return Setting(get, put_back)


_OF_RANDOM: Final = [Setting(random.getstate, random.setstate)]
_OF_PYTHON: Final = [
    Setting(_builtins, _put_builtins),
    *_OF_RANDOM,
    Setting(_folder, _put_folder),
    Setting(_umask, os.umask),
    Setting(lambda: dict(os.environ), _put_environment),
    Setting(lambda: list(warnings.filters), _put_filters),
    _attribute(warnings, "showwarning"),
    _attribute(warnings, "formatwarning"),
    Setting(_logging, _put_logging),
    _if_changed(lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value)),
    Setting(lambda: list(sys.path), _put_path),
    *(
        _attribute(sys, name)
        for name in ("stdin", "stdout", "stderr", "excepthook", "displayhook", "unraisablehook", "argv")
    ),
    _attribute(threading, "excepthook"),
    _attribute(tempfile, "tempdir"),
    _if_changed(sys.getswitchinterval, sys.setswitchinterval),
    _if_changed(sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    _if_changed(gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    _if_changed(gc.get_threshold, lambda value: gc.set_threshold(*value)),
    Setting(lambda: decimal.getcontext().copy(), decimal.setcontext),
    _if_changed(socket.getdefaulttimeout, socket.setdefaulttimeout),
    Setting(lambda: os._exit, lambda value: setattr(os, "_exit", value)),
]


_HANDLER_OF: Final = getattr(signal, "_signal", signal).getsignal
"""Without the conversion to names, which takes most of the time."""


def _put_handlers(value: dict[Any, Any]) -> None:
    for number, handler in value.items():
        if handler is not None and _HANDLER_OF(number) != handler:
            signal.signal(number, handler)


def _put_alarm(value: tuple[float, float]) -> None:
    if value[0] == 0 and signal.getitimer(signal.ITIMER_REAL)[0] != 0:
        signal.setitimer(signal.ITIMER_REAL, 0)


_OF_SIGNALS: Final = [Setting(lambda: {s: _HANDLER_OF(s) for s in WATCHED}, _put_handlers)]
if hasattr(signal, "setitimer"):
    _OF_SIGNALS.insert(0, Setting(lambda: signal.getitimer(signal.ITIMER_REAL), _put_alarm))
if hasattr(signal, "pthread_sigmask"):
    _OF_SIGNALS.append(
        _if_changed(
            lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []),
            lambda value: signal.pthread_sigmask(signal.SIG_SETMASK, value),
        )
    )


# --------------------------------------------------------------------------------------------
# libraries


@cache
def _of_numpy(numpy: Any) -> list[Setting]:
    return [
        Setting(numpy.random.get_state, lambda value: _put_numpy_random(numpy, value)),
        _if_changed(numpy.geterr, lambda value: numpy.seterr(**value)),
        _if_changed(numpy.geterrcall, numpy.seterrcall),
        _if_changed(numpy.get_printoptions, lambda value: numpy.set_printoptions(**value)),
    ]


@cache
def _of_torch(torch: Any) -> list[Setting]:
    """Settings of torch; the device first, where the others' tensors are made."""
    backends = torch.backends
    switches = [
        (backends.cudnn, ("enabled", "benchmark", "deterministic", "allow_tf32")),
        (
            backends.cuda.matmul,
            ("allow_tf32", "allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"),
        ),
        (torch.utils.deterministic, ("fill_uninitialized_memory",)),
    ]
    flags = [_if_changed(*_switch(owner, name)) for owner, names in switches for name in names if hasattr(owner, name)]
    kernels = [
        _if_changed(getattr(backends.cuda, f"{name}_enabled"), getattr(backends.cuda, f"enable_{name}"))
        for name in ("flash_sdp", "mem_efficient_sdp", "math_sdp")
        if hasattr(backends.cuda, f"enable_{name}")
    ]
    return [
        Setting(lambda: _modes(torch), lambda value: _put_modes(torch, value)),
        _if_changed(torch.get_default_dtype, torch.set_default_dtype),
        _if_changed(torch.is_inference_mode_enabled, lambda value: torch.inference_mode(mode=value).__enter__()),
        _if_changed(torch.is_grad_enabled, torch.set_grad_enabled),
        _if_changed(
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
        ),
        _if_changed(torch.get_num_threads, torch.set_num_threads),
        _if_changed(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        _if_changed(
            lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
            lambda value: torch.autograd.set_detect_anomaly(*value),
        ),
        *(_autocast(torch, device) for device in ("cpu", "cuda")),
        _if_changed(lambda: _flushes(torch), torch.set_flush_denormal),
        Setting(torch.get_rng_state, torch.set_rng_state),
        *flags,
        *kernels,
        *_of_hooks(torch),
    ]


def _put_numpy_random(numpy: Any, value: Any) -> None:
    found = numpy.random.get_state()
    if found[0] != value[0] or found[2:] != value[2:] or not numpy.array_equal(found[1], value[1]):
        numpy.random.set_state(value)


def _switch(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _autocast(torch: Any, device: str) -> Setting:
    def get() -> tuple[Any, Any]:
        return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

    def put(value: tuple[Any, Any]) -> None:
        torch.set_autocast_enabled(device, value[0])
        torch.set_autocast_dtype(device, value[1])

    return _if_changed(get, put)


def _unless_cpu(device: Any) -> Any:
    """A default device that is the CPU is none: then nothing stands between a call and torch."""
    return None if device.type == "cpu" else device


def _flushes(torch: Any) -> bool:
    """Whether numbers close to zero are taken for zero."""
    return bool((torch.full((1,), 5e-324, dtype=torch.float64, device="cpu") * 1.0).item() == 0.0)


class _Modes(NamedTuple):
    """What stands between a call and torch; the default device is one of the functions' modes."""

    device: Any
    functions: list[Any]
    dispatches: int


def _modes(torch: Any) -> _Modes:
    core = torch._C  # noqa: SLF001 - no other way
    functions = [core._get_function_stack_at(i) for i in range(core._len_torch_function_stack())]  # noqa: SLF001
    return _Modes(torch.get_default_device(), functions, core._len_torch_dispatch_stack())  # noqa: SLF001


def _put_modes(torch: Any, value: _Modes) -> None:
    """Leave the modes that were entered and not left."""
    core = torch._C  # noqa: SLF001
    for _ in range(core._len_torch_dispatch_stack() - value.dispatches):  # noqa: SLF001
        core._pop_torch_dispatch_stack(None)  # noqa: SLF001
    # without a call of torch before all are gone: each of them may do anything with it
    found = [core._pop_torch_function_stack() for _ in range(core._len_torch_function_stack())][::-1]  # noqa: SLF001
    devices = sys.modules["torch.utils._device"].DeviceContext
    same = len(found) == len(value.functions) and all(a is b for a, b in zip(found, value.functions, strict=True))
    for mode in found if same else [m for m in found if isinstance(m, devices)]:
        core._push_on_torch_function_stack(mode)  # noqa: SLF001
    if not same:
        torch.set_default_device(_unless_cpu(value.device))
        for mode in (m for m in value.functions if not isinstance(m, devices)):
            core._push_on_torch_function_stack(mode)  # noqa: SLF001


def _of_hooks(torch: Any) -> list[Setting]:
    """Hooks of all modules and all optimisers."""
    owners = (torch.nn.modules.module, sys.modules["torch.optim.optimizer"])
    found = [
        hooks
        for owner in owners
        for name, hooks in vars(owner).items()
        if name.startswith("_global_") and hasattr(hooks, "items")
    ]
    return [Setting(partial(dict, hooks), partial(_put_hooks, hooks)) for hooks in found]


def _put_hooks(hooks: Any, value: dict[Any, Any]) -> None:
    if hooks != value:
        hooks.clear()
        hooks.update(value)


def _as_imported(torch: Any) -> None:
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)
    torch.autograd.set_detect_anomaly(False)
    torch.set_flush_denormal(False)
    torch.set_float32_matmul_precision("highest")
    for setting in _of_hooks(torch):
        setting.put({})


class torch_defaults_kept:  # noqa: N801 - it is used as a function
    """Put torch's default type and device back after the block; quick enough for every call of a model.

    The loop makes tensors between two calls: with another default they would be of another type, or hold no numbers.
    """

    def __enter__(self) -> None:
        self._torch = sys.modules["torch"]
        self._dtype, self._modes = self._torch.get_default_dtype(), _modes(self._torch)

    def __exit__(self, *problem: object) -> None:
        if self._torch.get_default_dtype() is not self._dtype:
            self._torch.set_default_dtype(self._dtype)
        if _modes(self._torch) != self._modes:
            _put_modes(self._torch, self._modes)
