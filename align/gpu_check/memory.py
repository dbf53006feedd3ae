"""Check `memory`: `recipe fit` is right, memory returns to its floor, running out is survived.

A process of its own trains three trials, one after another. What it takes of the card beyond
torch's allocator is its context, and what the allocator reserves beyond tensors is fragmentation:
with both `recipe fit` predicts for this card from then on.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from align.base import load_base
from align.data.splits import load_split
from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.gpu_check.facts import card
from align.gpu_check.processes import Parent, child
from align.gpu_check.recipes import PARENT, STEPS, recipe
from align.gpu_check.release import release
from align.memory.fit import fit_stages
from align.memory.machines import GIB, GPUS, Machine
from align.memory.peak import Peak
from align.memory.shape import read_shape
from align.precision import apply_forced_card, precision
from align.training.train import train
from align.training.train_record import OutOfMemory, read_record
from align.training.trial import Trial

_TRIALS = 3
#: Bytes by which reserved memory may grow from trial to trial: more than a segment of 20 MiB.
_GROWTH = 24 * 2**20
#: Share by which tensors may exceed their prediction. Overheads are measured, not judged.
_EXCESS = 0.1
#: Share of a step's own memory that is left to it, so that it runs out and half of it does not.
_ROOM = 0.75


@dataclass(frozen=True)
class Process:
    """Bytes of a process that trained: `context` beside the allocator, and the allocator's.

    `floors` are what is reserved after each trial.
    """

    context: int
    allocated: int
    reserved: int
    floors: tuple[int, ...]

    @property
    def total(self) -> int:
        """Bytes of the card at the peak."""
        return self.context + self.reserved

    @property
    def fragmentation(self) -> float:
        """Reserved beyond tensors at the peak, as a share of the tensors."""
        return self.reserved / self.allocated - 1 if self.allocated else 0.0


def run(setting: Setting) -> Outcome:
    """See the module."""
    retries = recover(setting)
    if not setting.on_card:
        return judge_recovery(retries)
    process, peak = measure(setting), predict(setting)
    figures = {
        "predicted": peak.total,
        "measured": process.total,
        "context": process.context,
        "predicted_tensors": peak.tensors,
        "allocated": process.allocated,
        "reserved": process.reserved,
        "fragmentation": round(process.fragmentation, 4),
        "floors": list(process.floors),
    }
    problems = memory_problems(process, peak.tensors)
    recovered = judge_recovery(retries)
    if recovered.verdict == "FAIL":
        problems.append(recovered.sentence)
    if problems:
        return failed("; ".join(problems), **figures, **recovered.figures)
    return passed(
        f"tensors take {process.allocated / GIB:.2f} of {peak.tensors / GIB:.2f} GiB predicted; "
        f"context {process.context / GIB:.2f} GiB, fragmentation {process.fragmentation:.0%}; its "
        f"floor holds; {recovered.sentence}",
        **figures,
        **recovered.figures,
    )


def memory_problems(process: Process, tensors: int) -> list[str]:
    """What is wrong about a process's memory, in sentences; `tensors` are predicted bytes."""
    problems = []
    if process.allocated > tensors * (1 + _EXCESS):
        problems.append(
            f"a trial's tensors took {process.allocated / GIB:.2f} GiB where `recipe fit` predicts "
            f"{tensors / GIB:.2f}: let fewer trials run at a time (--max-concurrent)"
        )
    if process.floors[-1] > process.floors[-2] + _GROWTH:
        grown = (process.floors[-1] - process.floors[-2]) / 2**20
        problems.append(f"memory grows by {grown:.0f} MiB from trial to trial: a leak, report it")
    return problems


def measure(setting: Setting) -> Process:
    """Train in a process of its own, and count what it takes."""
    release()
    before, _ = torch.cuda.mem_get_info()
    with child(train_trials, setting.base, setting.folder / "memory") as process:
        counted = process.receive()
        after, _ = torch.cuda.mem_get_info()
    return Process(
        context=max(0, before - after - counted["reserved_now"]),
        allocated=counted["allocated"],
        reserved=counted["reserved"],
        floors=tuple(counted["floors"]),
    )


