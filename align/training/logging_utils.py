"""Silences the libraries that workers use: what matters is recorded or raised."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import datasets

_LIBRARIES = ("transformers", "trl", "datasets", "accelerate", "peft")


@contextmanager
def quiet() -> Iterator[None]:
    """Log only the libraries' errors; no progress bars, no warnings that names will change."""
    levels = {name: logging.getLogger(name).level for name in _LIBRARIES}
    bars_enabled = not datasets.are_progress_bars_disabled()
    with warnings.catch_warnings():
        # TRL still uses transformers' old names, which cannot be fixed here.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl")
        try:
            datasets.disable_progress_bars()
            for name in _LIBRARIES:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            if bars_enabled:
                datasets.enable_progress_bars()
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
