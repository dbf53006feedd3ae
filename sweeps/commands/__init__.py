"""`alignery sweep …`; each module adds its commands to `sweep_app`."""

from sweeps.commands import control, report, run, status, submit
from sweeps.commands.common import sweep_app

__all__ = ["control", "report", "run", "status", "submit", "sweep_app"]
