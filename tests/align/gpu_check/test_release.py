"""Between checks the base and the engine are given up."""

import gc
import weakref

from align.base import load_base
from align.evaluation.systems import shared_engine
from align.gpu_check.release import release


def test_base_and_engine_are_collected() -> None:
    engine = weakref.ref(shared_engine("tiny-random"))
    base = weakref.ref(load_base("tiny-random"))
    gc.freeze()  # as before a trial
    release()
    assert engine() is None and base() is None
