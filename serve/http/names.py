"""From a request's `model` to what answers it."""

from __future__ import annotations

import difflib
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cluster.registry import AdapterVersion, Registry
from serve.batching.jobs import AdapterRef
from serve.experiments import ExperimentInfo, Experiments
from serve.experiments.assignment import assign
from serve.experiments.rules import BASE
from serve.http.errors import ApiError


@dataclass(frozen=True)
class Exposed:
    """A place in an experiment."""

    experiment: str
    unit: str
    variant: str


@dataclass(frozen=True)
class Target:
    """What answers a request; `adapter` None is the base."""

    adapter: AdapterRef | None
    exposed: Exposed | None = None


class Names:
    """The names that an endpoint on `base` answers to. Methods read the database, so they block.

    Nothing is kept between calls: a promotion counts from the next request on.
    """

    def __init__(self, registry: Registry, experiments: Experiments, base: str) -> None:
        self._registry = registry
        self._experiments = experiments
        self._base = base
        self._started = int(time.time())

    def chat(self, model: str, user: str | None) -> Target:
        """What generates for `model`; in an experiment, what this user's variant is.

        Without `user` a request is a user of its own. ApiError 404 for an unknown name and 400
        for a reward adapter.
        """
        if model == BASE:
            return Target(None)
        if "/" not in model:
            return self._variant(self._experiment(model), user or uuid.uuid4().hex)
        return Target(self._chat_adapter(model))

    def score(self, model: str) -> AdapterRef:
        """The reward adapter `model`. ApiError 404 for an unknown name, 400 if it cannot score."""
        if model == BASE or ("/" not in model and self._experiment(model)):
            raise ApiError(400, f"'{model}' cannot score; name a reward adapter", None, "model")
        version = self._version(model)
        if version.method != "reward":
            message = f"'{model}' answers chats and cannot score; POST it to /v1/chat/completions"
            raise ApiError(400, message, "wrong_endpoint", "model")
        return _ref(version)

    def models(self) -> list[dict[str, Any]]:
        """Every name that is served now, as OpenAI's model objects."""
        entries = [_entry(BASE, self._started, method="base")]
        for version in self._registry.versions():
            if version.base == self._base:
                names = [f"{version.line}@{alias}" for alias in version.aliases]
                entries += [_entry_of(name, version) for name in [version.name, *names]]
        for one in self._experiments.running():
            if self._serves(one):
                created = int(datetime.fromisoformat(one.created_at).timestamp())
                entries.append(_entry(one.name, created, method="experiment"))
        return entries

    def model(self, name: str) -> dict[str, Any]:
        """The model object of one name, `line` included. ApiError 404."""
        found = next((one for one in self.models() if one["id"] == name), None)
        if found is not None:
            return found
        if "/" not in name:
            raise self._unknown(name)
        return _entry_of(name, self._version(name))

    def _variant(self, experiment: ExperimentInfo, unit: str) -> Target:
        weights = [variant.weight for variant in experiment.variants]
        variant = experiment.variants[assign(experiment.name, unit, weights)]
        adapter = None if variant.model == BASE else self._chat_adapter(variant.model)
        return Target(adapter, Exposed(experiment.name, unit, variant.name))

    def _experiment(self, name: str) -> ExperimentInfo:
        experiment = self._experiments.find(name)
        if experiment is None:
            raise self._unknown(name)
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
        return _ref(version)

    def _version(self, model: str) -> AdapterVersion:
        version = self._registry.resolve(model)
        if version.base != self._base:
            message = (
                f"'{model}' was trained on base '{version.base}', and this endpoint serves "
                f"'{self._base}'; start one with `alignery serve run --base {version.base}`"
            )
            raise ApiError(404, message, "model_not_found", "model")
        return version

    def _serves(self, experiment: ExperimentInfo) -> bool:
        adapters = [one.model for one in experiment.variants if one.model != BASE]
        return all(self._registry.resolve(model).base == self._base for model in adapters)

    def _unknown(self, name: str) -> ApiError:
        known = [entry["id"] for entry in self.models()]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        message = f"there is no model '{name}'; {hint}GET /v1/models lists all"
        return ApiError(404, message, "model_not_found", "model")


def _ref(version: AdapterVersion) -> AdapterRef:
    return AdapterRef(version.adapter_id, version.name)


def _entry(name: str, created: int, **more: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "alignery", **more}


def _entry_of(name: str, version: AdapterVersion) -> dict[str, Any]:
    created = int(version.created_at.timestamp())
    return _entry(name, created, method=version.method, adapter_id=version.adapter_id)
