"""The engine's predicted speed as `recipe fit` and `bench engine --predict` show it."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill
from typing import Any

from align.memory.machines import Machine
from align.memory.roofline import ADAPTERS, Prediction, assumptions, predict_engine
from align.memory.shape import ModelShape
from align.recipe.show import columns

WIDTH = 100
_HEAD = ("ROWS", "HOW", "NO ADAPTER", "1 ADAPTER", "16 ADAPTERS", "LAUNCHES A PASS")


def speed_text(shape: ModelShape, machine: Machine, rank: int) -> Iterator[str]:
    """The table of predictions and what they assume, as lines of at most WIDTH characters."""
    predictions = predict_engine(shape, machine, rank)
    yield f"Tokens a second of the engine on a {machine.name}, all rows together:"
    kinds = ("graphs", "eager", "prompts")
    rows = sorted({prediction.rows for prediction in predictions})
    cells = [_line(kind, count, predictions) for kind in kinds for count in rows]
    yield from (f"  {line}" for line in columns([_HEAD, *cells]))
    for sentence in assumptions(machine, rank):
        yield from fill(sentence, WIDTH).splitlines()


def speed_json(shape: ModelShape, machine: Machine, rank: int) -> dict[str, Any]:
    """The same as plain data; speeds in tokens a second, times in seconds."""
    return {
        "gpu": machine.name,
        "dtype": machine.dtype,
        "rank": rank,
        "assumptions": assumptions(machine, rank),
        "predictions": [
            {
                "kind": _kind(prediction),
                "rows": prediction.rows,
                "adapters": prediction.adapters,
                "launches": prediction.counts.launches,
                "bytes": prediction.counts.bytes,
                "operations": prediction.counts.operations,
                "seconds": [prediction.seconds.low, prediction.seconds.high],
                "tokens_per_second": [
                    prediction.tokens_per_second.low,
                    prediction.tokens_per_second.high,
                ],
            }
            for prediction in predict_engine(shape, machine, rank)
        ],
    }


def _kind(prediction: Prediction) -> str:
    """`graphs` and `eager` are decoding."""
    if prediction.prompts:
        return "prompts"
    return "graphs" if prediction.graphs else "eager"


def _line(kind: str, rows: int, predictions: list[Prediction]) -> tuple[str, ...]:
    """The predictions of a kind and a number of rows, by the number of adapters."""
    chosen = {
        prediction.adapters: prediction
        for prediction in predictions
        if prediction.rows == rows and _kind(prediction) == kind
    }
    speeds = [
        f"{chosen[adapters].tokens_per_second.low:,.0f} to "
        f"{chosen[adapters].tokens_per_second.high:,.0f}"
        for adapters in ADAPTERS
    ]
    launches = " / ".join(f"{chosen[adapters].counts.launches:,}" for adapters in ADAPTERS)
    return (str(rows), kind, *speeds, launches)
