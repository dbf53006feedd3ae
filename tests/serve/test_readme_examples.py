"""What the README says of asking an endpoint, done as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.ray import ray_session
from cluster.registry import open_registry
from serve.server import running_server
from serve.sizes import Sizes
from tests.serve.real_adapters import BASE, installation, real_adapter

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
(ASKING,) = re.findall(r"^## Asking\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", ASKING, flags=re.DOTALL | re.MULTILINE)
PYTHON = [text for language, text in BLOCKS if language == "python"]
CURL = [
    f"curl{one}"
    for language, text in BLOCKS
    if language == "sh"
    for one in re.split(r"^curl", text, flags=re.MULTILINE)[1:]
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An endpoint with the adapters that the README names."""
    folder = tmp_path_factory.mktemp("readme")
    with installation(folder) as settings:
        registry = open_registry(settings)
        for seed, method in enumerate(("sft", "reward")):
            registry.register(f"arithmetic/{method}", real_adapter(folder / method, method, seed))
            registry.promote(f"arithmetic/{method}", 1)
        sizes = Sizes(slots=4, slot_tokens=700, kv_gib=0.5, default_max_tokens=32)
        with ray_session(settings, num_cpus=1), running_server(settings, BASE, sizes=sizes) as url:
            yield url


def done(url: str, *command: str) -> str:
    """What the command prints, with the README's address in it replaced."""
    there = [one.replace("http://127.0.0.1:8000", url) for one in command]
    ran = subprocess.run(there, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_the_openai_client(url: str, code: str) -> None:
    assert done(url, sys.executable, "-c", code).strip()


@pytest.mark.parametrize("command", CURL, ids=range(len(CURL)))
def test_curl(url: str, command: str) -> None:
    said = done(url, "bash", "-ec", command.replace("curl ", "curl --silent --show-error ", 1))
    if '"stream": true' in command:
        assert said.startswith("data: {") and said.endswith("data: [DONE]\n\n")
    else:
        assert "error" not in json.loads(said)


def test_there_are_examples_of_both() -> None:
    assert len(PYTHON) >= 2 and len(CURL) >= 4
