"""Rows of the `sweeps` table: each search, its state and its outcome."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from align.recipe import Recipe
from align.rewards.functions import PythonConfig
from align.suggestions import did_you_mean
from cluster.database import Database
from cluster.database.tables import Sweep, now
from sweeps.errors import SweepError, SweepNotFound

RUNNING, STOPPED, FINISHED, FAILED = "running", "stopped", "finished", "failed"

#: Fields of a stage's `sweep` that do not affect existing trials.
MAY_CHANGE = ("trials", "retries", "finalists", "keep_checkpoints", "stop_when")

_ATTEMPTS = 5


@dataclass(frozen=True)
class Search:
    """The identity of a search: everything that a trial's result depends on but its parameters."""

    recipe: Recipe
    stage: str
    parent_id: str | None = None
    reward_model_id: str | None = None

    @property
    def line(self) -> str:
        """`<recipe>/<stage>`."""
        return self.recipe.line(self.stage)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the search, without fields that may change when it is continued.

        Files enter by content, not by path; parent and reward model by id, not by name.
        """
        config = self.recipe.stages[self.stage].model_dump(mode="json")
        for name in ("budget_seconds", "parent", "reward_model", "data", "rewards"):
            config.pop(name)
        for name in MAY_CHANGE:
            config["sweep"].pop(name, None)
        data, rewards = self.recipe.data_of(self.stage), self.recipe.rewards(self.stage)
        content = {
            "base": self.recipe.base,
            "seed": self.recipe.seed,
            "stage": config,
            "data": data.model_dump(mode="json", exclude={"path"}),
            "file": file_digest(data.path),
            "evaluation": self.recipe.evaluation.model_dump(mode="json"),
            "rewards": {
                name: reward.model_dump(mode="json", exclude={"folder"})
                for name, reward in rewards.items()
            },
            "code": {
                name: file_digest(str(reward.file))
                for name, reward in rewards.items()
                if isinstance(reward, PythonConfig)
            },
            "parent": self.parent_id,
            "reward_model": self.reward_model_id,
        }
        if self.recipe.fp32_modules:  # else digests are those of earlier versions
            content["fp32_modules"] = self.recipe.fp32_modules
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def begin(
    database: Database, search: Search, fresh: bool = False, launch: int | None = None
) -> Sweep:
    """The row of this search: the newest that did not fail, or a new run.

    `fresh` makes a new run, unless this `launch` has begun one already. A new row belongs to the
    launch. An existing row may have a driver, so `attach` assigns it to the launch later.
    """
    for _ in range(_ATTEMPTS):
        try:
            with database.session() as session:
                row = _same(session, search)
                if row is None or (fresh and (launch is None or row.launch_id != launch)):
                    row = _add(session, search, launch)
                return row
        except IntegrityError as error:  # another driver took that run number first
            last_error = error
    raise SweepError(
        f"{search.line}: no run number to be had in {_ATTEMPTS} attempts: {last_error}"
    )


def same_search(database: Database, search: Search) -> Sweep | None:
    """The row that `begin` would continue; None if it would begin a new run."""
    with database.session(write=False) as session:
        return _same(session, search)


def attach(database: Database, line: str, run: int | None, launch: int) -> None:
    """Assign a row to the launch that drives it now; without `run`, the line's newest finished row.

    Clears the request that was made to its former driver.
    """
    query = select(Sweep).filter_by(line=line)
    query = query.filter_by(state=FINISHED) if run is None else query.filter_by(run=run)
    with database.session() as session:
        row = session.scalars(query.order_by(Sweep.run.desc()).limit(1)).first()
        if row is not None and row.launch_id != launch:
            row.launch_id, row.request = launch, ""


def read(database: Database, identity: int) -> Sweep:
    """The current row of a sweep."""
    with database.session(write=False) as session:
        return session.get_one(Sweep, identity)


def update(database: Database, identity: int, seconds: float = 0.0, **fields: Any) -> Sweep:
    """Set fields of a row and add `seconds` to its time."""
    with database.session() as session:
        row = session.get_one(Sweep, identity)
        row.seconds += seconds
        for name, value in fields.items():
            setattr(row, name, value)
        row.finished_at = now() if row.state in (FINISHED, FAILED) else None
        if row.finished_at is not None:
            row.request = ""
        return row


def sweeps(database: Database, line: str | None = None) -> list[Sweep]:
    """All rows, or those of a line, oldest first."""
    query = select(Sweep).order_by(Sweep.id)
    with database.session(write=False) as session:
        return list(session.scalars(query if line is None else query.filter_by(line=line)))


def newest(database: Database, line: str | None = None) -> Sweep:
    """The newest row of a line, or of all lines. SweepNotFound lists the existing lines."""
    if rows := sweeps(database, line):
        return rows[-1]
    raise not_found(line, {row.line for row in sweeps(database)})


def finished(database: Database, line: str) -> Sweep:
    """A line's newest finished row. SweepNotFound if it has none."""
    newest_row = newest(database, line)
    finished_rows = [row for row in sweeps(database, line) if row.state == FINISHED]
    if not finished_rows:
        raise SweepNotFound(
            f"no sweep of '{line}' has finished; the newest is {newest_row.state}: "
            f"see `alignery sweep status {line}`"
        )
    return finished_rows[-1]


def not_found(name: str | None, have: Iterable[str]) -> SweepNotFound:
    """The error for an unknown name: suggests a similar name and lists the existing names."""
    names = sorted(have)
    if not names:
        return SweepNotFound("no sweep was run yet; start one with `alignery sweep run RECIPE`")
    hint = did_you_mean(name or "", names, after=" There") or "there"
    return SweepNotFound(f"no sweep of '{name}'; {hint} are sweeps of {', '.join(names)}")


def file_digest(path: str | None) -> str | None:
    """SHA-256 (hex) of a file's content; None where there is no such file."""
    if path is None or not Path(path).is_file():
        return None  # a trial reports the missing file
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _same(session: Session, search: Search) -> Sweep | None:
    query = select(Sweep).filter_by(line=search.line, digest=search.digest)
    return session.scalars(
        query.where(Sweep.state != FAILED).order_by(Sweep.run.desc()).limit(1)
    ).first()


def _add(session: Session, search: Search, launch: int | None) -> Sweep:
    run = (session.scalar(select(func.max(Sweep.run)).filter_by(line=search.line)) or 0) + 1
    row = Sweep(
        line=search.line,
        run=run,
        study=f"{search.line}/{run}-{search.digest[:12]}",
        digest=search.digest,
        recipe=search.recipe.model_dump(mode="json"),
        stage=search.stage,
        parent_id=search.parent_id,
        reward_model_id=search.reward_model_id,
        state=RUNNING,
        launch_id=launch,
    )
    session.add(row)
    session.flush()
    return row
