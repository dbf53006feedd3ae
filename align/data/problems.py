"""Seeded word problems and expressions with their steps; each belongs to exactly one split.

The split is determined by the hash of the text, independent of the seed, so splits share no
problem.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validation", "test", "live"]
#: A split for each tenth of all problems; simulated users ask those of `live`.
SPLITS: tuple[Split, ...] = (
    "train", "train", "train", "train", "train", "train", "validation", "test", "test", "live",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A computation `a op b`; `note` says what it is for."""

    note: str
    a: int
    op: str
    b: int

    @property
    def value(self) -> int:
        """The right result."""
        return compute(self.a, self.op, self.b)


@dataclass(frozen=True)
class Problem:
    """A question and its steps in order; each step uses the result of the step before."""

    question: str
    steps: tuple[Step, ...]

    @property
    def answer(self) -> int:
        """The right answer."""
        return self.steps[-1].value

    @property
    def split(self) -> Split:
        """The split that this problem belongs to."""
        return split_of(self.question)


def split_of(text: str) -> Split:
    """The split that a generated problem with this text belongs to."""
    return SPLITS[hashlib.sha256(text.encode()).digest()[0] % len(SPLITS)]


def compute(a: int, op: str, b: int) -> int:
    """`a op b` for + - * /; the problems only divide without remainder."""
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[op]


NAMES = (
    "Ana", "Ben", "Chloe", "Dev", "Emma", "Finn", "Grace", "Hugo",
    "Ivy", "Jack", "Kira", "Leo", "Maya", "Noah", "Olga", "Paul",
)  # fmt: skip
THINGS = (
    "apples", "books", "cards", "coins", "marbles",
    "pencils", "shells", "stamps", "stickers", "tickets",
)  # fmt: skip


def problems(seed: int, split: Split) -> Iterator[Problem]:
    """An endless stream of distinct problems of a split, the same for the same seed."""
    rng = random.Random(f"arithmetic {seed}")
    seen: set[str] = set()
    while True:
        problem = _draw(rng)
        if problem.split == split and problem.question not in seen:
            seen.add(problem.question)
            yield problem


def _draw(rng: random.Random) -> Problem:
    name, other = rng.sample(NAMES, 2)
    thing = rng.choice(THINGS)
    return rng.choice(_TEMPLATES)(rng, name, other, thing)


def _boxes(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    boxes, each = rng.randint(2, 9), rng.randint(3, 12)
    given = rng.randint(2, boxes * each - 2)
    return Problem(
        f"{name} buys {boxes} boxes with {each} {thing} in each box. "
        f"{name} gives {given} {thing} to {other}. How many {thing} does {name} have left?",
        (
            Step("Bought", boxes, "*", each),
            Step("Left", boxes * each, "-", given),
        ),
    )


def _gain(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    start, more, lost = rng.randint(12, 60), rng.randint(5, 30), rng.randint(3, 12)
    return Problem(
        f"{name} has {start} {thing}. {other} gives {name} {more} more, and then {name} loses "
        f"{lost} of them. How many {thing} does {name} have now?",
        (
            Step("With the gift", start, "+", more),
            Step("After the loss", start + more, "-", lost),
        ),
    )


def _share(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    friends, each, start = rng.randint(2, 8), rng.randint(2, 9), 0
    more = rng.randint(2, friends * each - 1)
    start = friends * each - more
    return Problem(
        f"{name} has {start} {thing} and finds {more} more. {name} shares all of them equally "
        f"among {friends} friends. How many {thing} does each friend get?",
        (
            Step("All together", start, "+", more),
            Step("Each friend", start + more, "/", friends),
        ),
    )


def _price(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    count, price = rng.randint(2, 9), rng.randint(2, 9)
    paid = rng.randint(count * price + 1, 100)
    return Problem(
        f"{name} buys {count} {thing} for {price} dollars each and pays with {paid} dollars. "
        f"How many dollars does {name} get back?",
        (
            Step("Cost", count, "*", price),
            Step("Change", paid, "-", count * price),
        ),
    )


def _work(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    days, each, extra = rng.randint(3, 9), rng.randint(3, 11), rng.randint(4, 25)
    return Problem(
        f"{name} collects {each} {thing} every day for {days} days. {other} brings {extra} more. "
        f"How many {thing} are there in total?",
        (
            Step("Collected", days, "*", each),
            Step("In total", days * each, "+", extra),
        ),
    )


def _compare(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    first, fewer = rng.randint(20, 60), rng.randint(3, 18)
    return Problem(
        f"{name} has {first} {thing}. {other} has {fewer} fewer than {name}. "
        f"How many {thing} do they have together?",
        (
            Step(f"{other} has", first, "-", fewer),
            Step("Together", first, "+", first - fewer),
        ),
    )


def _expression(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    a, b, c = rng.randint(2, 12), rng.randint(2, 9), rng.randint(2, 40)
    plus = rng.random() < 0.5 or a * b <= c
    return Problem(
        f"What is {a} * {b} {'+' if plus else '-'} {c}?",
        (Step("First", a, "*", b), Step("Then", a * b, "+" if plus else "-", c)),
    )


_TEMPLATES = (_boxes, _gain, _share, _price, _work, _compare, _expression)
