"""An endpoint as a Serve config for a cluster: made, read, and checked more strictly than Ray does.

Ray ignores what it does not know, so that an older one may read a newer one's file: a typo would be
an option that has no effect. Here it is an error that names what is near.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from sqlalchemy import make_url

from serve.addresses import is_loopback
from serve.errors import ServeError

if TYPE_CHECKING:
    from ray.serve.schema import ServeDeploySchema

    from serve.app import AppArgs

APPLICATION = "alignery"
IMPORT_PATH = "serve.app:build"
#: What `serve.app` makes, by the names that a config may say more of.
ENGINES = "EngineReplica"
DEPLOYMENTS = (ENGINES, "Ingress", "Tally")


def make_config(args: AppArgs, host: str, port: int) -> dict[str, Any]:
    """A Serve config with this endpoint alone; arguments that are as by default are left out."""
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": host, "port": port},
        "applications": [
            {
                "name": APPLICATION,
                # Of this application alone: Ray would give it to all others, too.
                "logging_config": {"enable_access_log": False},
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                "args": args.model_dump(mode="json", exclude_defaults=True),
            }
        ],
    }


def read_config(file: Path) -> dict[str, Any]:
    """A config from a YAML file. ServeError if it cannot be read, or a part means nothing."""
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ServeError(f"no file '{file}'") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ServeError(f"{file}: no YAML: {' '.join(str(error).split())}") from None
    check_config(found, str(file))
    return dict(found)


def trust_in_network(config: Mapping[str, Any], wanted: bool) -> bool:
    """Whether a config that was checked, or who deploys it, trusts the cluster's network.

    The endpoint asks its arguments for it when it starts, so it is written there.
    """
    (application,) = config["applications"]
    arguments = application.setdefault("args", {})
    if wanted:
        arguments["trust_network"] = True
    return bool(arguments.get("trust_network"))


def check_config(config: Any, where: str) -> None:
    """ServeError unless Ray knows every key, and this endpoint every one of its arguments."""
    from ray.serve.schema import ServeDeploySchema

    if not isinstance(config, Mapping):
        raise ServeError(f"{where}: expected a Serve config, with `applications`")
    if unknown := next(_unknown(config, ServeDeploySchema, ""), None):
        path, hint = unknown
        raise ServeError(f"{where}: '{path}' means nothing to Ray Serve; {hint}")
    try:
        checked = ServeDeploySchema.model_validate(config)
        json.dumps(config, allow_nan=False)  # as it is sent
    except ValidationError as error:
        raise ServeError(f"{where}: {first_problem(error)}") from None
    except (TypeError, ValueError, AttributeError) as error:  # some of Ray's own checks take care
        raise ServeError(f"{where}: {' '.join(str(error).split())}") from None
    _check_reach(checked, where)
    mine = [one for one in checked.applications if one.import_path == IMPORT_PATH]
    if [one.name for one in mine] != [APPLICATION] or len(checked.applications) > 1:
        names = ", ".join(one.name for one in checked.applications) or "none"
        raise ServeError(
            f"{where}: expected one application, '{APPLICATION}' with import_path {IMPORT_PATH}; "
            f"got {names}"
        )
    _check_args(mine[0].args, checked.http_options.host, where)
    _check_deployments(mine[0].model_dump(exclude_unset=True).get("deployments", ()), where)


def _check_reach(config: ServeDeploySchema, where: str) -> None:
    """What Ray takes, though nobody would reach the endpoint, or others would feel it."""
    problem = None
    if not 1 <= config.http_options.port <= 65535:
        problem = f"http_options.port: expected 1 to 65535; got {config.http_options.port}"
    elif config.proxy_location == "Disabled":
        problem = "proxy_location: Disabled, nobody reaches it; expected EveryNode or HeadOnly"
    elif config.target_capacity is not None:
        problem = "target_capacity is for all that the cluster serves; set args.replicas"
    elif any(not (one.route_prefix or "").startswith("/") for one in config.applications):
        problem = "route_prefix: nobody reaches an application without one; expected /"
    if problem is not None:
        raise ServeError(f"{where}: {problem}")


def _check_args(given: Mapping[str, Any], host: str, where: str) -> None:
    from serve.app import AppArgs

    try:
        args = AppArgs.model_validate(given)
    except ValidationError as error:
        raise ServeError(f"{where}: args.{first_problem(error)}{_near(error, AppArgs)}") from None
    if args.database_url is not None and make_url(args.settings().database_url).password:
        raise ServeError(
            f"{where}: args.database_url has a password, which everybody who may look at the "
            "cluster could read; leave it out, and set ALIGNERY_DATABASE_URL on its machines"
        )
    if not is_loopback(host) and args.keys_asked is None:
        raise ServeError(
            f"{where}: {host} can be reached from other machines: set args.keys_asked to true "
            "(`alignery serve key create` makes keys), or to false if whoever reaches the port may "
            "use it"
        )


def _check_deployments(deployments: Sequence[Mapping[str, Any]], where: str) -> None:
    """What a config says of the deployments beside `args`."""
    from ray.serve.config import AutoscalingConfig

    names = [str(one["name"]) for one in deployments]
    for name in names:
        if name not in DEPLOYMENTS:
            known = ", ".join(DEPLOYMENTS)
            raise ServeError(f"{where}: there is no deployment '{name}'; expected {known}")
        if names.count(name) > 1:
            raise ServeError(f"{where}: deployment '{name}' stands there twice")
    for one in deployments:
        place = f"{where}: deployment '{one['name']}'"
        if one["name"] == ENGINES:
            _check_engines(one, place)
        if isinstance(one.get("autoscaling_config"), Mapping):
            try:
                AutoscalingConfig(**one["autoscaling_config"])
            except ValidationError as error:
                raise ServeError(f"{place}: autoscaling_config.{first_problem(error)}") from None


def _check_engines(options: Mapping[str, Any], place: str) -> None:
    for name in ("num_replicas", "autoscaling_config"):
        if name in options:
            raise ServeError(
                f"{place}: {name} is made from args.replicas and args.most_replicas; set those"
            )
    claimed = options.get("ray_actor_options")
    if claimed is not None and not {"num_cpus", "num_gpus"} <= claimed.keys():
        raise ServeError(
            f"{place}: ray_actor_options take the place of all that args say of CPUs, GPUs and "
            "accelerator; name num_cpus and num_gpus there, too"
        )


def _unknown(value: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    """Paths of keys that a pydantic type does not have, each with what it could have meant."""
    model = next((one for one in _types(kind) if _is_model(one)), None)
    if isinstance(value, list):
        items = [get_args(one)[0] for one in _types(kind) if get_origin(one) is list]
        for number, one in enumerate(value):
            yield from _unknown(one, items[0] if items else Any, f"{path}[{number}]")
    elif isinstance(value, Mapping) and model is not None:
        fields = model.model_fields
        for name, one in value.items():
            here = f"{path}.{name}" if path else str(name)
            if name in fields:
                yield from _unknown(one, fields[name].annotation, here)
            else:
                yield here, _hint(str(name), fields)


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"expected {', '.join(known)}"


def _types(kind: Any) -> list[Any]:
    """The alternatives of a union; the type itself where it is none."""
    if get_origin(kind) in (Union, UnionType):
        return [one for part in get_args(kind) for one in _types(part)]
    return [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong: where, what, and what came."""
    one = error.errors()[0]
    path = ".".join(str(part) for part in one["loc"])
    text = one["msg"].removeprefix("Value error, ")
    # All arguments together are nothing to print: one of them could hold a password.
    came = "" if isinstance(one["input"], Mapping) else f"; got {one['input']!r}"
    return f"{path}{': ' if path else ''}{text}{came}"[:500]


def _near(error: ValidationError, model: type[BaseModel]) -> str:
    """What an argument that is not known could have meant."""
    one = error.errors()[0]
    if one["type"] != "extra_forbidden":
        return ""
    return f"; {_hint(str(one['loc'][0]), model.model_fields)}"
