"""A trial's process hands on what it warns of: once, bounded, and without secrets."""

import logging
import warnings
from collections.abc import Iterator

import pytest

from sweeps.pool.worker_warnings import LENGTH, MOST, collect_warnings


@pytest.fixture(autouse=True)
def levels_of_a_new_process() -> Iterator[None]:
    """Benchmarks raise the levels of the libraries' loggers in the process that they run in."""
    loggers = [logging.getLogger(name) for name in ("transformers", "trl", "peft")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize("name", ["align.training.train", "transformers.trainer", "trl", "peft"])
def test_logged_warnings_are_collected_once(name):
    logger = logging.getLogger(name)
    with collect_warnings({}) as texts:
        for _ in range(2):
            logger.warning("%d of %d rows are cut\n  at 512", 3, 4)
        logger.info("not this")
    logger.warning("nor what comes later")
    assert texts == ["3 of 4 rows are cut at 512"]


def test_pythons_warnings_are_collected_unless_they_are_for_programmers():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        before = warnings.showwarning
        with collect_warnings({}) as texts:
            warnings.warn("the loss is not finite", UserWarning, stacklevel=1)
            warnings.warn("a name will change", FutureWarning, stacklevel=1)
        assert warnings.showwarning is before
    assert texts == ["the loss is not finite"]


def test_they_are_bounded_in_number_and_length():
    with collect_warnings({}) as texts:
        for number in range(2 * MOST):
            logging.getLogger("align").warning("%d %s", number, "x" * 2 * LENGTH)
    assert len(texts) == MOST and {len(text) for text in texts} == {LENGTH}


def test_values_of_secrets_are_replaced():
    with collect_warnings({"HF_TOKEN": b"hf_abcdefghijkl"}) as texts:
        logging.getLogger("transformers").error("refused: Bearer hf_abcdefghijkl")
    assert texts == ["refused: Bearer <HF_TOKEN>"]


def test_an_error_ends_the_collection_too():
    count = len(logging.getLogger("align").handlers)
    with pytest.raises(ZeroDivisionError), collect_warnings({}):
        raise ZeroDivisionError
    assert len(logging.getLogger("align").handlers) == count
