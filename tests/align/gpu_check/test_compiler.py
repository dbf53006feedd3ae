"""TRL's log-probabilities against plain torch. On a CPU TRL folds its tiles in torch."""

from subprocess import CalledProcessError

import pytest
import torch

from align.gpu_check import compiler
from align.gpu_check.check import Setting
from align.gpu_check.compiler import chunked_errors, selective_errors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_and_gradients_are_those_of_torch(dtype: torch.dtype) -> None:
    bounds = compiler._ERROR[str(dtype).removeprefix("torch.")]
    errors = chunked_errors("cpu", dtype)
    assert all(0 <= error <= bound for error, bound in zip(errors, bounds, strict=True))
    assert all(error <= 1e-5 for error in selective_errors("cpu"))


def test_a_kernel_that_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from trl.kernels import ChunkedLogProbFunction

    whole = ChunkedLogProbFunction.apply

    def off(*arguments: object) -> tuple[torch.Tensor]:
        return (whole(*arguments)[0] * 1.05,)

    monkeypatch.setattr(ChunkedLogProbFunction, "apply", off)
    values, gradients = chunked_errors("cpu", torch.float32)
    assert values > 1e-2 and gradients > 1e-2


def ran(monkeypatch: pytest.MonkeyPatch, tmp_path, **replaced):
    monkeypatch.setattr("transformers.utils.is_triton_available", lambda: True)
    for name, function in replaced.items():
        monkeypatch.setattr(compiler, name, function)
    return compiler.run(Setting("tiny-random", "cpu", tmp_path))


def test_the_verdict_follows_the_errors(monkeypatch, tmp_path) -> None:
    assert ran(monkeypatch, tmp_path).verdict == "PASS"
    outcome = ran(monkeypatch, tmp_path, chunked_errors=lambda *_: (0.0, float("nan")))
    assert outcome.verdict == "FAIL"
    assert "chunked kernel" in outcome.sentence


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Failed to find C compiler. Please specify via CC environment variable"),
        CalledProcessError(1, ["/usr/bin/gcc", "main.c"]),  # no Python.h
    ],
)
def test_a_missing_compiler_is_told_with_what_to_install(monkeypatch, tmp_path, error) -> None:
    def failing(*_):
        raise error

    outcome = ran(monkeypatch, tmp_path, chunked_errors=failing)
    assert outcome.verdict == "FAIL"
    assert "apt install gcc python3-dev" in outcome.sentence


def test_without_triton_it_fails(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("transformers.utils.is_triton_available", lambda: False)
    outcome = compiler.run(Setting("tiny-random", "cpu", tmp_path))
    assert outcome.verdict == "FAIL" and "CUDA build" in outcome.sentence


def test_another_error_is_not_taken_for_a_missing_compiler(monkeypatch, tmp_path) -> None:
    def failing(*_):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side assert"):
        ran(monkeypatch, tmp_path, chunked_errors=failing)
