"""Workers print nothing of their libraries': what matters is recorded or raised."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import datasets

_LIBRARIES = ("transformers", "trl", "datasets", "accelerate", "peft")


@contextmanager
def quiet() -> Iterator[None]:
    """Errors alone are logged; no progress bars, no warnings that names will change."""
    levels = {name: logging.getLogger(name).level for name in _LIBRARIES}
    bars = not datasets.are_progress_bars_disabled()
    with warnings.catch_warnings():
        # TRL still uses transformers' old names, so nobody here can mend these.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl")
        try:
            datasets.disable_progress_bars()
            for name in _LIBRARIES:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            if bars:
                datasets.enable_progress_bars()
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
