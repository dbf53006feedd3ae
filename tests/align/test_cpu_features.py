"""ALIGNERY_CPU=plain: what torch, oneDNN and Alignery use of a processor."""

import os
import subprocess
import sys

import pytest

from align.cpu_features import CPU, LIMITS, limit_instructions, march
from align.errors import ModelError

ASKED = """
from align.gpu_process import prepare_process
prepare_process(0)
import torch
from align.precision import precision
torch.ones(8, 8) @ torch.ones(8, 8)
print(torch.backends.cpu.get_cpu_capability(), precision().name)
"""


@pytest.fixture(autouse=True)
def unlimited(monkeypatch):
    for name in (CPU, *LIMITS):
        monkeypatch.setenv(name, "")  # so that the variable of before is restored
        monkeypatch.delenv(name)


def test_a_process_on_a_plain_cpu_computes_in_float32_and_avx2_at_most():
    environment = os.environ | {CPU: "plain"}
    answered = subprocess.run(
        [sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True, check=True
    )
    capability, dtype = answered.stdout.split()
    assert (capability in ("AVX2", "DEFAULT", "NO AVX"), dtype) == (True, "float32")


def test_processes_that_are_started_inherit_the_limits(monkeypatch):
    monkeypatch.setenv(CPU, "plain")
    limit_instructions()
    assert {name: os.environ[name] for name in LIMITS} == LIMITS


def test_nothing_is_limited_without_the_variable():
    limit_instructions()
    assert not LIMITS.keys() & os.environ.keys()
    assert march() == "native"


def test_c_code_is_compiled_for_avx2_where_the_cpu_is_plain(monkeypatch):
    monkeypatch.setenv(CPU, "plain")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert march() == "haswell"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert march() == "native"


def test_an_unknown_value_is_an_error_that_names_what_is_allowed(monkeypatch):
    monkeypatch.setenv(CPU, "avx1")
    with pytest.raises(ModelError, match=r"^ALIGNERY_CPU=avx1: unknown; allowed: plain, or unset$"):
        limit_instructions()


def test_the_command_line_refuses_an_unknown_value_in_a_line():
    refused = subprocess.run(
        [sys.executable, "-c", "import alignery; alignery.main()", "recipe", "list"],
        env=os.environ | {CPU: "Plain"},
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 2
    assert refused.stderr == "error: ALIGNERY_CPU=Plain: unknown; allowed: plain, or unset\n"
