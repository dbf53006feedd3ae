"""A sweep as it is seen: a live table on a terminal, plain lines elsewhere. Always on stderr."""

from sweeps.progress.left import seconds_left
from sweeps.progress.show import Progress
from sweeps.progress.view import SweepView
from sweeps.progress.words import clock_time, line, objective_text, short, value_text

__all__ = [
    "Progress",
    "SweepView",
    "clock_time",
    "line",
    "objective_text",
    "seconds_left",
    "short",
    "value_text",
]
