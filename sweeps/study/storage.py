"""Optuna's own tables, in the same database as ours."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from filelock import FileLock
from sqlalchemy import event, make_url

from cluster.settings import Settings
from sweeps.study.lock import lock_folder
from sweeps.study.trials import TrialSummary, summarise

_BUSY_SECONDS = 30


def open_storage(settings: Settings) -> Any:
    """Optuna's RDBStorage on `settings.database_url`; creates its tables when they are missing."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    sqlite = make_url(settings.database_url).get_backend_name() == "sqlite"
    arguments = {"timeout": _BUSY_SECONDS} if sqlite else {}
    # Processes that create the tables at once would collide.
    with FileLock(lock_folder(settings) / "optuna.lock", timeout=_BUSY_SECONDS):
        storage = optuna.storages.RDBStorage(
            settings.database_url, engine_kwargs={"connect_args": arguments}
        )
    if sqlite:
        event.listen(storage.engine, "connect", _driver_begins_nothing)
        event.listen(storage.engine, "begin", _begin_immediately)
        storage.engine.dispose()  # connections made before the listeners
    return storage


def read_trials(settings: Settings, study: str) -> list[TrialSummary]:
    """All trials of a study by number; empty if there is no such study yet."""
    storage = open_storage(settings)
    try:
        found = optuna.load_study(study_name=study, storage=storage)
    except KeyError:
        return []
    else:
        return [summarise(trial) for trial in found.get_trials(deepcopy=False)]
    finally:
        storage.engine.dispose()


def _driver_begins_nothing(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _begin_immediately(connection: Any) -> None:
    # Optuna reads before it writes: begun lazily, such a transaction fails at once ("database is
    # locked") when another process wrote in between, instead of waiting its turn.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
