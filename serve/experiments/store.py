"""Experiments in the database, with their exposures and feedback."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from align.methods import is_reward_model
from align.suggestions import did_you_mean
from cluster.database import Database, open_database
from cluster.database.tables import Experiment, Exposure, Feedback, Variant, now
from cluster.registry import Registry
from cluster.settings import Settings
from cluster.storage import Storage
from serve.errors import AnswerNotFound, ExperimentError, ExperimentNotFound
from serve.experiments.report import (
    ExperimentInfo,
    ExperimentReport,
    Outcomes,
    VariantSpec,
    analyse,
)
from serve.experiments.rules import BASE, check_design


class Experiments:
    """The experiments of a database. Safe to share between threads."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry

    def start(
        self,
        name: str,
        variants: Sequence[VariantSpec],
        control: str,
        planned_users: int,
        alpha: float = 0.05,
    ) -> ExperimentInfo:
        """Start to split the users who request the model `name` between the variants.

        An alias is pinned to the version it names now, so that a promotion does not change what
        is compared. `control` is the name of a variant. `planned_users` is the expected number of
        users with feedback, at which the comparison has the most power; it is valid at any number.
        ExperimentError, AdapterNotFound.
        """
        check_design(name, variants, control, planned_users, alpha)
        pinned = self._pinned(variants)
        row = Experiment(
            name=name, alpha=alpha, planned_users=planned_users, state="running", created_at=now()
        )
        try:
            with self._database.session() as session:
                if session.get(Experiment, name) is not None:
                    raise _duplicate(name)
                session.add(row)
                session.flush()
                session.add_all(_variant_rows(name, pinned, control))
        except IntegrityError:
            raise _duplicate(name) from None
        return _info(row, pinned, control)

    def stop(self, name: str, reason: str = "") -> ExperimentInfo:
        """Stop the experiment: its name is no model any more; its answers can still be rated.

        ExperimentNotFound, or ExperimentError if it was stopped before.
        """
        with self._database.session() as session:
            row = self._row(session, name)
            if row.state == "stopped":
                raise ExperimentError(
                    f"experiment '{name}' was stopped before, at {_iso(row.stopped_at)}"
                )
            row.state, row.reason, row.stopped_at = "stopped", reason, now()
            return _read(session, row)

    def get(self, name: str) -> ExperimentInfo:
        """The experiment, running or stopped. ExperimentNotFound suggests similar names."""
        with self._database.session(write=False) as session:
            return _read(session, self._row(session, name))

    def find(self, name: str) -> ExperimentInfo | None:
        """The experiment, running or stopped, or None."""
        with self._database.session(write=False) as session:
            row = session.get(Experiment, name)
            return None if row is None else _read(session, row)

    def every(self) -> list[ExperimentInfo]:
        """All experiments, oldest first."""
        with self._database.session(write=False) as session:
            rows = session.scalars(select(Experiment).order_by(Experiment.created_at)).all()
            return [_read(session, row) for row in rows]

    def mark(self) -> tuple[int, int]:
        """A cheap change mark: the numbers of started and of stopped experiments."""
        counts = select(func.count(), func.count(Experiment.stopped_at)).select_from(Experiment)
        with self._database.session(write=False) as session:
            started, stopped = session.execute(counts).one()
        return int(started), int(stopped)

    def free_name(self, wanted: str) -> str:
        """`wanted` if no experiment has this name, else with the first free number appended."""
        taken = {info.name for info in self.every()}
        numbered = (f"{wanted}-{number}" for number in itertools.count(2))
        return next(name for name in itertools.chain([wanted], numbered) if name not in taken)

    def running(self) -> list[ExperimentInfo]:
        """The running experiments, whose names are models, oldest first."""
        return [info for info in self.every() if info.state == "running"]

    def record_exposures(self, rows: Iterable[tuple[str, str, str, str, str | None]]) -> None:
        """Write exposures in a single transaction.

        A row is a request's id, the experiment, the user, the variant and the adapter's id (None:
        the base).
        """
        with self._database.session() as session:
            session.add_all(
                Exposure(
                    request_id=request_id,
                    experiment=experiment,
                    unit=unit,
                    variant=variant,
                    adapter_id=adapter_id,
                )
                for request_id, experiment, unit, variant, adapter_id in rows
            )

    def record_feedback(self, request_id: str, value: float, comment: str = "") -> str:
        """Store the feedback on an answer, in place of any earlier feedback on it.

        Returns the experiment's name. AnswerNotFound if the answer belongs to no experiment.
        """
        try:
            return self._keep_feedback(request_id, value, comment)
        except IntegrityError:  # a concurrent rating of the same answer: the last rating counts
            return self._keep_feedback(request_id, value, comment)

    def _keep_feedback(self, request_id: str, value: float, comment: str) -> str:
        with self._database.session() as session:
            exposure = session.get(Exposure, request_id)
            if exposure is None:
                raise AnswerNotFound(
                    f"'{request_id}' is no answer of an experiment; expected the `id` of a "
                    "completion whose `model` was the name of an experiment"
                )
            session.merge(Feedback(request_id=request_id, value=value, comment=comment, at=now()))
            return exposure.experiment

    def report(self, name: str) -> ExperimentReport:
        """The experiment's report as of now. ExperimentNotFound."""
        with self._database.session(write=False) as session:
            info = _read(session, self._row(session, name))
            return analyse(info, _outcomes(session, name))

    def _pinned(self, variants: Sequence[VariantSpec]) -> list[VariantSpec]:
        """The variants with aliases replaced by versions.

        ExperimentError if a variant is a reward adapter, or the variants have several bases.
        """
        pinned: list[VariantSpec] = []
        bases: dict[str, str] = {}
        for variant in variants:
            if variant.model == BASE:
                pinned.append(variant)
                continue
            version = self._registry.resolve(variant.model)
            if is_reward_model(version.method):
                raise ExperimentError(
                    f"'{variant.model}' is a reward adapter: it scores and cannot answer; "
                    "compare adapters of another stage, or base"
                )
            bases[version.base] = variant.model
            pinned.append(variant.model_copy(update={"model": version.name}))
        if len(bases) > 1:
            raise ExperimentError(
                "one endpoint serves one base, but the variants need several: "
                + ", ".join(f"{model} needs {base}" for base, model in bases.items())
            )
        return pinned

    def _row(self, session: Session, name: str) -> Experiment:
        row = session.get(Experiment, name)
        if row is not None:
            return row
        names = session.scalars(select(Experiment.name)).all()
        hint = did_you_mean(name, names, 3, after=" ")
        raise ExperimentNotFound(
            f"there is no experiment '{name}'; {hint}`alignery ab list` shows all"
        )