def train_trials(parent: Parent, base: str, folder: Path) -> None:
    """Train trials one after another, send their figures, and wait to be ended."""
    made = recipe(base, longest_row(base))
    allocated, reserved, floors = 0, 0, []
    for number in range(_TRIALS):
        trial_folder = folder / str(number)
        trial = Trial(made, PARENT, {}, parent=None, reward_model=None, folder=trial_folder)
        trial.advance(STEPS)
        del trial
        allocated = max(allocated, torch.cuda.max_memory_allocated())
        reserved = max(reserved, torch.cuda.max_memory_reserved())
        gc.collect()
        torch.cuda.empty_cache()
        floors.append(torch.cuda.memory_reserved())
    parent.send(
        {
            "allocated": allocated,
            "reserved": reserved,
            "floors": floors,
            "reserved_now": torch.cuda.memory_reserved(),
        }
    )
    parent.receive()


def longest_row(ref: str) -> int:
    """Tokens of the longest row that the parent's stage trains on."""
    tokenizer = load_base(ref).tokenizer
    return max(
        len(tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False))
        for row in load_split(recipe(ref), PARENT, "train")
    )


def predict(setting: Setting) -> Peak:
    """What `recipe fit` predicts for the trials of `train_trials`, with assumed overheads."""
    facts = card()
    assert facts is not None
    machine = GPUS.get(facts["name"]) or Machine(facts["name"], facts["memory"], _dtype())
    made = recipe(setting.base, longest_row(setting.base))
    fits = fit_stages(made, [PARENT], read_shape(setting.base), machine)
    return fits[0].first.peak


def _dtype() -> Any:
    return precision().name


def recover(setting: Setting) -> list[OutOfMemory]:
    """Train a stage that runs out of memory after its first step; returns its retries."""
    stage = recipe(setting.base).stages[PARENT].resolve()
    rows = load_split(recipe(setting.base), PARENT, "train")
    base, first = load_base(setting.base), [True]

    def on_step(_step: int, _logs: dict[str, float]) -> None:
        if first:
            first.clear()
            leave_little() if setting.on_card else _run_out()

    try:
        checkpoint = train(
            base, stage, rows, setting.folder / "out-of-memory", to=3, steps=3, seed=0,
            on_step=on_step,
        )  # fmt: skip
    finally:
        if setting.on_card:
            torch.cuda.set_per_process_memory_fraction(1.0)
            apply_forced_card()
    return read_record(checkpoint).out_of_memory


def _run_out() -> None:
    raise torch.OutOfMemoryError("out of memory, raised by alignery gpu check")


def leave_little() -> None:
    """Limit this process to what it holds and a part of what its last step needed beside."""
    needed = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    torch.cuda.empty_cache()
    room = torch.cuda.memory_allocated() + _ROOM * needed
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    torch.cuda.set_per_process_memory_fraction(room / total)


def judge_recovery(retries: list[OutOfMemory]) -> Outcome:
    """Whether the run went on with smaller micro-batches and the same rows in a step."""
    figures = {"retries": [[*retry.before, *retry.after] for retry in retries]}
    if not retries:
        return failed("no step ran out of memory though it was made to: report it", **figures)
    first, last = retries[0], retries[-1]
    if first.before[0] * first.before[1] != last.after[0] * last.after[1]:
        return failed(
            f"out of memory changed the rows of a step: {first.before} became {last.after}; a bug",
            **figures,
        )
    return passed(
        f"out of memory was survived: micro-batches of {last.after[0]} in place of "
        f"{first.before[0]} rows",
        **figures,
    )


CHECK = Check("memory", run, seconds=60, cpu_seconds=6)
