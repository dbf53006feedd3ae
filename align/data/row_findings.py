"""Findings on a stage's rows, as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from align.data.numbered_rows import number_of
from align.data.user_rows import Row

#: How many rows a finding shows, and how many characters of their prompts.
EXAMPLES, PROMPT_LENGTH = 3, 40


class RowExample(BaseModel):
    """A row: its number in the user's file (None: it is generated), and its prompt's beginning."""

    model_config = ConfigDict(frozen=True)

    number: int | None
    prompt: str


class RowFinding(BaseModel):
    """What `text` says of `count` rows, with the first of them as examples."""

    model_config = ConfigDict(frozen=True)

    text: str
    count: int
    examples: tuple[RowExample, ...] = ()

    def line(self) -> str:
        """The finding as a single line."""
        shown = [
            f"{'' if example.number is None else f'row {example.number} '}{example.prompt!r}"
            for example in self.examples
        ]
        if not shown:
            return self.text
        return f"{self.text} ({', '.join(shown)}{', …' if self.count > len(shown) else ''})"


class RowAccount(BaseModel):
    """The rows of a stage: how many each split holds, and what is remarkable about them."""

    model_config = ConfigDict(frozen=True)

    stage: str
    splits: dict[str, int]
    findings: tuple[RowFinding, ...] = ()

    def lines(self) -> list[str]:
        """A line for each finding."""
        return [finding.line() for finding in self.findings]


def account_lines(accounts: Mapping[str, RowAccount]) -> list[str]:
    """The findings of several stages, each with its stage; those of several stages once."""
    stages_by_line: dict[str, list[str]] = {}
    for stage, account in accounts.items():
        for line in account.lines():
            stages_by_line.setdefault(line, []).append(stage)
    return [f"{', '.join(stages)}: {line}" for line, stages in stages_by_line.items()]


def finding(text: str, rows: Sequence[Row]) -> RowFinding:
    """A finding on these rows; those with the lowest numbers are the examples."""
    ordered = sorted(rows, key=lambda row: number_of(row) or 0)
    return RowFinding(text=text, count=len(rows), examples=tuple(map(_example, ordered[:EXAMPLES])))


def _example(row: Row) -> RowExample:
    text = " ".join(str(row["prompt"][-1].get("content")).split())
    shortened = text if len(text) <= PROMPT_LENGTH else f"{text[: PROMPT_LENGTH - 1]}…"
    return RowExample(number=number_of(row), prompt=shortened)
