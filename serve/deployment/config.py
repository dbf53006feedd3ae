"""Serve configs of an endpoint on a cluster: written, read, and checked more strictly than by Ray.

Ray ignores unknown keys, so that an older Ray can read the config of a newer version: a misspelt
option would have no effect. Here it is an error that names the nearest known key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from sqlalchemy import make_url

from align.suggestions import did_you_mean
from serve.addresses import listens_on_loopback
from serve.errors import ServeError

if TYPE_CHECKING:
    from ray.serve.schema import ServeDeploySchema

    from serve.app import AppArgs

APPLICATION = "alignery"
IMPORT_PATH = "serve.app:build"
#: Names of the deployments of `serve.app`, for which a config may set options.
ENGINES = "EngineReplica"
DEPLOYMENTS = (ENGINES, "Ingress", "Tally")


def make_config(args: AppArgs, host: str, port: int) -> dict[str, Any]:
    """A Serve config with this endpoint only; arguments with their default value are left out."""
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": host, "port": port},
        "applications": [
            {
                "name": APPLICATION,
                # Set for this application, since at the top level it would apply to all others.
                "logging_config": {"enable_access_log": False},
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                "args": args.model_dump(mode="json", exclude_defaults=True),
            }
        ],
    }


def read_config(file: Path) -> dict[str, Any]:
    """A config from a YAML file. ServeError if it cannot be read, or `check_config` rejects it."""
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ServeError(f"no file '{file}'") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ServeError(f"{file}: no YAML: {' '.join(str(error).split())}") from None
    check_config(config, str(file))
    return dict(config)


def trust_in_network(config: Mapping[str, Any], wanted: bool) -> bool:
    """Whether a checked config, or `wanted`, trusts the cluster's network.

    `wanted` is written into the endpoint's arguments, which it reads when it starts.
    """
    (application,) = config["applications"]
    arguments = application.setdefault("args", {})
    if wanted:
        arguments["trust_network"] = True
    return bool(arguments.get("trust_network"))


def check_config(config: Any, where: str) -> None:
    """ServeError unless Ray knows every key and this endpoint knows every argument."""
    from ray.serve.schema import ServeDeploySchema

    if not isinstance(config, Mapping):
        raise ServeError(f"{where}: expected a Serve config, with `applications`")
    if unknown := next(_unknown(config, ServeDeploySchema, ""), None):
        path, hint = unknown
        raise ServeError(f"{where}: '{path}' means nothing to Ray Serve; {hint}")
    try:
        checked = ServeDeploySchema.model_validate(config)
        json.dumps(config, allow_nan=False)  # the config is sent as JSON
    except ValidationError as error:
        raise ServeError(f"{where}: {first_problem(error)}") from None
    except (TypeError, ValueError, AttributeError) as error:  # some of Ray's validators raise these
        raise ServeError(f"{where}: {' '.join(str(error).split())}") from None
    _check_reach(checked, where)
    own = [app for app in checked.applications if app.import_path == IMPORT_PATH]
    if [app.name for app in own] != [APPLICATION] or len(checked.applications) > 1:
        names = ", ".join(app.name for app in checked.applications) or "none"
        raise ServeError(
            f"{where}: expected one application, '{APPLICATION}' with import_path {IMPORT_PATH}; "
            f"got {names}"
        )
    _check_args(own[0].args, checked.http_options.host, where)
    _check_deployments(own[0].model_dump(exclude_unset=True).get("deployments", ()), where)


def _check_reach(config: ServeDeploySchema, where: str) -> None:
    """ServeError for options that Ray accepts, but that make the endpoint unreachable.

    Also for a target capacity, which would affect other applications.
    """
    problem = None
    if not 1 <= config.http_options.port <= 65535:
        problem = f"http_options.port: expected 1 to 65535; got {config.http_options.port}"
    elif config.proxy_location == "Disabled":
        problem = "proxy_location: Disabled, nobody reaches it; expected EveryNode or HeadOnly"
    elif config.target_capacity is not None:
        problem = "target_capacity is for all that the cluster serves; set args.replicas"
    elif any(not (app.route_prefix or "").startswith("/") for app in config.applications):
        problem = "route_prefix: nobody reaches an application without one; expected /"
    if problem is not None:
        raise ServeError(f"{where}: {problem}")


def _check_args(arguments: Mapping[str, Any], host: str, where: str) -> None:
    from serve.app import AppArgs

    try:
        args = AppArgs.model_validate(arguments)
    except ValidationError as error:
        raise ServeError(f"{where}: args.{first_problem(error)}{_near(error, AppArgs)}") from None
    if args.database_url is not None and make_url(args.settings().database_url).password:
        raise ServeError(
            f"{where}: args.database_url has a password, which everybody who may look at the "
            "cluster could read; leave it out, and set ALIGNERY_DATABASE_URL on its machines"
        )
    if not listens_on_loopback(host) and args.keys_asked is None:
        raise ServeError(
            f"{where}: {host} can be reached from other machines: set args.keys_asked to true "
            "(`alignery serve key create` makes keys), or to false if whoever reaches the port may "
            "use it"
        )


def _check_deployments(deployments: Sequence[Mapping[str, Any]], where: str) -> None:
    """Check the options that a config sets for deployments, besides `args`. ServeError."""
    from ray.serve.config import AutoscalingConfig

    names = [str(options["name"]) for options in deployments]
    for name in names:
        if name not in DEPLOYMENTS:
            known = ", ".join(DEPLOYMENTS)
            raise ServeError(f"{where}: there is no deployment '{name}'; expected {known}")
        if names.count(name) > 1:
            raise ServeError(f"{where}: deployment '{name}' stands there twice")
    for options in deployments:
        place = f"{where}: deployment '{options['name']}'"
        if options["name"] == ENGINES:
            _check_engines(options, place)
        if isinstance(options.get("autoscaling_config"), Mapping):
            try:
                AutoscalingConfig(**options["autoscaling_config"])
            except ValidationError as error:
                raise ServeError(f"{place}: autoscaling_config.{first_problem(error)}") from None


def _check_engines(options: Mapping[str, Any], place: str) -> None:
    for name in ("num_replicas", "autoscaling_config"):
        if name in options:
            raise ServeError(
                f"{place}: {name} is made from args.replicas and args.most_replicas; set those"
            )
    resources = options.get("ray_actor_options")
    if resources is not None and not {"num_cpus", "num_gpus"} <= resources.keys():
        raise ServeError(
            f"{place}: ray_actor_options take the place of all that args say of CPUs, GPUs and "
            "accelerator; name num_cpus and num_gpus there, too"
        )


def _unknown(value: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    """Paths of keys in `value` that the pydantic type `kind` does not have, each with a hint."""
    model = next((member for member in _types(kind) if _is_model(member)), None)
    if isinstance(value, list):
        item_types = [get_args(member)[0] for member in _types(kind) if get_origin(member) is list]
        for index, child in enumerate(value):
            yield from _unknown(child, item_types[0] if item_types else Any, f"{path}[{index}]")
    elif isinstance(value, Mapping) and model is not None:
        fields = model.model_fields
        for name, child in value.items():
            field_path = f"{path}.{name}" if path else str(name)
            if name in fields:
                yield from _unknown(child, fields[name].annotation, field_path)
            else:
                yield field_path, _hint(str(name), fields)


def _hint(name: str, known: Iterable[str]) -> str:
    return did_you_mean(name, known, quoted=False) or f"expected {', '.join(known)}"


def _types(kind: Any) -> list[Any]:
    """The members of a union type; any other type itself."""
    if get_origin(kind) in (Union, UnionType):
        return [member for part in get_args(kind) for member in _types(part)]
    return [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def first_problem(error: ValidationError) -> str:
    """The first validation error: its path, its message, and the input."""
    problem = error.errors()[0]
    path = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    # A mapping of all arguments is not printed, since it could hold a password.
    got = "" if isinstance(problem["input"], Mapping) else f"; got {problem['input']!r}"
    return f"{path}{': ' if path else ''}{message}{got}"[:500]


def _near(error: ValidationError, model: type[BaseModel]) -> str:
    """A hint at known arguments if the first error is an unknown argument, else empty."""
    problem = error.errors()[0]
    if problem["type"] != "extra_forbidden":
        return ""
    return f"; {_hint(str(problem['loc'][0]), model.model_fields)}"
