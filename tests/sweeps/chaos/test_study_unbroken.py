"""A study whose driver dies at each of its writes ends as one of an unbroken driver."""

import pytest

from cluster.database import open_database
from tests.sweeps.study.test_study_unbroken import kill_at_writes

pytestmark = pytest.mark.chaos


def test_a_driver_killed_at_any_write_changes_nothing(settings, monkeypatch):
    kill_at_writes(settings, open_database(settings), monkeypatch, every=1)