def open_experiments(settings: Settings) -> Experiments:
    """The experiments of this installation. Creates or migrates its database."""
    database = open_database(settings)
    return Experiments(database, Registry(database, Storage(settings)))


def _duplicate(name: str) -> ExperimentError:
    return ExperimentError(
        f"experiment '{name}' exists already; its users and feedback stay its own, so take another "
        f"name (`alignery ab report {name}` shows it)"
    )


def _variant_rows(name: str, variants: Sequence[VariantSpec], control: str) -> list[Variant]:
    return [
        Variant(experiment=name, control=variant.name == control, **variant.model_dump())
        for variant in variants
    ]


def _read(session: Session, row: Experiment) -> ExperimentInfo:
    rows = session.scalars(select(Variant).filter_by(experiment=row.name)).all()
    variants = [
        VariantSpec(name=variant.name, model=variant.model, weight=variant.weight)
        for variant in rows
    ]
    return _info(row, variants, next(variant.name for variant in rows if variant.control))


def _info(row: Experiment, variants: Sequence[VariantSpec], control: str) -> ExperimentInfo:
    # The order decides which buckets a variant owns, so it must never change: control first, then
    # the others in Python's order of strings, since databases sort text differently.
    ordered = sorted(variants, key=lambda variant: (variant.name != control, variant.name))
    return ExperimentInfo(
        name=row.name,
        variants=ordered,
        control=control,
        planned_users=row.planned_users,
        alpha=row.alpha,
        state="stopped" if row.state == "stopped" else "running",
        reason=row.reason or "",
        created_at=_iso(row.created_at) or "",
        stopped_at=_iso(row.stopped_at),
    )


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def _outcomes(session: Session, name: str) -> dict[str, Outcomes]:
    """For each variant: the numbers of users and answers, and each rating user's mean feedback."""
    query = (
        select(
            Exposure.variant,
            func.count(),
            func.avg(Feedback.value),
        )
        .outerjoin(Feedback, Feedback.request_id == Exposure.request_id)
        .where(Exposure.experiment == name)
        .group_by(Exposure.variant, Exposure.unit)
    )
    outcomes: dict[str, Outcomes] = {}
    for variant, answers, mean in session.execute(query):
        outcome = outcomes.setdefault(variant, Outcomes())
        outcome.users += 1
        outcome.answers += answers
        if mean is not None:
            outcome.means.append(float(mean))
    return outcomes
