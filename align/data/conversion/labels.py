"""Labels of good and bad answers, as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from align.data.conversion.values import UnreadableValue, is_empty

#: Columns that hold a label under another name than `label`. The values of those after the first
#: three can be something else, such as 1 to 5 or a count, and are then no labels.
LABEL_COLUMNS = ("kto_tag", "thumbs", "is_good", "thumbs_up", "feedback", "rating", "vote")
_CERTAIN = LABEL_COLUMNS[:3]
_GOOD = (
    "true", "1", "1.0", "+1", "yes", "y", "good", "up", "thumbs up", "thumbs_up", "thumbsup",
    "like", "liked", "positive", "desirable", "upvote", "\N{THUMBS UP SIGN}",
)  # fmt: skip
_BAD = (
    "false", "0", "0.0", "-1", "-1.0", "no", "n", "bad", "down", "thumbs down", "thumbs_down",
    "thumbsdown", "dislike", "disliked", "negative", "undesirable", "downvote",
    "\N{THUMBS DOWN SIGN}",
)  # fmt: skip
#: A label in lower case, and whether it means a good answer.
LABELS = {**dict.fromkeys(_GOOD, True), **dict.fromkeys(_BAD, False)}
#: The label that is expected of a value, for messages.
EXPECTED = "true or false (or 1 or 0, +1 or -1, yes or no, good or bad, up or down)"
#: Skin tones and the selector of the coloured form, which may follow an emoji.
_TONES = dict.fromkeys([0xFE0F, *range(0x1F3FB, 0x1F400)])


def as_label(value: Any) -> bool | None:
    """The label as a Boolean, true for a good answer; None if `value` is no label."""
    is_scalar = isinstance(value, str | bool | int | float)
    return LABELS.get(str(value).strip().lower().translate(_TONES)) if is_scalar else None


def label_column(rows: Mapping[int, Mapping[str, Any]], columns: set[str]) -> str:
    """The column whose values are labels, `label` first; empty if there is none.

    A column `label` beside other forms than TRL's own may hold classes.
    """
    certain = {"prompt", "completion"} <= columns
    if "label" in columns and (certain or _holds_labels(rows, "label")):
        return "label"
    for column in LABEL_COLUMNS:
        if column in columns and (column in _CERTAIN or _holds_labels(rows, column)):
            return column
    return ""


def unmixed(rows: Mapping[int, Mapping[str, Any]], column: str) -> None:
    """UnreadableValue if a column has both 0 and -1, of which 0 may mean neither good nor bad."""
    values = {str(row.get(column)).strip() for row in rows.values()}
    if values & {"0", "0.0"} and values & {"-1", "-1.0"}:
        raise UnreadableValue(
            f"column '{column}' has both 0 and -1, so 0 may mean neither good nor bad; leave "
            "such rows out, or write true and false",
            0,
        )


def _holds_labels(rows: Mapping[int, Mapping[str, Any]], column: str) -> bool:
    """Whether most values are labels, and no number is none, as on a scale from 1 to 5."""
    values = [row[column] for row in rows.values() if not is_empty(row.get(column))]
    others = [value for value in values if as_label(value) is None]
    return 2 * len(others) < len(values) and not any(_is_number(value) for value in others)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except OverflowError:  # an integer beyond the largest float
        return True
    except (TypeError, ValueError):
        return False
    return True
