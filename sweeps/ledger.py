"""Rows of the `sweeps` table: which searches there were, and how each ended."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from align.recipe import Recipe
from align.recipe.rewards import PythonConfig
from cluster.database import Database
from cluster.database.tables import Sweep, now
from sweeps.errors import SweepError, SweepNotFound

RUNNING, STOPPED, FINISHED, FAILED = "running", "stopped", "finished", "failed"

_ATTEMPTS = 5


@dataclass(frozen=True)
class Search:
    """What is searched: everything that a trial's result depends on besides its parameters."""

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
        """SHA-256 (hex). The number of trials and the budget are not in it: both may grow."""
        config = self.recipe.stages[self.stage].model_dump(mode="json")
        config.pop("budget_seconds")
        config["sweep"].pop("trials")
        data, rewards = self.recipe.data_of(self.stage), self.recipe.rewards(self.stage)
        content = {
            "base": self.recipe.base,
            "seed": self.recipe.seed,
            "stage": config,
            "data": data.model_dump(mode="json"),
            "file": _file_digest(data.path),
            "evaluation": self.recipe.evaluation.model_dump(mode="json"),
            "rewards": {name: one.model_dump(mode="json") for name, one in rewards.items()},
            "code": {
                name: _file_digest(str(one.file))
                for name, one in rewards.items()
                if isinstance(one, PythonConfig)
            },
            "parent": self.parent_id,
            "reward_model": self.reward_model_id,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def begin(database: Database, search: Search, fresh: bool = False) -> Sweep:
    """The row of this search: its newest one that did not fail, or a new run.

    `fresh` always makes a new run.
    """
    for _ in range(_ATTEMPTS):
        try:
            with database.session() as session:
                row = None if fresh else _same(session, search)
                return row if row is not None else _add(session, search)
        except IntegrityError as error:  # another driver took that run number first
            lost = error
    raise SweepError(f"{search.line}: no run number to be had in {_ATTEMPTS} attempts: {lost}")


def read(database: Database, identity: int) -> Sweep:
    """A row as it is now."""
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
        return row


def sweeps(database: Database, line: str | None = None) -> list[Sweep]:
    """All rows, or those of a line, oldest first."""
    query = select(Sweep).order_by(Sweep.id)
    with database.session(write=False) as session:
        return list(session.scalars(query if line is None else query.filter_by(line=line)))


def newest(database: Database, line: str | None = None) -> Sweep:
    """The newest row of a line, or of all. SweepNotFound says what there is."""
    if found := sweeps(database, line):
        return found[-1]
    have = sorted({row.line for row in sweeps(database)})
    if not have:
        raise SweepNotFound("no sweep was run yet; start one with `alignery sweep run RECIPE`")
    raise SweepNotFound(f"no sweep of '{line}'; there are sweeps of {', '.join(have)}")


def finished(database: Database, line: str) -> Sweep:
    """A line's newest finished row. SweepNotFound if it has none."""
    last = newest(database, line)
    done = [row for row in sweeps(database, line) if row.state == FINISHED]
    if not done:
        raise SweepNotFound(
            f"no sweep of '{line}' has finished; the newest is {last.state}: "
            f"see `alignery sweep status {line}`"
        )
    return done[-1]


def _same(session: Session, search: Search) -> Sweep | None:
    query = select(Sweep).filter_by(line=search.line, digest=search.digest)
    return session.scalars(
        query.where(Sweep.state != FAILED).order_by(Sweep.run.desc()).limit(1)
    ).first()


def _add(session: Session, search: Search) -> Sweep:
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
    )
    session.add(row)
    session.flush()
    return row


def _file_digest(path: str | None) -> str | None:
    if path is None or not Path(path).is_file():
        return None  # a trial says what is wrong with it
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
