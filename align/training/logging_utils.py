"""Silences the libraries that workers use, up to their warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import datasets

_LIBRARIES = ("transformers", "trl", "datasets", "accelerate", "peft")


@contextmanager
def quiet() -> Iterator[None]:
    """Log the libraries' warnings and errors; no progress bars, no notice of future names."""
    levels = {name: logging.getLogger(name).level for name in _LIBRARIES}
    bars_enabled = not datasets.are_progress_bars_disabled()
    with warnings.catch_warnings():
        # TRL still uses transformers' old names, which cannot be fixed here.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl")
        try:
            datasets.disable_progress_bars()
            for name in _LIBRARIES:
                logging.getLogger(name).setLevel(logging.WARNING)
            yield
        finally:
            if bars_enabled:
                datasets.enable_progress_bars()
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
