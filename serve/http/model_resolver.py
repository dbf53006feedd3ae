"""Resolution of a request's `model` to the adapter that answers it."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from anyio import to_thread

from align.methods import is_reward_model
from align.suggestions import did_you_mean
from cluster.registry import AdapterVersion
from serve.batching.jobs import AdapterRef
from serve.catalogue import Catalogue
from serve.catalogue.snapshot import ref_of
from serve.experiments import ExperimentInfo
from serve.experiments.assignment import assign
from serve.experiments.exposures import Exposed
from serve.experiments.rules import BASE
from serve.http.errors import ApiError

T = TypeVar("T")


@dataclass(frozen=True)
class ModelTarget:
    """The adapter that answers a request; None is the base. `exposed` is set in experiments."""

    adapter: AdapterRef | None
    exposed: Exposed | None = None


class UnknownModel(Exception):
    """The catalogue does not have this name."""


class ModelResolver:
    """Resolves model names with the endpoint's catalogue.

    A name is resolved once for each request. For an unknown name the catalogue is refreshed before
    the request is refused, since the name may be newer than the catalogue's last read.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._base = catalogue.base
        self._started = int(time.time())

    async def chat(self, model: str, user: str | None) -> ModelTarget:
        """The target that generates for `model`; in an experiment, that of this user's variant.

        A request without `user` counts as a separate user. ApiError 404 for an unknown name, 400
        for a reward adapter, and 503 for an unknown name while the database is unavailable.
        """
        return await self._sure(lambda: self._chat(model, user or uuid.uuid4().hex))

    async def score(self, model: str) -> AdapterRef:
        """The reward adapter `model`. ApiError as for `chat`; 400 if `model` cannot score."""
        return await self._sure(lambda: self._score(model))

    async def model(self, name: str) -> dict[str, Any]:
        """The model object of a name, which may be a `line`. ApiError 404 or 503."""
        return await self._sure(lambda: self._model(name))

    async def models(self) -> list[dict[str, Any]]:
        """Every name that is served now, as OpenAI's model objects."""
        if self._catalogue.trouble is None:
            await self._catalogue.refresh()
        return self._models()

    def _models(self) -> list[dict[str, Any]]:
        snapshot, aliases = self._catalogue.now, defaultdict(list)
        for alias, version in snapshot.aliases.items():
            aliases[version.name].append(alias)
        pending = self._catalogue.moves.pending
        entries = [self._base_entry()]
        for version in snapshot.versions.values():
            if version.base == self._base:
                names = [version.name, *sorted(aliases[version.name])]
                entries += [self._entry_of(name, version, pending.get(name)) for name in names]
        entries += [
            _experiment_entry(experiment)
            for experiment in snapshot.running()
            if self._serves(experiment)
        ]
        return entries

    def _base_entry(self) -> dict[str, Any]:
        return _entry(BASE, self._started, method="base")

    async def _sure(self, find: Callable[[], T]) -> T:
        try:
            return find()
        except UnknownModel:
            if self._catalogue.trouble is None:
                await self._catalogue.refresh()
        try:
            return find()
        except UnknownModel as unknown:
            name = str(unknown)
        if self._catalogue.trouble is None:
            known = [entry["id"] for entry in self._models()]
            raise await to_thread.run_sync(_not_found, name, known)
        message = (
            f"no model '{name}' was known when the database went away; try again once it is back"
        )
        raise ApiError(503, message, "unavailable", "model")

    def _chat(self, model: str, unit: str) -> ModelTarget:
        if model == BASE:
            return ModelTarget(None)
        if "/" in model:
            return ModelTarget(self._chat_adapter(model))
        experiment = self._experiment(model)
        weights = [variant.weight for variant in experiment.variants]
        variant = experiment.variants[assign(experiment.name, unit, weights)]
        adapter = None if variant.model == BASE else self._chat_adapter(variant.model)
        return ModelTarget(adapter, Exposed(experiment.name, unit, variant.name))

    def _score(self, model: str) -> AdapterRef:
        if model == BASE or ("/" not in model and self._experiment(model)):
            raise ApiError(400, f"'{model}' cannot score; name a reward adapter", None, "model")
        version = self._version(model)
        if not is_reward_model(version.method):
            message = f"'{model}' answers chats and cannot score; POST it to /v1/chat/completions"
            raise ApiError(400, message, "wrong_endpoint", "model")
        return ref_of(version)

    def _model(self, name: str) -> dict[str, Any]:
        if name == BASE:
            return self._base_entry()
        if "/" not in name:
            return _experiment_entry(self._experiment(name))
        return self._entry_of(name, self._version(name), self._catalogue.moves.pending.get(name))

    def _experiment(self, name: str) -> ExperimentInfo:
        experiment = self._catalogue.now.experiments.get(name)
        if experiment is None:
            raise UnknownModel(name)
        if experiment.state == "stopped":
            models = " or ".join(variant.model for variant in experiment.variants)
            message = f"experiment '{name}' was stopped; ask for {models}"
            raise ApiError(404, message, "model_not_found", "model")
        return experiment

    def _chat_adapter(self, model: str) -> AdapterRef:
        version = self._version(model)
        if is_reward_model(version.method):
            message = f"'{model}' is a reward adapter and cannot chat; POST it to /v1/score"
            raise ApiError(400, message, "wrong_endpoint", "model")
        return ref_of(version)

    def _version(self, model: str) -> AdapterVersion:
        version = self._catalogue.now.adapter(model)
        if version is None:
            raise UnknownModel(model)
        if version.base != self._base:
            message = (
                f"'{model}' was trained on base '{version.base}', and this endpoint serves "
                f"'{self._base}'; start one with `alignery serve run --base {version.base}`"
            )
            raise ApiError(404, message, "model_not_found", "model")
        return version

    def _serves(self, experiment: ExperimentInfo) -> bool:
        adapters = [variant.model for variant in experiment.variants if variant.model != BASE]
        versions = self._catalogue.now.versions
        return all(versions[model].base == self._base for model in adapters)

    def _entry_of(
        self, name: str, version: AdapterVersion, to: AdapterVersion | None
    ) -> dict[str, Any]:
        """The model object of an adapter; of an alias, with its pending move and its failure."""
        created = int(version.created_at.timestamp())
        extra = {"method": version.method, "adapter_id": version.adapter_id}
        if to is not None:
            extra["moving_to"] = to.adapter_id
        if (failure := self._catalogue.moves.failures.get(name)) is not None:
            extra["move_failed"] = failure.reason
        return _entry(name, created, **extra)


def _not_found(name: str, known: list[str]) -> ApiError:
    """A 404 with the closest names. Slow for thousands of names, so it runs on a thread."""
    hint = did_you_mean(name, known, 3, cutoff=0.5, after=" ")
    message = f"there is no model '{name}'; {hint}GET /v1/models lists all"
    return ApiError(404, message, "model_not_found", "model")


def _experiment_entry(experiment: ExperimentInfo) -> dict[str, Any]:
    created = int(datetime.fromisoformat(experiment.created_at).timestamp())
    return _entry(experiment.name, created, method="experiment")


def _entry(name: str, created: int, **extra: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "alignery", **extra}
