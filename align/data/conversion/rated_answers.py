"""Lists of rated answers, of UltraFeedback and Argilla: the best against the worst."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from align.data.conversion.form import Form, LeftOut, Row, Rows, first_of, first_value
from align.data.conversion.values import UnreadableValue, is_empty, parsed

_PROMPTS = ("prompt", "instruction", "question", "input")
_ANSWERS = ("completions", "generations", "responses", "answers")
_RATINGS = ("ratings", "rating", "overall_score", "overall_scores", "scores")
#: Names within an answer that is an object.
_TEXTS = ("response", "text", "content", "completion", "generation")
_SCORES = ("overall_score", "rating", "score")
#: Ratings of Argilla's pairs beside `chosen` and `rejected`.
PAIR_RATINGS = (("chosen-rating", "rejected-rating"), ("chosen_rating", "rejected_rating"))


def rated_answers(rows: Rows, columns: set[str]) -> Form | None:
    """The form; None if there is no column with lists of answers, or their pairs exist already."""
    prompt, answers = first_of(_PROMPTS, columns), first_of(_ANSWERS, columns)
    ratings = first_of(_RATINGS, columns)
    if not (prompt and answers) or {"chosen", "rejected"} <= columns:
        return None
    listed = parsed(first_value(rows, answers))
    if not isinstance(listed, list) or not (ratings or any(map(_is_rated, listed))):
        return None

    def convert(row: Row) -> Row:
        chosen, rejected = _pair(row, answers, ratings)
        return {"prompt": row[prompt], "chosen": chosen, "rejected": rejected}

    origins = {"prompt": prompt, "chosen": answers, "rejected": answers}
    used = frozenset({prompt, answers, ratings} & columns)
    return Form("rated answers", origins, used, convert)


def check_pair_ratings(row: Row) -> None:
    """LeftOut if a pair's ratings are equal, UnreadableValue if the rejected one's is higher."""
    for chosen, rejected in PAIR_RATINGS:
        better, worse = _rating(chosen, row.get(chosen)), _rating(rejected, row.get(rejected))
        if better is None or worse is None:
            continue
        if better == worse:
            raise LeftOut("have equal ratings, which give no pair")
        if better < worse:
            raise UnreadableValue(
                f"column '{rejected}' rates the rejected answer higher than '{chosen}' does the "
                "chosen; swap the answers, or leave the row out",
                (row[chosen], row[rejected]),
            )


def _pair(row: Row, answers: str, ratings: str) -> tuple[Any, Any]:
    listed = parsed(row[answers])
    if not isinstance(listed, list):
        raise UnreadableValue(f"column '{answers}' must be a list of answers", row[answers])
    given = parsed(row[ratings]) if ratings else [_own_rating(answer) for answer in listed]
    if not isinstance(given, list):
        raise UnreadableValue(f"column '{ratings}' must be a list of ratings", given)
    if len(given) != len(listed):
        raise UnreadableValue(
            f"column '{answers}' has {len(listed)} answers, and column '{ratings}' another number "
            "of ratings",
            given,
        )
    values = [_rating(ratings or answers, rating) for rating in given]
    rated = [
        (value, answer) for value, answer in zip(values, listed, strict=True) if value is not None
    ]
    if len(rated) < 2:
        raise LeftOut("have fewer than two rated answers, which give no pair")
    (best, chosen), (worst, rejected) = max(rated, key=_by_rating), min(rated, key=_by_rating)
    if best == worst:
        raise LeftOut("have equal ratings, which give no pair")
    return _text(answers, chosen), _text(answers, rejected)


def _by_rating(rated: tuple[float, Any]) -> float:
    return rated[0]


def _is_rated(answer: Any) -> bool:
    return isinstance(answer, Mapping) and any(name in answer for name in _SCORES)


def _own_rating(answer: Any) -> Any:
    if not isinstance(answer, Mapping):
        return None
    return next((answer[name] for name in _SCORES if answer.get(name) is not None), None)


def _text(column: str, answer: Any) -> Any:
    """The text or the messages of an answer."""
    if isinstance(answer, Mapping):
        answer = next((answer[name] for name in _TEXTS if not is_empty(answer.get(name))), answer)
    if is_empty(answer) or not isinstance(answer, str | list):
        raise UnreadableValue(f"column '{column}' holds an answer without text", answer)
    return answer


def _rating(column: str, value: Any) -> float | None:
    """The rating as a number; None if the answer is not rated."""
    if is_empty(value) or str(value).strip().lower() in ("n/a", "na", "none", "nan"):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UnreadableValue(
            f"column '{column}' holds a rating that is no number", value
        ) from None
    return None if math.isnan(number) else number
