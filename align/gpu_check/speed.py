"""Check `speed`: tokens a second, time to the first token, and steps a second, to compare cards.

No figure is a FAIL: docs/gpu.md has what to expect of a T4.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from align.base import load_base
from align.data.splits import load_split
from align.gpu_check.adapters import mixed_adapters
from align.gpu_check.check import Check, Outcome, Setting, passed
from align.gpu_check.processes import Parent, ProcessFailed, child
from align.gpu_check.prompts import greedy, prompts
from align.gpu_check.recipes import PARENT, recipe
from align.gpu_check.release import release
from align.inference import EngineOptions, GenerationRequest
from align.inference.engine import BankEngine
from align.training.train import train

ROWS, TOKENS = 32, 64
_STEPS = 12
#: Steps that fill caches and compile kernels.
_WARM = 3


def run(setting: Setting) -> Outcome:
    """See the module."""
    generation = measure_engine(setting.base)
    release()
    alone, shared = steps_a_second(setting, 1), steps_of_two(setting)
    figures: dict[str, Any] = {
        **generation,
        "steps_per_second": round(alone, 3),
        "steps_per_second_of_two_sharing": None if shared is None else round(shared, 3),
        "sharing_gain": None if shared is None else round(shared / alone, 3),
        "rows": ROWS,
    }
    return passed(
        f"{generation['base_tokens_per_second']:,.0f} tokens/s, with 16 adapters "
        f"{generation['adapter_tokens_per_second']:,.0f}, at {ROWS} rows; first token after "
        f"{generation['first_token_ms']:.0f} ms; {alone:.2f} steps/s, {_sharing(alone, shared)}",
        **figures,
    )


def _sharing(alone: float, shared: float | None) -> str:
    if shared is None:
        return "two trials do not fit the card"
    worth = "" if shared > alone else "; two trials that share it are no faster than one"
    return f"two sharing {shared:.2f}{worth}"


def steps_of_two(setting: Setting) -> float | None:
    """Optimizer steps a second of two trials together; None if they do not fit the card."""
    try:
        return steps_a_second(setting, 2)
    except ProcessFailed:
        return None


def measure_engine(ref: str) -> dict[str, float]:
    """Tokens a second of the base and of 16 adapters, and milliseconds to the first token."""
    base = load_base(ref)
    adapters = mixed_adapters(base)
    engine = BankEngine(base, EngineOptions(slots=ROWS, slot_tokens=1024, adapters=len(adapters)))
    for name, factors in adapters.items():
        engine.load(name, factors)
    asked = prompts(base, ROWS)
    cases: dict[str, list[str | None]] = {
        "base": [None] * ROWS,
        "adapter": [*adapters] * (ROWS // len(adapters)),
    }
    figures = {}
    for case, names in cases.items():
        greedy(engine, asked, names, _WARM)  # loads the adapters, which may discard graphs
        engine.capture_graphs()
        greedy(engine, asked, names, TOKENS)
        started = time.perf_counter()
        greedy(engine, asked, names, TOKENS)
        seconds = time.perf_counter() - started
        figures[f"{case}_tokens_per_second"] = round(ROWS * TOKENS / seconds, 1)
    waits = [_first_token(engine, prompt) for prompt in asked[:5]]
    return {**figures, "first_token_ms": round(1000 * median(waits), 2)}


def _first_token(engine: BankEngine, prompt: list[int]) -> float:
    """Seconds from a request on an idle engine to its first token."""
    engine.start_anew()
    started = time.perf_counter()
    engine.generate([GenerationRequest(prompt, None, 1, ignore_eos=True)])
    return time.perf_counter() - started


def steps_a_second(setting: Setting, processes: int) -> float:
    """Optimizer steps a second of so many processes together on the card."""
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                child(train_steps, setting.base, setting.folder / f"speed-{processes}-{number}")
            )
            for number in range(processes)
        ]
        for process in children:
            process.receive()  # it is ready for its first step
        for process in children:
            process.send("go")
        return sum(1 / float(process.receive()) for process in children)


def train_steps(parent: Parent, ref: str, folder: Path) -> None:
    """Train the parent's stage; sends when its first step begins, and the seconds of a step."""
    made, times = recipe(ref), [0.0]

    def on_begin() -> None:
        parent.send("ready")
        parent.receive()
        times[0] = time.perf_counter()

    train(
        load_base(ref),
        made.stages[PARENT].resolve(),
        load_split(made, PARENT, "train"),
        folder,
        to=_STEPS,
        steps=_STEPS,
        seed=0,
        on_step=lambda _step, _logs: times.append(time.perf_counter()),
        on_begin=on_begin,
    )
    parent.send(median(after - before for before, after in pairwise(times[_WARM:])))
    parent.receive()


CHECK = Check("speed", run, seconds=75, card_only="of a CPU: see `alignery bench engine`")
