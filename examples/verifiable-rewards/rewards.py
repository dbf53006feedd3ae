"""Rewards for questions whose answer is a time of day. Each is called for one completion.

A reward is called by name with what its parameters name: `completion` is the text, `prompt` the
list of messages, and every other name is a column of the data file.
"""

import re

_TIME = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)\b")


def arrival(completion: str, answer: str) -> float:
    """1 if the last time in the completion is the answer, 0.3 if only its hour is, else 0."""
    times = _TIME.findall(completion)
    if not times:
        return 0.0
    hour, minute = (int(part) for part in times[-1])
    right_hour, right_minute = (int(part) for part in answer.split(":"))
    if hour != right_hour:
        return 0.0
    return 1.0 if minute == right_minute else 0.3


def gives_a_time(completion: str) -> float:
    """1 if there is a time of day at all: a model that never gives one learns that first."""
    return 1.0 if _TIME.search(completion) else 0.0
