"""Exposures wait for a database that is away, and are written once."""

from __future__ import annotations

import pytest

from cluster.errors import DatabaseError
from serve.experiments import VariantSpec
from serve.experiments.exposures import BATCH, Exposed, Exposures

ADA = Exposed("trial", "ada", "control")


@pytest.fixture
def trial(experiments):
    arms = [
        VariantSpec(name=name, model=model) for name, model in (("control", "base"), ("b", "base"))
    ]
    experiments.start("trial", arms, "control", 100)
    return experiments


@pytest.fixture
def away(trial, monkeypatch):
    """Take the database away, or bring it back."""
    write = trial.record_exposures

    def record(rows):
        if down:
            raise DatabaseError("away")
        write(rows)

    down = []
    monkeypatch.setattr(trial, "record_exposures", record)
    return down


def answers(trial):
    return sum(variant.answers for variant in trial.report("trial").variants)


def test_an_exposure_is_there_at_once(trial):
    Exposures(trial).record("chatcmpl-1", ADA, None)
    assert answers(trial) == 1


def test_what_came_while_the_database_was_away_is_written_when_it_is_back(trial, away):
    exposures = Exposures(trial)
    away.append(True)
    for number in range(BATCH + 3):
        exposures.record(f"chatcmpl-{number}", ADA, None)
    with pytest.raises(DatabaseError):
        exposures.flush()
    away.clear()
    assert answers(trial) == 0
    exposures.flush()
    exposures.flush()  # nothing is left
    assert answers(trial) == BATCH + 3


def test_what_waits_keeps_its_order(trial, away):
    exposures = Exposures(trial)
    away.append(True)
    exposures.record("chatcmpl-1", ADA, None)
    away.clear()
    exposures.record("chatcmpl-2", ADA, None)  # after the first
    assert answers(trial) == 0
    exposures.flush()
    assert answers(trial) == 2


def test_what_was_written_without_an_answer_counts_once(trial):
    exposures = Exposures(trial)
    exposures.record("chatcmpl-1", ADA, None)
    for name in ("chatcmpl-1", "chatcmpl-2"):
        exposures.keep(name, ADA, None)
    exposures.flush()
    assert answers(trial) == 2
