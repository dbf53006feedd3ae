"""From a request's `model` to what answers it."""

from __future__ import annotations

import difflib
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from anyio import to_thread

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
    """What answers a request; `adapter` None is the base."""

    adapter: AdapterRef | None
    exposed: Exposed | None = None


class UnknownModel(Exception):
    """A name that the catalogue does not have."""


class ModelResolver:
    """The names that an endpoint answers to, as its catalogue has them.

    A name is resolved once for each request; one that nobody knows is looked for in the database
    before it is refused, since it may be younger than the catalogue's last look.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._base = catalogue.base
        self._started = int(time.time())

    async def chat(self, model: str, user: str | None) -> ModelTarget:
        """What generates for `model`; in an experiment, what this user's variant is.

        Without `user` a request is a user of its own. ApiError 404 for an unknown name, 400 for a
        reward adapter, and 503 for a name that is not known while the database is away.
        """
        return await self._sure(lambda: self._chat(model, user or uuid.uuid4().hex))

    async def score(self, model: str) -> AdapterRef:
        """The reward adapter `model`. ApiError as for `chat`, 400 if it cannot score."""
        return await self._sure(lambda: self._score(model))

    async def model(self, name: str) -> dict[str, Any]:
        """The model object of one name, `line` included. ApiError 404 or 503."""
        return await self._sure(lambda: self._model(name))

    async def models(self) -> list[dict[str, Any]]:
        """Every name that is served now, as OpenAI's model objects."""
        if self._catalogue.trouble is None:
            await self._catalogue.refresh()
        return self._models()

    def _models(self) -> list[dict[str, Any]]:
        now, named = self._catalogue.now, defaultdict(list)
        for alias, version in now.aliases.items():
            named[version.name].append(alias)
        pending = self._catalogue.moves.pending
        entries = [self._base_entry()]
        for version in now.versions.values():
            if version.base == self._base:
                names = [version.name, *sorted(named[version.name])]
                entries += [self._entry_of(name, version, pending.get(name)) for name in names]
        entries += [_experiment_entry(one) for one in now.running() if self._serves(one)]
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
        if version.method != "reward":
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
        if version.method == "reward":
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
        adapters = [one.model for one in experiment.variants if one.model != BASE]
        versions = self._catalogue.now.versions
        return all(versions[model].base == self._base for model in adapters)

    def _entry_of(
        self, name: str, version: AdapterVersion, to: AdapterVersion | None
    ) -> dict[str, Any]:
        """With where an alias is about to move, and why it cannot."""
        created = int(version.created_at.timestamp())
        more = {"method": version.method, "adapter_id": version.adapter_id}
        if to is not None:
            more["moving_to"] = to.adapter_id
        if (failure := self._catalogue.moves.failures.get(name)) is not None:
            more["move_failed"] = failure.reason
        return _entry(name, created, **more)


def _not_found(name: str, known: list[str]) -> ApiError:
    """Names the nearest; where there are thousands of names that takes a while."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    message = f"there is no model '{name}'; {hint}GET /v1/models lists all"
    return ApiError(404, message, "model_not_found", "model")


def _experiment_entry(one: ExperimentInfo) -> dict[str, Any]:
    created = int(datetime.fromisoformat(one.created_at).timestamp())
    return _entry(one.name, created, method="experiment")


def _entry(name: str, created: int, **more: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "alignery", **more}
