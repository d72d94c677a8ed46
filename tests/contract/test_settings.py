"""What a plugin could set for everybody is put back, whatever it is."""

from __future__ import annotations

import builtins
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
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from fusionbench.contract.isolation import contained
from fusionbench.contract.settings import GlobalState, torch_defaults_kept


def umask():
    value = os.umask(0o077)
    os.umask(value)
    return value


def zone():
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


def chdir():
    os.chdir("/")


CHANGES = {
    "folder": (chdir, lambda: str(Path.cwd())),
    "umask": (lambda: os.umask(0o777), umask),
    "environment": (lambda: os.environ.update(FUSION="1", HOME="/nowhere"), lambda: dict(os.environ)),
    "removed variable": (lambda: os.environ.pop("PATH"), lambda: dict(os.environ)),
    "time zone": (zone, lambda: (time.tzname, os.environ.get("TZ"))),
    "recursion": (lambda: sys.setrecursionlimit(3000), sys.getrecursionlimit),
    "interruptions": (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), lambda: signal.getsignal(signal.SIGINT)),
    "termination": (lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN), lambda: signal.getsignal(signal.SIGTERM)),
    "alarm": (lambda: signal.alarm(600), lambda: signal.getitimer(signal.ITIMER_REAL)[0]),
    "blocked signals": (
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]),
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []),
    ),
    "warnings": (lambda: warnings.simplefilter("error"), lambda: list(warnings.filters)),
    "silenced warnings": (lambda: warnings.simplefilter("ignore"), lambda: list(warnings.filters)),
    "showing warnings": (lambda: setattr(warnings, "showwarning", print), lambda: warnings.showwarning),
    "level of logs": (lambda: logging.getLogger().setLevel(1), lambda: logging.getLogger().level),
    "no logs": (lambda: logging.disable(logging.CRITICAL), lambda: logging.root.manager.disable),
    "handlers of logs": (logging.getLogger().handlers.clear, lambda: list(logging.getLogger().handlers)),
    "locale": (lambda: locale.setlocale(locale.LC_ALL, "C"), lambda: locale.setlocale(locale.LC_ALL)),
    "path": (lambda: sys.path.insert(0, "/evil"), lambda: list(sys.path)),
    "standard output": (lambda: setattr(sys, "stdout", None), lambda: sys.stdout),
    "standard error": (lambda: setattr(sys, "stderr", None), lambda: sys.stderr),
    "hook of errors": (lambda: setattr(sys, "excepthook", print), lambda: sys.excepthook),
    "hook of threads": (lambda: setattr(threading, "excepthook", print), lambda: threading.excepthook),
    "digits": (lambda: sys.set_int_max_str_digits(0), sys.get_int_max_str_digits),
    "switching": (lambda: sys.setswitchinterval(1.0), sys.getswitchinterval),
    "rubbish": (gc.disable, gc.isenabled),
    "decimals": (lambda: setattr(decimal.getcontext(), "prec", 3), lambda: decimal.getcontext().prec),
    "sockets": (lambda: socket.setdefaulttimeout(0.01), socket.getdefaulttimeout),
    "temporary folder": (lambda: setattr(tempfile, "tempdir", "/evil"), lambda: tempfile.tempdir),
    "built-in function": (lambda: setattr(builtins, "sorted", list), lambda: builtins.sorted),
    "leaving": (lambda: setattr(os, "_exit", print), lambda: os._exit),
    "random": (random.random, random.getstate),
    "random numbers of numpy": (lambda: np.random.seed(1), lambda: list(np.random.get_state()[1])),  # noqa: NPY002
    "errors of numpy": (lambda: np.seterr(all="raise"), np.geterr),
    "printing of numpy": (lambda: np.set_printoptions(precision=1), lambda: np.get_printoptions()["precision"]),
    "random numbers of torch": (lambda: torch.manual_seed(1), lambda: torch.get_rng_state().tolist()),
    "device": (lambda: torch.set_default_device("meta"), lambda: (torch.get_default_device(), torch.empty(1).device)),
    "type": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "inference": (lambda: torch.inference_mode().__enter__(), torch.is_inference_mode_enabled),
    "determinism": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        torch.get_deterministic_debug_mode,
    ),
    "anomalies": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), lambda: torch.is_autocast_enabled("cpu")),
    "precision": (lambda: torch.set_float32_matmul_precision("medium"), torch.get_float32_matmul_precision),
    "denormals": (
        lambda: torch.set_flush_denormal(True),
        lambda: (torch.full((1,), 5e-324, dtype=torch.float64) * 1.0).tolist() == [0],
    ),
    "threads": (lambda: torch.set_num_threads(3), torch.get_num_threads),
    "cudnn": (lambda: setattr(torch.backends.cudnn, "benchmark", True), lambda: torch.backends.cudnn.benchmark),
    "kernels": (lambda: torch.backends.cuda.enable_flash_sdp(False), torch.backends.cuda.flash_sdp_enabled),
    "hooks of all modules": (
        lambda: torch.nn.modules.module.register_module_forward_hook(lambda *_: torch.zeros(1)),
        lambda: torch.nn.Identity()(torch.ones(2, 1)).shape,
    ),
    "a mode that is not left": (
        lambda: torch.overrides.TorchFunctionMode().__enter__(),
        torch._C._len_torch_function_stack,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_put_back(name):
    change, look = CHANGES[name]
    before = look()
    with contained("evil"):
        change()
    assert look() == before


def test_all_changes_together_are_put_back_and_one_that_cannot_be_keeps_no_other_from_it(monkeypatch):
    looks = {n: look for n, (_, look) in CHANGES.items()}
    before = {n: look() for n, look in looks.items()}
    with contained("evil"):
        for name, (change, _) in CHANGES.items():
            if name not in (
                "recursion",
                "built-in function",
                "a mode that is not left",
            ):  # the others could not be made
                change()
    assert {n: look() for n, look in looks.items()} == before


def test_a_low_recursion_limit_does_not_keep_the_rest_from_being_put_back():
    def lowest():
        for limit in range(20, 2000):
            try:
                sys.setrecursionlimit(limit)
            except RecursionError:
                continue
            return

    before, folder = sys.getrecursionlimit(), str(Path.cwd())
    with contained("evil"):
        os.chdir("/")
        lowest()
    assert (sys.getrecursionlimit(), str(Path.cwd())) == (before, folder)


def test_filters_that_a_library_adds_for_its_own_warnings_stay():
    class OwnWarning(UserWarning):
        pass

    with warnings.catch_warnings():
        with contained("library"):
            warnings.filterwarnings("ignore", category=OwnWarning)
            warnings.filterwarnings("error", category=OwnWarning)
        assert [f[0] for f in warnings.filters if f[2] is OwnWarning] == ["ignore"]


def test_another_thread_leaves_the_signals_alone():
    problems = []

    def work():
        try:
            GlobalState().restore()
        except Exception as problem:  # noqa: BLE001 - whatever it is fails the test
            problems.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert problems == []


def test_torchs_defaults_are_put_back_after_a_call_of_a_model_also_when_it_raises():
    for ends in (False, True):
        with suppress(ZeroDivisionError), torch_defaults_kept():
            torch.set_default_device("meta")
            torch.set_default_dtype(torch.float64)
            if ends:
                raise ZeroDivisionError
        assert torch.zeros(1).device == torch.device("cpu")
        assert torch.zeros(1).dtype == torch.float32


def test_a_default_device_that_was_there_before_stays():
    torch.set_default_device("meta")
    try:
        with torch_defaults_kept():
            torch.set_default_device("cpu")
        assert torch.zeros(1).device == torch.device("meta")
    finally:
        torch.set_default_device(None)
