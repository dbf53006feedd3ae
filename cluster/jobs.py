"""Sweeps as Ray Jobs: commands that run on a cluster's head without a connected client."""

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

#: Seconds that a stopped job has to record the state of its trials, before Ray kills it.
STOP_SECONDS = 30
POLL_SECONDS = 0.5
#: Key of a job's metadata that names the recipe it searches; RayJob manifests set it too.
RECIPE = "alignery_recipe"
#: Variable in which Ray passes a job's configuration to its command; so named in Ray 2.60.
_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
PENDING, RUNNING, SUCCEEDED = "PENDING", "RUNNING", "SUCCEEDED"


@dataclass(frozen=True)
class RayJob:
    """A job as Ray reports it. `began` and `ended` are seconds since the epoch."""

    id: str
    recipe: str | None
    status: str
    message: str
    began: float | None
    ended: float | None

    @property
    def live(self) -> bool:
        """Whether the job is pending or running."""
        return self.status in (PENDING, RUNNING)


@dataclass(frozen=True)
class Submission:
    """A job to run on the cluster. Whoever may list the jobs can read all of it.

    `package` is a zip file that becomes the job's working directory.
    """

    name: str
    recipe: str
    entrypoint: str
    package: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def submit_job(address: str, submission: Submission) -> tuple[RayJob, bool]:
    """Start the job on the cluster's head, where it takes no CPU from the trials.

    Returns the job, and whether it is new: a pending or running job of this name is returned
    unchanged. Ids of ended jobs cannot be used again, so the next id is `<name>-2`. ClusterError
    if the cluster cannot be reached or does not accept the job.
    """
    with _client(address) as client:
        while True:
            attempts = [job for job in _jobs(client) if _number(job.id, submission.name)]
            if live := [job for job in attempts if job.live]:
                return live[-1], False
            number = 1 + max((_number(job.id, submission.name) for job in attempts), default=0)
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
    """The job with the id `name`, or the newest job of the recipe or line `name`; None: of all."""
    with _client(address) as client:
        jobs = _jobs(client)
    recipe = None if name is None else name.partition("/")[0]
    matches = [job for job in jobs if name is None or job.id == name or job.recipe == recipe]
    if not matches:
        description = "job of Alignery's" if name is None else f"job of '{name}'"
        known = ", ".join(dict.fromkeys(job.recipe or job.id for job in jobs))
        raise JobNotFound(
            f"no {description} at {address}; "
            + (f"there are jobs of {known}" if known else "no jobs")
        )
    return max(matches, key=lambda job: job.began or 0)


def job_logs(address: str, job_id: str) -> str:
    """All that the job has printed so far."""
    with _client(address, job_id) as client:
        return str(client.get_job_logs(job_id))


def follow_logs(address: str, job_id: str) -> Iterator[str]:
    """The job's output in pieces, from its beginning until the job has ended."""
    with _client(address, job_id) as client, asyncio.Runner() as runner:
        pieces = client.tail_job_logs(job_id)
        try:
            while (piece := runner.run(_next(pieces))) is not None:
                yield piece
        finally:
            runner.run(pieces.aclose())


def stop_job(address: str, job_id: str, seconds: float = STOP_SECONDS) -> RayJob:
    """Stop the job and wait until it has ended, `seconds` and a little more at most.

    Its command gets SIGTERM, which a sweep handles like Ctrl-C: it can be resumed. A job that has
    ended already is returned unchanged.
    """
    with _client(address, job_id) as client:
        client.stop_job(job_id)
        deadline = time.monotonic() + seconds + CONNECT_SECONDS
        while (job := _job(client.get_job_info(job_id))).live and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return job


def stop_unless_obeyed(
    address: str, job_id: str, obeyed: Callable[[], bool], seconds: float
) -> RayJob:
    """Stop a job through Ray unless its driver acts on the request in the database.

    A pending job has no driver that could read a request, and is stopped at once. A running job
    has `seconds` until `obeyed` is true or it ends.
    """
    deadline = time.monotonic() + seconds
    while (job := job_status(address, job_id)).status == RUNNING and not obeyed():
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    return stop_job(address, job_id) if job.live and not obeyed() else job


def own_job_id() -> str | None:
    """The id of the Ray Job that this process is the command of, however it was submitted."""
    config = json.loads(os.environ.get(_CONFIG) or "{}")
    submission_id = (config.get("metadata") or {}).get("job_submission_id")
    return None if submission_id is None else str(submission_id)


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
    """The number of the attempt at `name` that has this id; 0 if none has."""
    if job_id == name:
        return 1
    number = job_id.removeprefix(f"{name}-")
    return int(number) if number != job_id and number.isdecimal() else 0


def _jobs(client: Any) -> list[RayJob]:
    """Jobs that were submitted, oldest first."""
    jobs = [_job(details) for details in client.list_jobs() if details.submission_id]
    return sorted(jobs, key=lambda job: job.began or 0)


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
    """Ray's client for the jobs at `address`. Its errors become ClusterError or JobNotFound."""
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
