"""What one terminal asks of a sweep that another drives, and how a driver shows that it lives."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Literal, cast

import psutil  # type: ignore[import-untyped]
from sqlalchemy import select

from cluster.database import Database
from cluster.database.tables import Launch, Sweep, now
from cluster.settings import Settings
from sweeps import run_store, sweep_store
from sweeps.errors import SweepLocked, SweepPaused
from sweeps.events import Event, OnEvent, StageFinished, StageStarted
from sweeps.heartbeat import BEAT_SECONDS, SILENT_SECONDS, beating
from sweeps.run_store import INTERRUPTED, PAUSE, PAUSED, STOP
from sweeps.study.lock import StudyLock
from sweeps.sweep_store import FAILED, FINISHED, RUNNING, STOPPED

#: Seconds between two looks at what is asked.
LOOK_SECONDS = 1.0
#: A driver looks between two results of its workers, and has this long before Ray ends its job.
OBEY_SECONDS = 60.0

Request = Literal["", "pause", "stop"]


class Control:
    """A driver's side: what is asked of it. One thread may ask while another one beats."""

    def __init__(self, database: Database, launch: int) -> None:
        self.launch = launch
        self._database = database
        self._requests: dict[str | None, str] = {}
        self._looked = self._beaten = float("-inf")

    def asked(self, line: str | None = None) -> Request:
        """What is asked of a line's search, or of the launch as a whole; at most 1 s old."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._requests = self._read()
            self._looked = time.monotonic()
        return cast(Request, self._requests.get(line, ""))

    def beat(self) -> None:
        """Show that the driver lives; writes at most every 5 s."""
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._beaten = time.monotonic()
            run_store.update(self._database, self.launch, beat_at=now())

    def _read(self) -> dict[str | None, str]:
        with self._database.session(write=False) as session:
            whole = session.get_one(Launch, self.launch).request
            rows = session.scalars(select(Sweep).filter_by(launch_id=self.launch))
            return {None: whole, **{row.line: row.request for row in rows if row.request}}


def noting(database: Database, launch: int, on_event: OnEvent) -> OnEvent:
    """Pass events on, and note which sweeps the launch drives: those it began, those it found."""

    def heard(event: Event) -> None:
        if isinstance(event, StageStarted):
            sweep_store.attach(database, event.line, event.run, launch)
        elif isinstance(event, StageFinished) and event.reused:
            sweep_store.attach(database, event.line, None, launch)
        on_event(event)

    return heard


@contextmanager
def driving(settings: Settings, database: Database) -> Iterator[Callable[[Launch], Control]]:
    """Drive a launch until the block ends: it gives a function that begins with one.

    From then on there are signs of life, and the launch's row will say how the block ended. The
    function raises SweepLocked if another process drives the launch. It belongs around Ray's own
    block, which knows why Ray ended.
    """
    begun: list[Launch] = []
    with ExitStack() as locks:
        life = ExitStack()

        def begin(launch: Launch) -> Control:
            locks.callback(_lock(settings, database, launch).release)
            _begin(database, launch)
            begun.append(launch)
            control = Control(database, launch.id)
            life.enter_context(beating(control.beat))
            return control

        try:
            with life:  # over before the end is written, which may delete the row
                yield begin
        except BaseException as error:
            for launch in begun:
                _end_with(database, launch, error)
            raise
        for launch in begun:
            _end(database, launch)


def state_of(settings: Settings, database: Database, launch: Launch) -> str:
    """A launch's state; `interrupted` is one that should be running and has no living driver."""
    if launch.state != RUNNING or not _silent(launch) or is_driven(settings, database, launch):
        return launch.state
    return INTERRUPTED


def check_free(settings: Settings, database: Database, launch: Launch) -> None:
    """SweepLocked if a process drives the launch."""
    _lock(settings, database, launch).release()


def is_driven(settings: Settings, database: Database, launch: Launch) -> bool:
    """Whether a process holds the launch's lock."""
    try:
        check_free(settings, database, launch)
    except SweepLocked:
        return True
    return False


def pause(settings: Settings, database: Database, launch: Launch) -> bool:
    """Ask the driver to pause; where there is none, mark the launch as paused.

    True where there is a driver to wait for.
    """
    if is_driven(settings, database, launch):
        run_store.update(database, launch.id, request=PAUSE)
        return True
    run_store.update(database, launch.id, state=PAUSED, reason="paused on request")
    return False


