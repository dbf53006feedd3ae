"""Optuna's storage, with its tables in Alignery's database."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from filelock import FileLock
from sqlalchemy import NullPool, create_engine, event, make_url, text

from cluster.settings import Settings
from sweeps.errors import SweepError
from sweeps.study_lock import lock_folder
from sweeps.trials import UNSEEN, TrialSummary, is_own, summarise

_BUSY_SECONDS = 30
_TABLES = 0x6F7074756E61  # "optuna" in ASCII: the lock's key, the same in every process

#: Databases whose tables this process has checked: each check reads all of Optuna's migrations.
_checked: set[str] = set()


def open_storage(settings: Settings) -> Any:
    """Optuna's RDBStorage on `settings.database_url`; creates its tables if they are missing.

    SweepError if the installed Optuna does not read the version of the tables.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    # Optuna formats its URL as a template, so a brace in a password has to be percent-encoded.
    url = make_url(settings.database_url).render_as_string(hide_password=False)
    sqlite = settings.database_file is not None
    arguments = {"timeout": _BUSY_SECONDS} if sqlite else {}
    with _one_at_a_time(settings):
        try:
            storage = optuna.storages.RDBStorage(
                url,
                engine_kwargs={"connect_args": arguments},
                skip_compatibility_check=settings.database_url in _checked,
            )
        except RuntimeError as error:  # of another version; the message contains no URL
            raise SweepError(
                f"database {settings.database_name}: "
                f"{' '.join(str(error).split())} Its sweeps are safe; or use another database "
                "(ALIGNERY_DATABASE_URL)"
            ) from None
    _checked.add(settings.database_url)
    if sqlite:
        event.listen(storage.engine, "connect", _driver_begins_nothing)
        event.listen(storage.engine, "begin", _begin_immediately)
        storage.engine.dispose()  # connections made before the listeners
    return storage


def read_trials(settings: Settings, study: str) -> list[TrialSummary]:
    """All trials of a study by number; empty if there is no such study yet."""
    with _loaded(settings, study) as loaded_study:
        if loaded_study is None:
            return []
        return summaries(loaded_study, loaded_study.get_trials(deepcopy=False))


def read_attributes(settings: Settings, study: str) -> dict[str, Any]:
    """The user attributes of a study; empty if there is no such study yet."""
    with _loaded(settings, study) as loaded_study:
        return {} if loaded_study is None else dict(loaded_study.user_attrs)


@contextmanager
def _loaded(settings: Settings, study: str) -> Iterator[Any]:
    storage = open_storage(settings)
    try:
        loaded_study = optuna.load_study(study_name=study, storage=storage)
    except KeyError:
        loaded_study = None
    try:
        yield loaded_study
    finally:
        storage.engine.dispose()


def summaries(study: Any, trials: Iterable[Any]) -> list[TrialSummary]:
    """Summaries of the sweep's own trials, without those from a warm start."""
    attrs = study.user_attrs
    return [
        summarise(trial, attrs.get(f"{UNSEEN}{trial.number}")) for trial in trials if is_own(trial)
    ]


@contextmanager
def _one_at_a_time(settings: Settings) -> Iterator[None]:
    """A lock while tables may be created: concurrent creation by several processes would fail."""
    if settings.database_file is not None:
        with FileLock(lock_folder(settings) / "optuna.lock", timeout=_BUSY_SECONDS):
            yield
        return
    engine = create_engine(settings.database_url, poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_TABLES})"))
        yield


def _driver_begins_nothing(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _begin_immediately(connection: Any) -> None:
    # Optuna reads before it writes. A deferred transaction would fail at once ("database is
    # locked") if another process wrote in between; an immediate transaction waits.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
