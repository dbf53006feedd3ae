"""`alignery bench engine` on the tiny base, with the real engines and a stand-in for vLLM."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import alignery
from benchmarks.results import RATIOS

#: What vLLM offers to the worker, writing zeros; a prompt that ends in 0 kills it.
FAKE_VLLM = """
from types import SimpleNamespace
__version__ = "9.9"
class SamplingParams:
    def __init__(self, temperature, max_tokens, ignore_eos):
        assert temperature == 0.0 and ignore_eos
        self.tokens = max_tokens
class LLM:
    def __init__(self, model, **options):
        print("vLLM talks on stdout")
        self.lora = options.get("enable_lora", False)
        assert options["enable_prefix_caching"] is False and {dies} is False
    def generate(self, prompts, sampling, use_tqdm, lora_request):
        assert self.lora == (lora_request is not None)
        assert not self.lora or all(one.path for one in lora_request)
        one = SimpleNamespace(outputs=[SimpleNamespace(token_ids=[0] * sampling.tokens)])
        return [one for _ in prompts]
"""
FAKE_LORA = """
class LoRARequest:
    def __init__(self, name, number, path):
        self.path = path
"""


def bench(*arguments: str):
    return CliRunner().invoke(alignery.app, ["bench", "engine", "--quick", *arguments])


@pytest.fixture
def vllm_python(tmp_path):
    """A Python that has something called vLLM; `vllm_python(dies=True)` cannot start it."""

    def make(dies: bool = False) -> str:
        packages = tmp_path / "packages"
        (packages / "vllm" / "lora").mkdir(parents=True)
        (packages / "vllm-9.9.dist-info").mkdir()
        metadata = "Metadata-Version: 2.1\nName: vllm\nVersion: 9.9\n"
        (packages / "vllm-9.9.dist-info" / "METADATA").write_text(metadata)
        fake = FAKE_VLLM.replace("{dies}", str(dies))
        (packages / "vllm" / "__init__.py").write_text(fake)
        (packages / "vllm" / "lora" / "__init__.py").touch()
        (packages / "vllm" / "lora" / "request.py").write_text(FAKE_LORA)
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        return str(python)

    return make


def test_json_has_rows_and_ratios_of_every_installed_engine():
    result = bench("--only", "none,k1,k16,overcommit,resident64,grpo", "--json", "--tokens", "6")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    rows = {(row["case"], row["engine"]): row for row in shown["rows"]}
    assert set(rows) == {
        ("none", "alignery"), ("none", "merged"), ("k1", "alignery"), ("k1", "peft"),
        ("k1", "merged"), ("k16", "alignery"), ("k16", "peft"), ("k16", "peft_switching"),
        ("overcommit", "alignery"), ("resident64", "alignery"), ("grpo", "alignery"),
        ("grpo", "trl"),
    }  # fmt: skip
    own = rows["k16", "alignery"]
    assert (own["adapters"], own["ranks"], own["requests"], own["tokens"]) == (16, [8], 32, 6)
    assert all(row["outputs_right"] and row["tokens_per_second"] > 0 for row in shown["rows"])
    assert rows["grpo", "trl"]["requests"] == 16
    assert rows["overcommit", "alignery"]["longest_adapter_wait"] > 0
    assert set(shown["ratios"]) == set(RATIOS)
    missing = {name for name, value in shown["ratios"].items() if value is None}
    assert missing == {"vs_vllm_16", "none_vs_vllm", "single_vs_vllm", "rank48_vs_rank8"}
    assert shown["machine"]["versions"]["vllm"] is None
    assert shown["machine"]["base"] == "tiny-random" and shown["machine"]["threads"] >= 1


def test_table_shows_ratios_beside_their_targets_and_progress_goes_to_stderr():
    result = bench("--only", "k16,k1", "--peers", "none", "--tokens", "4")
    assert result.exit_code == 0, result.stderr
    line = next(line for line in result.stdout.splitlines() if line.startswith("k16_vs_k1"))
    assert line.split()[2:4] == ["0.80", "0.95"]
    assert "left" in result.stderr and "left" not in result.stdout


def test_a_peer_that_writes_something_else_is_named_and_in_no_ratio(vllm_python):
    result = bench("--only", "none,k1,k16", "--vllm-python", vllm_python(), "--json")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "error: wrong outputs: none · vllm, k1 · vllm, k16 · vllm; "
        "their speeds mean nothing and are in no ratio"
    )
    shown = json.loads(result.stdout)
    assert shown["ratios"]["vs_vllm_16"] is None and shown["ratios"]["vs_peft_16"] > 0
    assert shown["machine"]["versions"]["vllm"] == "9.9"
    wrong = {row["engine"] for row in shown["rows"] if not row["outputs_right"]}
    assert wrong == {"vllm"}


def test_a_vllm_that_does_not_start_is_one_clear_error(vllm_python):
    result = bench("--only", "none", "--vllm-python", vllm_python(dies=True))
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "error: vLLM gave no answer: AssertionError"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "k17"], "no case 'k17'"),
        (["--vllm-python", "nowhere"], "not a Python that has vLLM"),
        (["--vllm-python", sys.executable], "not a Python that has vLLM"),
        (["--vllm-python", "python", "--peers", "peft"], "leave one of them out"),
        (["--base", "./nowhere"], "no such folder"),
        (["--only", "none", "--tokens", "2048"], "the base has room for 2048"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_bad_options_are_one_clear_error(arguments, message):
    result = bench(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")


def test_the_worker_needs_nothing_of_this_project():
    worker = Path(alignery.__file__).parent / "benchmarks" / "vllm_worker.py"
    lines = worker.read_text(encoding="utf-8").splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    assert not [line for line in imports if "align" in line or "benchmarks" in line]
