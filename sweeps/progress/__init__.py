"""Progress of a sweep: a live table on a terminal, plain lines elsewhere. Always on stderr."""

from sweeps.progress.formatting import (
    evidence_lines,
    line,
    objective_text,
    short,
    standing_text,
    value_text,
)
from sweeps.progress.show import Progress
from sweeps.progress.time_left import seconds_left
from sweeps.progress.view import SweepView

__all__ = [
    "Progress",
    "SweepView",
    "evidence_lines",
    "line",
    "objective_text",
    "seconds_left",
    "short",
    "standing_text",
    "value_text",
]
