"""All tables of Alignery. Optuna's own tables are in the same database.

Times are timezone-aware UTC. JSON columns hold what pydantic's `model_dump(mode="json")` gives.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Index, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


def now() -> datetime:
    """The current time, aware and in UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """Timezone-aware UTC on every database; SQLite itself does not store the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


#: Every constraint has a name, so that a later migration can drop it on SQLite too.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class TableBase(DeclarativeBase):
    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(),
    }


class Adapter(TableBase):
    """A published adapter; its id is the digest of its content, so a row never changes."""

    __tablename__ = "adapters"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    base: Mapped[str] = mapped_column(String(255))
    method: Mapped[str] = mapped_column(String(16))
    rank: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Version(TableBase):
    """`line:number`: the adapters of a line in the order they were registered, from 1 on."""

    __tablename__ = "adapter_versions"
    __table_args__ = (UniqueConstraint("line", "adapter_id"),)

    line: Mapped[str] = mapped_column(String(128), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    adapter_id: Mapped[str] = mapped_column(ForeignKey("adapters.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Alias(TableBase):
    """`line@name`: where a name points now."""

    __tablename__ = "aliases"

    line: Mapped[str] = mapped_column(String(128), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int]
    adapter_id: Mapped[str] = mapped_column(ForeignKey("adapters.id"))
    updated_at: Mapped[datetime] = mapped_column(default=now)


class AliasChange(TableBase):
    """One move of an alias. Rows are only ever added."""

    __tablename__ = "alias_history"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    line: Mapped[str] = mapped_column(String(128), index=True)
    name: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(16))  # promote | rollback
    from_number: Mapped[int | None]
    from_id: Mapped[str | None] = mapped_column(String(64))
    to_number: Mapped[int]
    to_id: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime] = mapped_column(default=now)


class Launch(TableBase):
    """One `alignery sweep run`: the stages it searches, its options, and requests to its driver.

    A launch in state `running` whose driver is not alive was interrupted. Its lock and `beat_at`
    show that; it is not stored.
    """

    __tablename__ = "launches"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(64), index=True)  # the recipe's
    recipe: Mapped[dict[str, Any]]
    stages: Mapped[list[str]]
    options: Mapped[dict[str, Any]]  # of the command; with the adapters and files it began with
    state: Mapped[str] = mapped_column(String(16), default="running")  # paused | stopped | …
    reason: Mapped[str] = mapped_column(default="")  # why it is not running
    request: Mapped[str] = mapped_column(String(16), default="")  # pause | stop
    beat_at: Mapped[datetime | None]  # the driver's last sign of life
    driver: Mapped[str] = mapped_column(default="")
    job_id: Mapped[str | None] = mapped_column(String(128))  # of Ray Jobs, where it was submitted
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


class Sweep(TableBase):
    """A search over a stage. Its trials are stored in the Optuna study `study`."""

    __tablename__ = "sweeps"
    __table_args__ = (UniqueConstraint("line", "run"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    line: Mapped[str] = mapped_column(String(128))
    run: Mapped[int]  # 1, 2, … within the line
    study: Mapped[str] = mapped_column(String(255), unique=True)
    digest: Mapped[str] = mapped_column(String(64))  # of recipe, stage, parent, reward model
    recipe: Mapped[dict[str, Any]]
    stage: Mapped[str] = mapped_column(String(64))
    parent_id: Mapped[str | None] = mapped_column(String(64))
    reward_model_id: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default="running")  # finished | failed | stopped
    best_trial: Mapped[int | None]
    adapter_id: Mapped[str | None] = mapped_column(String(64))
    seconds: Mapped[float] = mapped_column(default=0.0)  # spent over all attempts
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    launch_id: Mapped[int | None] = mapped_column(ForeignKey("launches.id"))  # the newest launch
    request: Mapped[str] = mapped_column(String(16), default="")  # stop
    unseen: Mapped[dict[str, Any] | None]  # the finalists' results on unseen items


class ApiKey(TableBase):
    """An endpoint's API key: its scopes and limits. Only its digest is stored, not the key."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)  # the part that may be shown
    name: Mapped[str] = mapped_column(String(64), unique=True)
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the whole key
    scopes: Mapped[list[str]]
    requests_per_minute: Mapped[int | None]
    tokens_per_day: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]


class Experiment(TableBase):
    """An A/B test. `planned_users` fixes where its confidence sequence is tightest."""

    __tablename__ = "experiments"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    alpha: Mapped[float] = mapped_column(default=0.05)
    planned_users: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default="running")  # stopped
    reason: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    stopped_at: Mapped[datetime | None]


class Variant(TableBase):
    """An arm: a share of users, answered by a model name. Exactly one arm is the control."""

    __tablename__ = "experiment_variants"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.name"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    model: Mapped[str] = mapped_column(String(255))
    weight: Mapped[float] = mapped_column(default=1.0)
    control: Mapped[bool] = mapped_column(default=False)


class Exposure(TableBase):
    """One answered request of an experiment."""

    __tablename__ = "exposures"
    __table_args__ = (Index("ix_exposures_experiment_unit", "experiment", "unit"),)

    request_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.name"))
    unit: Mapped[str] = mapped_column(String(255))  # the user
    variant: Mapped[str] = mapped_column(String(64))
    adapter_id: Mapped[str | None] = mapped_column(String(64))  # None: the base
    at: Mapped[datetime] = mapped_column(default=now)


class Feedback(TableBase):
    """A user's verdict on an answer: 1.0 good, 0.0 bad, or any finite score; the last counts."""

    __tablename__ = "feedback"

    request_id: Mapped[str] = mapped_column(ForeignKey("exposures.request_id"), primary_key=True)
    value: Mapped[float]
    comment: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime] = mapped_column(default=now)
