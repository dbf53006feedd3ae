"""An endpoint as a Serve config for a cluster: made, read, and checked more strictly than Ray does.

Ray ignores what it does not know, so that an older one may read a newer one's file: a typo would be
an option that has no effect. Here it is an error that names what is near.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from serve.addresses import is_loopback
from serve.errors import ServeError

if TYPE_CHECKING:
    from serve.app import AppArgs

APPLICATION = "alignery"
IMPORT_PATH = "serve.app:build"
#: What `serve.app` makes, by the names that a config may say more of.
DEPLOYMENTS = ("EngineReplica", "Ingress", "Tally")


def make_config(args: AppArgs, host: str, port: int) -> dict[str, Any]:
    """A Serve config with this endpoint alone; arguments that are as by default are left out."""
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": host, "port": port},
        "logging_config": {"enable_access_log": False},
        "applications": [
            {
                "name": APPLICATION,
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
    except ValidationError as error:
        raise ServeError(f"{where}: {_first(error)}") from None
    mine = [one for one in checked.applications if one.import_path == IMPORT_PATH]
    if [one.name for one in mine] != [APPLICATION] or len(checked.applications) > 1:
        names = ", ".join(one.name for one in checked.applications) or "none"
        raise ServeError(
            f"{where}: expected one application, '{APPLICATION}' with import_path {IMPORT_PATH}; "
            f"got {names}"
        )
    _check_application(mine[0].model_dump(exclude_unset=True), checked.http_options.host, where)


def _check_application(application: Mapping[str, Any], host: str, where: str) -> None:
    from serve.app import AppArgs

    try:
        args = AppArgs.model_validate(application.get("args", {}))
    except ValidationError as error:
        raise ServeError(f"{where}: args.{_first(error)}; {_near(error, AppArgs)}") from None
    for one in application.get("deployments", ()):
        if one["name"] not in DEPLOYMENTS:
            raise ServeError(
                f"{where}: there is no deployment '{one['name']}'; expected "
                f"{', '.join(DEPLOYMENTS)}"
            )
    if not is_loopback(host) and args.keys_asked is None:
        raise ServeError(
            f"{where}: {host} can be reached from other machines: set args.keys_asked to true "
            "(`alignery serve key create` makes keys), or to false if whoever reaches the port may "
            "use it"
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


def _first(error: ValidationError) -> str:
    """The first thing that is wrong: where, what, and what came."""
    one = error.errors()[0]
    path = ".".join(str(part) for part in one["loc"])
    return f"{path}: {one['msg'].removeprefix('Value error, ')}; got {one['input']!r}"[:500]


def _near(error: ValidationError, model: type[BaseModel]) -> str:
    """What an argument that is not known could have meant; else what it is for."""
    one = error.errors()[0]
    name = str(one["loc"][0]) if one["loc"] else ""
    if one["type"] == "extra_forbidden":
        return _hint(name, model.model_fields)
    return "`alignery serve deploy --help` tells what it is"
