"""Check `graphs`: decode steps replayed as CUDA graphs give what eager steps give.

Three times: as loaded, after the bank has grown for a taller adapter, which makes all graphs
invalid, and after an adapter was replaced in its slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from align.base import Base, load_base
from align.gpu_check.adapters import random_factors
from align.gpu_check.agreement import TOLERANCE, Agreement, compare
from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.gpu_check.prompts import greedy, prompts
from align.inference import Completion, EngineOptions
from align.inference.engine import BankEngine
from align.memory.machines import GIB
from align.precision import precision

_OPTIONS = EngineOptions(slots=8, slot_tokens=512, adapters=4)
_TOKENS = 24


def run(setting: Setting) -> Outcome:
    """See the module."""
    base = load_base(setting.base)
    eager = BankEngine(base, replace(_OPTIONS, cuda_graphs=False))
    before = torch.cuda.memory_reserved()
    replayed = BankEngine(base, _OPTIONS)
    captured = replayed.capture_graphs()
    built = torch.cuda.memory_reserved()
    agreements = compare_rounds(base, eager, replayed, TOLERANCE[precision().name])
    in_the_end = replayed.capture_graphs()
    reserved = torch.cuda.memory_reserved() - before
    figures: dict[str, Any] = {
        "reserved_at_start": built - before,
        "reserved_in_use": reserved,
        "graphs": in_the_end.graphs,
        **{name: vars(agreement) for name, agreement in agreements.items()},
    }
    # In the end each shape has a graph with adapters beside that without.
    if setting.on_card and in_the_end.graphs < max(2, 2 * captured.graphs):
        return failed(
            f"decode steps could not be captured ({in_the_end.failure or 'no reason given'}): "
            "serve with --no-cuda-graphs, and report it with the JSON",
            **figures,
        )
    if wrong := [name for name, agreement in agreements.items() if agreement.wrong]:
        return failed(
            f"replayed steps differ from eager ones {', '.join(wrong)}: serve with "
            "--no-cuda-graphs, and report it with the JSON",
            **figures,
        )
    largest = max(agreement.largest for agreement in agreements.values())
    return passed(
        f"replayed equals eager within {largest:.0e}, after growth and reload too; the engine "
        f"reserves {reserved / GIB:.2f} GiB",
        **figures,
    )


def compare_rounds(
    base: Base, eager: BankEngine, replayed: BankEngine, tolerance: float
) -> dict[str, Agreement]:
    """How two engines agree in each of the three rounds."""
    both = (eager, replayed)
    rounds: dict[str, Agreement] = {}
    asked = prompts(base, 6)
    for engine in both:
        engine.load("small", random_factors(base, 4, seed=1))
        engine.load("other", random_factors(base, 4, seed=2))
    rounds["as loaded"] = _round(both, asked, ["small", "other", None] * 2, tolerance)
    for engine in both:
        engine.load("tall", random_factors(base, 64, seed=3))
    rounds["after growth"] = _round(both, asked, ["tall", "small", "other"] * 2, tolerance)
    for engine in both:
        engine.unload("small")
        engine.load("small", random_factors(base, 8, seed=4))
    rounds["after a reload"] = _round(both, asked, ["small", "tall", None] * 2, tolerance)
    return rounds


def _round(
    engines: Sequence[BankEngine],
    asked: Sequence[Sequence[int]],
    names: Sequence[str | None],
    tolerance: float,
) -> Agreement:
    first, second = (_answers(engine, asked, names) for engine in engines)
    return compare(first, second, tolerance)


def _answers(
    engine: BankEngine, asked: Sequence[Sequence[int]], names: Sequence[str | None]
) -> list[Completion]:
    greedy(engine, asked, names, 1)  # loads the adapters, which may discard graphs
    engine.capture_graphs()
    engine.start_anew()
    return greedy(engine, asked, names, _TOKENS)


CHECK = Check("graphs", run, seconds=20, card_only="CUDA graphs need a card")
