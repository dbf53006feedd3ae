"""Sweeps as Ray Jobs: a command that runs on a cluster's head while nobody is connected to it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.dashboard import CONNECT_SECONDS, connected
from cluster.errors import JobNotFound

#: How long a job that is told to stop may take to leave its trials in order, before Ray kills it.
STOP_SECONDS = 30
POLL_SECONDS = 0.5
#: Key of a job's metadata that names the recipe it searches; RayJob manifests set it too.
RECIPE = "alignery_recipe"
#: Where Ray tells a job's command what it is part of; its own name in Ray 2.60.
_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
PENDING, RUNNING, SUCCEEDED = "PENDING", "RUNNING", "SUCCEEDED"


@dataclass(frozen=True)
class RayJob:
    """A job as Ray knows it. `began` and `ended` are seconds since the epoch."""

    id: str
    recipe: str | None
    status: str
    message: str
    began: float | None
    ended: float | None

    @property
    def live(self) -> bool:
        """Whether it waits or runs."""
        return self.status in (PENDING, RUNNING)


@dataclass(frozen=True)
class Submission:
    """What is to run on the cluster. All of it can be read by whoever may list the jobs.

    `package` is a zip file that becomes the job's working directory.
    """

    name: str
    recipe: str
    entrypoint: str
    package: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def submit_job(address: str, submission: Submission) -> tuple[RayJob, bool]:
    """Start the job on the cluster's head, where it takes no CPU from the trials.

    Gives the job, and whether it is new: one of this name that waits or runs is returned as it
    is. Those that ended leave their ids used up, so the next is `<name>-2`. ClusterError if the
    cluster cannot be reached or does not take it.
    """
    with _client(address) as client:
        while True:
            tried = [one for one in _jobs(client) if _number(one.id, submission.name)]
            if live := [one for one in tried if one.live]:
                return live[-1], False
            number = 1 + max((_number(one.id, submission.name) for one in tried), default=0)
            job_id = submission.name if number == 1 else f"{submission.name}-{number}"
            try:
                _submit(client, job_id, submission)
            except RuntimeError as error:
                if "already exists" not in str(error):
                    raise
            else:
                return _job(client.get_job_info(job_id)), True


def job_status(address: str, job_id: str) -> RayJob:
    """The job as it is now. JobNotFound if Ray does not know it."""
    with _client(address, job_id) as client:
        return _job(client.get_job_info(job_id))


def find_job(address: str, name: str | None = None) -> RayJob:
    """A job by its id, or the newest that searches the recipe (or line) `name`; None: of all."""
    with _client(address) as client:
        jobs = _jobs(client)
    recipe = None if name is None else name.partition("/")[0]
    found = [one for one in jobs if name is None or one.id == name or one.recipe == recipe]
    if not found:
        wanted = "job of Alignery's" if name is None else f"job of '{name}'"
        known = ", ".join(dict.fromkeys(one.recipe or one.id for one in jobs))
        raise JobNotFound(
            f"no {wanted} at {address}; " + (f"there are jobs of {known}" if known else "no jobs")
        )
    return max(found, key=lambda one: one.began or 0)


def job_logs(address: str, job_id: str) -> str:
    """All that the job has printed so far."""
    with _client(address, job_id) as client:
        return str(client.get_job_logs(job_id))


def follow_logs(address: str, job_id: str) -> Iterator[str]:
    """What the job prints, piece by piece from its beginning until it has ended."""
    with _client(address, job_id) as client, asyncio.Runner() as runner:
        pieces = client.tail_job_logs(job_id)
        try:
            while (piece := runner.run(_next(pieces))) is not None:
                yield piece
        finally:
            runner.run(pieces.aclose())


def stop_job(address: str, job_id: str, seconds: float = STOP_SECONDS) -> RayJob:
    """Stop the job and wait until it has ended, `seconds` and a little more at most.

    Its command gets SIGTERM, which a sweep takes like Ctrl-C: it can be resumed. One that has
    ended already is returned as it is.
    """
    with _client(address, job_id) as client:
        client.stop_job(job_id)
        last = time.monotonic() + seconds + CONNECT_SECONDS
        while (job := _job(client.get_job_info(job_id))).live and time.monotonic() < last:
            time.sleep(POLL_SECONDS)
        return job


def stop_unless_obeyed(
    address: str, job_id: str, obeyed: Callable[[], bool], seconds: float
) -> RayJob:
    """Stop a job through Ray if its driver does not do what the database asks of it.

    One that waits has no driver that could read a request, and is stopped at once. One that runs
    has `seconds` until `obeyed` or its own end.
    """
    last = time.monotonic() + seconds
    while (job := job_status(address, job_id)).status == RUNNING and not obeyed():
        if time.monotonic() > last:
            break
        time.sleep(POLL_SECONDS)
    return stop_job(address, job_id) if job.live and not obeyed() else job


def own_job_id() -> str | None:
    """The id of the Ray Job that this process is the command of, however it was submitted."""
    config = json.loads(os.environ.get(_CONFIG) or "{}")
    found = (config.get("metadata") or {}).get("job_submission_id")
    return None if found is None else str(found)


def _submit(client: Any, job_id: str, submission: Submission) -> None:
    environment = {
        **submission.environment,
        "ALIGNERY_RAY_ADDRESS": "auto",
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
    }
    client.submit_job(
        entrypoint=submission.entrypoint,
        submission_id=job_id,
        metadata={RECIPE: submission.recipe},
        # No entrypoint resources: Ray then places the command on the head node.
        runtime_env={"working_dir": str(submission.package), "env_vars": environment},
    )


async def _next(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


def _number(job_id: str, name: str) -> int:
    """Which attempt of `name` the id stands for; 0 if it is none."""
    if job_id == name:
        return 1
    number = job_id.removeprefix(f"{name}-")
    return int(number) if number != job_id and number.isdecimal() else 0


def _jobs(client: Any) -> list[RayJob]:
    """Jobs that were submitted, oldest first."""
    jobs = [_job(one) for one in client.list_jobs() if one.submission_id]
    return sorted(jobs, key=lambda one: one.began or 0)


def _job(details: Any) -> RayJob:
    return RayJob(
        id=str(details.submission_id),
        recipe=(details.metadata or {}).get(RECIPE),
        status=str(details.status.value),
        message=str(details.message or ""),
        began=None if details.start_time is None else details.start_time / 1000,
        ended=None if not details.end_time else details.end_time / 1000,
    )


@contextmanager
def _client(address: str, job_id: str | None = None) -> Iterator[Any]:
    """Ray's client for the jobs at `address`. Its errors become ours."""
    from ray.job_submission import JobSubmissionClient

    with connected(address, JobSubmissionClient) as client:
        try:
            yield client
        except RuntimeError as error:
            if job_id is None or "404" not in str(error):
                raise
            raise JobNotFound(
                f"no job '{job_id}' at {address}; Ray forgets its jobs when its head starts anew. "
                "`alignery sweep logs` shows the newest"
            ) from None
