"""`python -m benchmarks.grpo`."""

from __future__ import annotations

import sys

import typer

from align.errors import AligneryError
from benchmarks.grpo.commands import grpo

try:
    typer.run(grpo)
except AligneryError as error:
    sys.exit(f"error: {error}")
