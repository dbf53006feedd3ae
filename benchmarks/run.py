"""The benchmark itself: every case on every engine, repeatedly, each time in a random order."""

from __future__ import annotations

import gc
import logging
import random
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from align.base import Base, load_base
from benchmarks.adapters import AdapterPool
from benchmarks.cases import Case, EngineName
from benchmarks.contender import Contender, Outcome
from benchmarks.errors import BenchmarkError
from benchmarks.machine import machine_facts
from benchmarks.progress import Progress
from benchmarks.reference import Reference
from benchmarks.results import Row
from benchmarks.workload import Workload, check_lengths, make_workload

Peers = Literal["none", "peft", "all"]
WARM_TOKENS = 4


@dataclass(frozen=True)
class Settings:
    """What to measure: `repeats` runs of each case on each engine that takes part in it."""

    base: str
    cases: Sequence[Case]
    repeats: int
    peers: Peers
    vllm_python: Path | None


@dataclass(frozen=True)
class Report:
    """Rows in the order of the cases, and facts of the machine."""

    rows: list[Row]
    machine: dict[str, object]


def measure(settings: Settings) -> Report:
    """Run everything. BenchmarkError if a case does not fit the base or an engine fails."""
    _hush()
    vllm = _vllm_version(settings)
    base = load_base(settings.base)
    longest = _check_all(settings, base)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alignery-bench-")))
        pool = AdapterPool(base, folder)
        contenders = _contenders(settings, base, pool, longest)
        for contender in contenders.values():
            stack.callback(contender.close)
        rows = _rounds(settings, base, pool, contenders)
    return Report(rows, machine_facts(base, vllm))


def taking_part(settings: Settings) -> dict[EngineName, list[Case]]:
    """The cases of each engine; of vLLM none unless its Python is named."""
    wanted: set[EngineName] = {"alignery"}
    if settings.peers != "none":
        wanted |= {"peft", "peft_switching", "merged", "trl"}
    if settings.peers == "all" and settings.vllm_python is not None:
        wanted.add("vllm")
    found: dict[EngineName, list[Case]] = {}
    for case in settings.cases:
        for engine in case.engines:
            if engine in wanted:
                found.setdefault(engine, []).append(case)
    return found


def shuffled(pairs: Sequence[tuple[Case, EngineName]], repeats: int) -> list[int]:
    """Places in `pairs`, all of them `repeats` times over, each time in another order.

    So that a drift of the machine (heat, neighbours) does not fall on one engine. vLLM's runs of
    one set-up stay together, since each set-up starts a process.
    """
    groups: dict[object, list[int]] = {}
    for at, (case, engine) in enumerate(pairs):
        groups.setdefault(case.lora_setup if engine == "vllm" else (engine, case), []).append(at)
    rng = random.Random(0)
    order: list[int] = []
    for _ in range(repeats):
        for group in rng.sample(list(groups.values()), len(groups)):
            order += rng.sample(group, len(group))
    return order


def _rounds(
    settings: Settings, base: Base, pool: AdapterPool, contenders: dict[EngineName, Contender]
) -> list[Row]:
    """Each timed run follows a short one of the same case, so that none pays for being first."""
    rows = [
        Row(case, engine)
        for case in settings.cases
        for engine in case.engines
        if engine in contenders
    ]
    pairs = [(row.case, row.engine) for row in rows]
    order = shuffled(pairs, settings.repeats)
    progress = Progress([(pairs[at][0].name, pairs[at][1]) for at in order])
    reference = Reference(base, pool)
    for at in order:
        row = rows[at]
        contender, repeat = contenders[row.engine], len(row.speeds)
        contender.prepare(row.case)
        _run(contender, row.case, make_workload(row.case, -1 - repeat, base.tokenizer, WARM_TOKENS))
        workload = make_workload(row.case, repeat, base.tokenizer)
        gc.collect()
        outcome = _run(contender, row.case, workload)
        agreement = reference.check(workload, outcome.completions)
        row.add(workload, outcome, agreement)
        progress.run(
            f"{row.case.name} · {row.engine}: {row.speeds[-1]:.1f} tokens/s, "
            f"{agreement.mean:.1%} of tokens right"
        )
    return rows


def _run(contender: Contender, case: Case, workload: Workload) -> Outcome:
    """A run whose every completion has as many tokens as asked for."""
    outcome = contender.run(case, workload)
    wrong = [len(one) for one in outcome.completions if len(one) != workload.tokens]
    if wrong or len(outcome.completions) != len(workload.prompts) * workload.completions:
        raise BenchmarkError(
            f"{case.name} · {contender.name}: {len(outcome.completions)} completions, "
            f"{len(wrong)} of them not of the {workload.tokens} tokens asked for"
        )
    return outcome


def _contenders(
    settings: Settings, base: Base, pool: AdapterPool, longest: int
) -> dict[EngineName, Contender]:
    """The engines that have a case. Peers are imported only where they take part."""
    wanted = taking_part(settings)
    found: dict[EngineName, Contender] = {}
    if "alignery" in wanted:
        from benchmarks.own_engine import OwnEngine

        found["alignery"] = OwnEngine(base, pool)
    if "merged" in wanted:
        from benchmarks.transformers_peer import MergedPeer

        found["merged"] = MergedPeer(base, pool)
    if {"peft", "peft_switching"} & set(wanted):
        from benchmarks.peft_peer import NamesPeer, PeftModels, SwitchingPeer

        models = PeftModels(base, pool)
        found["peft"], found["peft_switching"] = NamesPeer(models), SwitchingPeer(models)
    if "trl" in wanted:
        from benchmarks.trl_peer import TrlPeer

        found["trl"] = TrlPeer(base, pool)
    if "vllm" in wanted and settings.vllm_python is not None:
        from benchmarks.vllm_peer import VllmPeer

        found["vllm"] = VllmPeer(settings.vllm_python, base, pool, longest)
    return found


def _check_all(settings: Settings, base: Base) -> int:
    """The most tokens that a request of any case has, rounded up to a multiple of 256."""
    context = int(base.model.config.max_position_embeddings)
    longest = 0
    for case in settings.cases:
        for repeat in range(-settings.repeats, settings.repeats):
            workload = make_workload(case, repeat, base.tokenizer)
            check_lengths(case, workload, context)
            longest = max(longest, workload.tokens + max(map(len, workload.prompts)))
    return min(context, -(-longest // 256) * 256)


def _vllm_version(settings: Settings) -> str | None:
    if settings.vllm_python is None:
        return None
    from benchmarks.vllm_peer import check_vllm

    return check_vllm(settings.vllm_python)


def _hush() -> None:
    """Warnings of the peers about how they are used here are no news to a reader."""
    warnings.filterwarnings("ignore", module="(peft|trl|transformers|torch).*")
    for name in ("transformers", "trl", "peft", "accelerate", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    quiet: Any = transformers_logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
