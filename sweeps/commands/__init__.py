"""`alignery sweep …`; each module adds its commands to `sweep_app`."""

from sweeps.commands import control, looking, report, run, submit
from sweeps.commands.common import sweep_app

__all__ = ["control", "looking", "report", "run", "submit", "sweep_app"]
