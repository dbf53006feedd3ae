"""Runs vLLM by JSON lines, in a Python of its own that has it and need not have Alignery.

The first argument is a JSON object: `model`, `dtype`, `lora` (keywords of vLLM, or null) and
`limits`. Each line on stdin is a run; each line on stdout an answer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from importlib import import_module
from typing import Any


def main() -> None:
    """Answer runs until stdin ends."""
    threading.Thread(target=_outlive_nobody, args=(os.getppid(),), daemon=True).start()
    # vLLM and what it starts write to stdout: answers go to a copy that only this one knows.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    options = json.loads(sys.argv[1])
    vllm = import_module("vllm")
    engine = vllm.LLM(
        options["model"],
        dtype=options["dtype"],
        enable_prefix_caching=False,
        **options["limits"],
        **({"enable_lora": True, **options["lora"]} if options["lora"] else {}),
    )
    _say(answers, {"version": vllm.__version__})
    numbers: dict[str, int] = {}
    for line in sys.stdin:
        _say(answers, _run(vllm, engine, json.loads(line), numbers))


def _outlive_nobody(parent: int) -> None:
    """End this session, vLLM's own processes included, once the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def _run(vllm: Any, engine: Any, task: dict[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    """`prompts` (ids), `adapters` (folders or null), `tokens` → seconds and completions."""
    requests = [_adapter(folder, numbers) for folder in task["adapters"]]
    prompts = [{"prompt_token_ids": ids} for ids in task["prompts"]]
    sampling = vllm.SamplingParams(temperature=0.0, max_tokens=task["tokens"], ignore_eos=True)
    start = time.perf_counter()
    done = engine.generate(
        prompts,
        sampling,
        use_tqdm=False,
        lora_request=requests if any(requests) else None,
    )
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "completions": [list(one.outputs[0].token_ids) for one in done]}


def _adapter(folder: str | None, numbers: dict[str, int]) -> Any:
    if folder is None:
        return None
    number = numbers.setdefault(folder, len(numbers) + 1)
    return import_module("vllm.lora.request").LoRARequest(f"a{number}", number, folder)


def _say(answers: Any, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
