"""Requests (pause, stop) to a sweep that another process drives, and the driver's heartbeat."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Literal, cast

import psutil  # type: ignore[import-untyped]
from sqlalchemy import select

from cluster.database import Database
from cluster.database.tables import Launch, Sweep, now
from cluster.settings import Settings
from sweeps import run_store, sweep_store
from sweeps.errors import SweepLocked, SweepPaused
from sweeps.events import Event, OnEvent, SearchStopped, StageFinished, StageStarted, WorkerWarned
from sweeps.heartbeat import BEAT_SECONDS, SILENT_SECONDS, beating
from sweeps.run_store import INTERRUPTED, PAUSE, PAUSED, STOP
from sweeps.study_lock import StudyLock
from sweeps.sweep_store import FAILED, FINISHED, RUNNING, STOPPED

#: Seconds between two polls of the requests in the database.
LOOK_SECONDS = 1.0
#: Seconds that a driver has to obey a request before Ray stops its job. A driver polls between two
#: results of its workers.
OBEY_SECONDS = 60.0

Request = Literal["", "pause", "stop"]


class Control:
    """The driver's side: reads requests and writes the heartbeat.

    `asked` and `beat` may be called from different threads.
    """

    def __init__(self, database: Database, launch: int) -> None:
        self.launch = launch
        self._database = database
        self._requests: dict[str | None, str] = {}
        self._looked = self._beaten = float("-inf")

    def asked(self, line: str | None = None) -> Request:
        """The request to a line's search, or to the whole launch; at most 1 s old."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._requests = self._read()
            self._looked = time.monotonic()
        return cast(Request, self._requests.get(line, ""))

    def beat(self) -> None:
        """Write the time of this heartbeat to the launch's row; at most every 5 s."""
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._beaten = time.monotonic()
            run_store.update(self._database, self.launch, beat_at=now())

    def _read(self) -> dict[str | None, str]:
        with self._database.session(write=False) as session:
            launch_request = session.get_one(Launch, self.launch).request
            rows = session.scalars(select(Sweep).filter_by(launch_id=self.launch))
            return {None: launch_request, **{row.line: row.request for row in rows if row.request}}


def noting(database: Database, launch: int, on_event: OnEvent) -> OnEvent:
    """Wrap `on_event` so that each sweep that the launch starts or reuses is attached to it.

    The remarks of the launch on a stage are added to the notes of its start. A warning becomes such
    a remark and is passed on unless there is the same already. So does the end of a search by
    `sweep.stop_when`.
    """

    def heard(event: Event) -> None:
        if isinstance(event, StageStarted):
            sweep_store.attach(database, event.line, event.run, launch)
            if event.change:
                run_store.add_remark(database, launch, event.stage, event.change)
            options = run_store.options_of(run_store.read(database, launch))
            remarks = options.remarks.get(event.stage, [])
            event = replace(event, notes=tuple(dict.fromkeys((*event.notes, *remarks))))
        elif isinstance(event, WorkerWarned):
            if not run_store.add_remark(database, launch, event.stage, event.remark):
                return
        elif isinstance(event, SearchStopped):
            run_store.add_remark(database, launch, event.stage, event.stop.text)
        elif isinstance(event, StageFinished) and event.reused:
            sweep_store.attach(database, event.line, None, launch)
        on_event(event)

    return heard


@contextmanager
def driving(settings: Settings, database: Database) -> Iterator[Callable[[Launch], Control]]:
    """Drive a launch until the block ends. The context's value is a function that begins a launch.

    After that call heartbeats are written, and when the block ends its outcome is written to the
    launch's row. The function raises SweepLocked if another process drives the launch. Enter this
    context before Ray's, whose error says why Ray ended.
    """
    begun_launches: list[Launch] = []
    with ExitStack() as locks:
        heartbeat = ExitStack()

        def begin(launch: Launch) -> Control:
            locks.callback(_lock(settings, database, launch).release)
            _begin(database, launch)
            begun_launches.append(launch)
            control = Control(database, launch.id)
            heartbeat.enter_context(beating(control.beat))
            return control

        try:
            with heartbeat:  # ends before the outcome is written: that may delete the row
                yield begin
        except BaseException as error:
            for launch in begun_launches:
                _end_with(database, launch, error)
            raise
        for launch in begun_launches:
            _end(database, launch)


