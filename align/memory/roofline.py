"""The engine's expected tokens a second on a GPU, from the counts of its forward passes.

A roofline (Williams et al., doi 10.1145/1498765.1498785) with the cost of kernel launches: the card
needs the longer of moving a pass's bytes and computing its products, and a gap for each kernel; the
host needs its time for each launch (none where a CUDA graph is replayed) and for each row. Launches
are queued while the card works, so the slower sets the pace; the time for rows is added, although
the engine queues most steps ahead. The shares and costs are assumptions with a low and a high
value, so that the results are ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

from align.memory.counts import HALF, Counts, decode_step, read_prompts
from align.memory.duration import SPEEDS, Range, Speed
from align.memory.machines import Machine
from align.memory.shape import ModelShape

#: Rows of the decode steps and adapters in the bank that are shown.
ROWS, ADAPTERS = (1, 8, 32), (0, 1, 16)
#: Positions that a row attends to, and tokens of each prompt.
LONGEST, PROMPT = 256, 60
#: The share of a card's memory bandwidth that kernels reach.
BANDWIDTH = Range(0.70, 0.85)
#: Seconds of the host for a launch, and seconds between two kernels on the card.
LAUNCH, GAP = Range(5e-6, 8e-6), Range(1.5e-6, 2.5e-6)
#: Seconds of the host for a row of a step, after its token is known: bookkeeping and detokenising.
ROW = Range(10e-6, 30e-6)


@dataclass(frozen=True)
class Prediction:
    """Tokens a second of all rows together. `rows` decode, or so many prompts are read at a time.

    `graphs` is whether decode steps are replayed as CUDA graphs; prompts never are.
    """

    rows: int
    adapters: int
    graphs: bool
    prompts: bool
    counts: Counts
    seconds: Range
    tokens_per_second: Range


def predict_engine(shape: ModelShape, machine: Machine, rank: int) -> list[Prediction]:
    """Decoding with and without graphs and reading prompts, with adapters of `rank`."""
    predictions = []
    for adapters in ADAPTERS:
        ranks = [rank] * adapters
        for rows in ROWS:
            step = decode_step(shape, rows, LONGEST, ranks) + _likeliest(shape, rows)
            for graphs in (True, False):
                seconds = pass_seconds(step, machine, graphs) + ROW * rows
                predictions.append(_of(rows, adapters, graphs, False, step, seconds, rows))
            prompts = [PROMPT] * rows
            read = read_prompts(shape, prompts, ranks) + _likeliest(shape, rows)
            seconds = pass_seconds(read, machine, graphs=False) + ROW * rows
            predictions.append(_of(rows, adapters, False, True, read, seconds, sum(prompts)))
    return predictions


def pass_seconds(counts: Counts, machine: Machine, graphs: bool) -> Range:
    """Seconds of a forward pass, without the host's work on its rows."""
    speed = SPEEDS[machine.name]
    low = _card(counts, speed, BANDWIDTH.high, speed.fast) + counts.launches * GAP.low
    high = _card(counts, speed, BANDWIDTH.low, speed.slow) + counts.launches * GAP.high
    if graphs:
        return Range(low, high)
    return Range(max(low, counts.launches * LAUNCH.low), max(high, counts.launches * LAUNCH.high))


def _card(counts: Counts, speed: Speed, bandwidth: float, share: float) -> float:
    moved = counts.bytes / (bandwidth * speed.bandwidth)
    return max(moved, counts.operations / (share * speed.operations))


def _likeliest(shape: ModelShape, rows: int) -> Counts:
    """Greedy sampling."""
    return Counts(1, HALF * rows * shape.vocab)


def _of(
    rows: int,
    adapters: int,
    graphs: bool,
    prompts: bool,
    counts: Counts,
    seconds: Range,
    tokens: int,
) -> Prediction:
    speed = Range(tokens / seconds.high, tokens / seconds.low)
    return Prediction(rows, adapters, graphs, prompts, counts, seconds, speed)


def assumptions(machine: Machine, rank: int) -> list[str]:
    """What the predictions assume, in sentences."""
    speed = SPEEDS[machine.name]
    giga, tera = speed.bandwidth / 1e9, speed.operations / 1e12
    return [
        f"Predicted, not measured: adapters of rank {rank} on all linears, {machine.dtype}, "
        f"greedy, {LONGEST} positions a row, prompts of {PROMPT} tokens.",
        f"Memory at {BANDWIDTH.low:.0%} to {BANDWIDTH.high:.0%} of {giga:g} GB/s, products at "
        f"{speed.slow:.0%} to {speed.fast:.0%} of {tera:g} tera-operations a second.",
        f"A launch costs the host {_micro(LAUNCH)}, a kernel leaves the card idle for "
        f"{_micro(GAP)}, a row of a step costs the host {_micro(ROW)}.",
        "Not counted: HTTP, sampling other than greedy, other work on the card.",
    ]


def _micro(cost: Range) -> str:
    return f"{cost.low * 1e6:g} to {cost.high * 1e6:g} µs"
