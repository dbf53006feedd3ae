"""The check of serving as on a card: a replica that fails as a card does is replaced."""

from pathlib import Path

import pytest

from align.gpu_check.check import Setting
from align.gpu_check.workplace import temporary_home
from serve.gpu_check import serving

pytestmark = pytest.mark.chaos


def test_a_replica_that_lost_its_card_is_replaced(home: Path) -> None:
    with temporary_home() as folder:
        outcome = serving.check_endpoint(Setting("tiny-random", "cpu", folder))
    assert outcome.verdict == "PASS", outcome.sentence
    assert outcome.figures["replaced_seconds"] > 0