def stop(settings: Settings, database: Database, launch: Launch, row: Sweep | None = None) -> bool:
    """Ask the driver to stop, a line's search or all of them; where there is none, do its work.

    True where there is a driver to wait for.
    """
    if is_driven(settings, database, launch):
        if row is None:
            run_store.update(database, launch.id, request=STOP)
        else:
            sweep_store.update(database, row.id, request=STOP)
        return True
    finish_alone(settings, database, launch, row)
    return False


def finish_alone(
    settings: Settings, database: Database, launch: Launch, row: Sweep | None = None
) -> None:
    """Stop what no driver is driving: a line's search, or the whole launch."""
    from sweeps.sweep import finish_without_workers

    with_lock = _lock(settings, database, launch)  # nobody resumes it meanwhile
    try:
        for one in run_store.rows_of(database, launch) if row is None else [row]:
            if one.state not in (FINISHED, FAILED):
                finish_without_workers(settings, one)
        if row is None:
            run_store.update(database, launch.id, state=STOPPED, reason="stopped on request")
    finally:
        with_lock.release()


def wait_until_obeyed(
    settings: Settings,
    database: Database,
    launch: Launch,
    row: Sweep | None = None,
    waiting: Callable[[], None] = lambda: None,
) -> bool:
    """Wait until the driver has done what it was asked; False if it died before it had.

    `waiting` is called about twice a second.
    """
    while not _obeyed(database, launch, row):
        if not is_driven(settings, database, launch):
            return _obeyed(database, launch, row)
        waiting()
        time.sleep(LOOK_SECONDS / 2)
    return True


def stop_job_of(
    settings: Settings, database: Database, launch: Launch, row: Sweep | None = None
) -> bool:
    """Have Ray stop the launch's job if its driver does not stop by itself in time.

    False where the driver had not done what it was asked.
    """
    from cluster.jobs import stop_unless_obeyed

    assert settings.jobs_address is not None and launch.job_id is not None  # the caller has looked
    stop_unless_obeyed(
        settings.jobs_address,
        launch.job_id,
        lambda: _obeyed(database, launch, row),
        OBEY_SECONDS,
    )
    return _obeyed(database, launch, row)


def _obeyed(database: Database, launch: Launch, row: Sweep | None) -> bool:
    if run_store.read(database, launch.id).state != RUNNING:
        return True
    return row is not None and not sweep_store.read(database, row.id).request


def _begin(database: Database, launch: Launch) -> None:
    for row in run_store.rows_of(database, launch):
        if row.request:  # whoever goes on with a launch wants what was stopped to go on
            sweep_store.update(database, row.id, request="")
    fresh = {"state": RUNNING, "reason": "", "request": "", "beat_at": now()}
    run_store.update(database, launch.id, driver=_here(), **fresh)


def _end(database: Database, launch: Launch) -> None:
    stopped = run_store.read(database, launch.id).request == STOP
    state = {"state": STOPPED, "reason": "stopped on request"} if stopped else {"state": FINISHED}
    run_store.update(database, launch.id, **state)


def _end_with(database: Database, launch: Launch, error: BaseException) -> None:
    if isinstance(error, SweepLocked) and not run_store.rows_of(database, launch):
        run_store.forget(database, launch.id)  # it came second, and did nothing
        return
    state, reason = _ending(error)
    run_store.update(database, launch.id, state=state, reason=reason)


def _ending(error: BaseException) -> tuple[str, str]:
    """(state, reason) of a launch whose driver ends with this error."""
    if isinstance(error, SweepPaused):
        return PAUSED, "paused on request"
    if isinstance(error, KeyboardInterrupt):
        return STOPPED, "stopped by Ctrl-C"
    if isinstance(error, SystemExit | GeneratorExit):
        return STOPPED, "stopped by SIGTERM"
    return FAILED, f"{type(error).__name__}: {error}"


def _lock(settings: Settings, database: Database, launch: Launch) -> StudyLock:
    return StudyLock(settings, database, f"{launch.name}/launch-{launch.id}")


def _silent(launch: Launch) -> bool:
    """Whether there was no sign of life for 30 s, or its process on this machine is gone."""
    process, _, host = launch.driver.removeprefix("process ").partition(" on ")
    if host == socket.gethostname() and process.isdigit() and not psutil.pid_exists(int(process)):
        return True
    last = launch.beat_at or launch.created_at
    return now() - last > timedelta(seconds=SILENT_SECONDS)


def _here() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