def state_of(settings: Settings, database: Database, launch: Launch) -> str:
    """A launch's state; `interrupted` if its row says `running` but no driver is alive."""
    if launch.state != RUNNING or not _silent(launch) or is_driven(settings, database, launch):
        return launch.state
    return INTERRUPTED


def check_free(settings: Settings, database: Database, launch: Launch) -> None:
    """Raise SweepLocked if a process drives the launch."""
    _lock(settings, database, launch).release()


def is_driven(settings: Settings, database: Database, launch: Launch) -> bool:
    """Whether a process holds the launch's lock."""
    try:
        check_free(settings, database, launch)
    except SweepLocked:
        return True
    return False


def pause(settings: Settings, database: Database, launch: Launch) -> bool:
    """Ask the driver to pause; without a driver, mark the launch as paused.

    True if there is a driver to wait for.
    """
    if is_driven(settings, database, launch):
        run_store.update(database, launch.id, request=PAUSE)
        return True
    run_store.update(database, launch.id, state=PAUSED, reason="paused on request")
    return False


def stop(settings: Settings, database: Database, launch: Launch, row: Sweep | None = None) -> bool:
    """Ask the driver to stop one line's search (`row`) or all; without a driver, stop them here.

    True if there is a driver to wait for.
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
    """Stop a line's search, or the whole launch, that no process drives."""
    from sweeps.sweep import finish_without_workers

    lock = _lock(settings, database, launch)  # prevents a resume meanwhile
    try:
        for sweep in run_store.rows_of(database, launch) if row is None else [row]:
            if sweep.state not in (FINISHED, FAILED):
                finish_without_workers(settings, sweep)
        if row is None:
            run_store.update(database, launch.id, state=STOPPED, reason="stopped on request")
    finally:
        lock.release()


def wait_until_obeyed(
    settings: Settings,
    database: Database,
    launch: Launch,
    row: Sweep | None = None,
    waiting: Callable[[], None] = lambda: None,
) -> bool:
    """Wait until the driver has obeyed the request; False if it died before.

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
    """Have Ray stop the launch's job if its driver does not obey the request in time.

    False if the driver had not obeyed.
    """
    from cluster.jobs import stop_unless_obeyed

    assert settings.jobs_address is not None and launch.job_id is not None  # the caller has checked
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
        if row.request:  # resuming a launch resumes its stopped searches too
            sweep_store.update(database, row.id, request="")
    fields = {"state": RUNNING, "reason": "", "request": "", "beat_at": now()}
    run_store.update(database, launch.id, driver=_here(), **fields)


def _end(database: Database, launch: Launch) -> None:
    stopped = run_store.read(database, launch.id).request == STOP
    state = {"state": STOPPED, "reason": "stopped on request"} if stopped else {"state": FINISHED}
    run_store.update(database, launch.id, **state)


def _end_with(database: Database, launch: Launch, error: BaseException) -> None:
    if isinstance(error, SweepLocked) and not run_store.rows_of(database, launch):
        run_store.forget(database, launch.id)  # another driver came first; this launch did nothing
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
        closed = isinstance(error, SystemExit) and error.code == 128 + signal.SIGHUP
        return STOPPED, "stopped by the end of its terminal" if closed else "stopped by SIGTERM"
    return FAILED, f"{type(error).__name__}: {error}"


def _lock(settings: Settings, database: Database, launch: Launch) -> StudyLock:
    return StudyLock(settings, database, f"{launch.name}/launch-{launch.id}")


def _silent(launch: Launch) -> bool:
    """Whether there was no heartbeat for 30 s, or the driver's process on this machine is gone."""
    process, _, host = launch.driver.removeprefix("process ").partition(" on ")
    if host == socket.gethostname() and process.isdigit() and not psutil.pid_exists(int(process)):
        return True
    last_beat = launch.beat_at or launch.created_at
    return now() - last_beat > timedelta(seconds=SILENT_SECONDS)


def _here() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
