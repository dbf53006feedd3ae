"""`alignery sweep …`; each module adds its commands to `sweep_app`."""

from sweeps.commands import looking, run
from sweeps.commands.common import sweep_app

__all__ = ["looking", "run", "sweep_app"]
