"""Libraries only warn within the block, and are as before after it, whatever happens."""

import logging
import warnings

import datasets
import pytest

from align.training.logging_utils import quiet


def test_libraries_log_their_warnings_and_errors_alone(caplog):
    logger = logging.getLogger("trl")
    before = logger.level
    with quiet():
        logger.info("a step is done")
        logger.warning("rows are cut")
        logger.error("something is wrong")
    said = [record.getMessage() for record in caplog.records]
    assert said == ["rows are cut", "something is wrong"]
    assert logger.level == before


def test_all_is_as_before_even_after_an_error():
    levels = [logging.getLogger(name).level for name in ("transformers", "datasets", "peft")]
    with pytest.raises(RuntimeError, match="within"), quiet():
        assert datasets.are_progress_bars_disabled()
        raise RuntimeError("within")
    after = [logging.getLogger(name).level for name in ("transformers", "datasets", "peft")]
    assert after == levels


def test_warnings_of_others_are_still_given():
    with pytest.warns(FutureWarning, match="of ours"), quiet():
        warnings.warn("a change of ours", FutureWarning, stacklevel=1)
