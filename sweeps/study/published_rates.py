"""Learning rates from publications, for a method and a base of a known size. Pure.

For SFT a line through the best rates of 34 models: log10(rate) is linear in log10 of the active
parameters and of the rank. `alignery bench priors` fits it and measures how near it comes to the
best of a model that it was not fitted on. For other methods the rates that their documentation
advises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sweeps.errors import SweepError

TABLE = Path(__file__).with_name("published_rates.json")

#: Distances in log10 to the fitted rate, in the order of trials: with two, 97 % of
#: the published curves come within 1 % of their best loss.
OFFSETS = (0.0, -0.3, 0.3, -0.6)
#: The same for stages of few steps. The sweeps say nothing of them; the built-in
#: recipe's 2e-3 for 135 million parameters is three times the fitted rate.
SHORT_OFFSETS = (0.0, 0.5, 0.25, -0.3)
#: Stages of fewer steps than this are short: a quarter of the published runs' length.
SHORT = 195

_Rate = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Prior:
    """A learning rate that is worth a trial, and where it comes from."""

    rate: float
    source: str


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class FittedLine(_Block):
    """log10(rate) = intercept + active_parameters · log10(billions) + rank · log10(rank).

    It holds for models of `smallest` to `largest` parameters and LoRA ranks within `ranks`; beyond
    a bound of `ranks` the rate is that at the bound.
    """

    source: str
    cite: str
    licence: str
    intercept: Annotated[float, Field(gt=-8, lt=0)]
    active_parameters: Annotated[float, Field(gt=-1, lt=1)]
    rank: Annotated[float, Field(gt=-1, lt=1)]
    smallest: Annotated[float, Field(gt=0)]
    largest: float
    ranks: tuple[Annotated[int, Field(ge=1)], int]
    steps: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _ordered(self) -> FittedLine:
        if self.smallest >= self.largest or self.ranks[0] >= self.ranks[1]:
            raise ValueError("bounds are ascending: smallest < largest, ranks: [low, high]")
        return self

    def rate(self, parameters: float, rank: int) -> float:
        """The rate for a model of this many active parameters and a LoRA of this rank."""
        low, high = self.ranks
        exponent = (
            self.intercept
            + self.active_parameters * math.log10(parameters / 1e9)
            + self.rank * math.log10(min(max(rank, low), high))
        )
        return float(10**exponent)


class DocumentedRate(_Block):
    """The rate that a method's documentation advises with LoRA."""

    rate: _Rate
    source: str


class PublishedRates(_Block):
    """The shipped table: a fitted line for SFT, and a documented rate for each method."""

    sft: FittedLine
    documented: dict[str, DocumentedRate]

    def priors(
        self, method: str, parameters: int | None, rank: int, steps: int
    ) -> tuple[Prior, ...]:
        """What is known for a method, best first; empty if nothing is.

        `parameters` are the base's (None: unknown). Nothing is known of models smaller than the
        line reaches: a toy's rate says nothing of a language model's, nor the other way round.
        """
        line, documented = self.sft, self.documented.get(method)
        if parameters is not None and not line.smallest <= parameters <= line.largest:
            return ()
        if method == "sft" and parameters is not None:
            best = math.log10(line.rate(parameters, rank))
            offsets = SHORT_OFFSETS if steps < SHORT else OFFSETS
            return tuple(Prior(float(f"{10 ** (best + by):.1e}"), line.source) for by in offsets)
        return () if documented is None else (Prior(documented.rate, documented.source),)


def read_table(path: Path) -> PublishedRates:
    """The table in a JSON file. SweepError names the file and the field that is wrong."""
    try:
        return PublishedRates.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SweepError(
            f"{path.name}: {field}: {first['msg']}; got {str(first['input'])[:60]!r}"
        ) from None


@cache
def published_rates() -> PublishedRates:
    """The table that Alignery ships."""
    return read_table(TABLE)
