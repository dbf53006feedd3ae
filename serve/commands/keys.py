"""`alignery serve key …`: API keys of endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from align.json_output import JsonOption, print_json
from cluster.settings import Settings
from serve.commands.common import serve_app

if TYPE_CHECKING:
    from serve.access.key import Key
    from serve.access.keys import Keys

key_app = typer.Typer(help="API keys: who may ask an endpoint.", no_args_is_help=True)
serve_app.add_typer(key_app, name="key")

_Name = Annotated[str, typer.Argument(help="A name by which you know the key.")]


@key_app.command("create")
def create(
    name: _Name,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it is for; repeat for several. infer: models and answers. feedback: "
            "ratings. admin: everything, /metrics too. Default: infer and feedback."
        ),
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="At most so many requests. Default: no limit.")
    ] = None,
    tokens_per_day: Annotated[
        int | None,
        typer.Option(min=1, help="Prompt and completion tokens in a UTC day. Default: no limit."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, once: only its digest is kept."""
    scopes = scope or ["infer", "feedback"]
    key, secret = _keys().create(name, scopes, requests_per_minute, tokens_per_day)
    if as_json:
        print_json({**_object(key), "key": secret})
        return
    typer.echo(secret)
    typer.echo(
        f"This is the only time that the key '{name}' is shown. Send it as\n"
        "  Authorization: Bearer <key>\n"
        "or as the api_key of an OpenAI client. From now on endpoints on this database ask for "
        "keys.",
        err=True,
    )


@key_app.command("list")
def list_keys(as_json: JsonOption = False) -> None:
    """All keys, revoked ones too, oldest first."""
    keys = _keys().every()
    if as_json:
        print_json([_object(key) for key in keys])
    elif not keys:
        typer.echo("no keys yet: `alignery serve key create` makes one", err=True)
    else:
        from serve.display import print_keys

        print_keys(keys)


@key_app.command("revoke")
def revoke(name: _Name, as_json: JsonOption = False) -> None:
    """Take a key back; endpoints refuse it within a second."""
    revoked = _keys().revoke(name)
    if as_json:
        print_json(_object(revoked))
    else:
        typer.echo(f"the key '{name}' is revoked")


def _keys() -> Keys:
    from cluster.database import open_database
    from serve.access.keys import Keys

    return Keys(open_database(Settings()))


def _object(key: Key) -> dict[str, Any]:
    """A key as a JSON object, without its digest."""
    revoked = key.revoked_at
    return {
        "name": key.name,
        "id": key.id,
        "scopes": sorted(key.scopes),
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_day": key.tokens_per_day,
        "created_at": key.created_at.isoformat(timespec="seconds"),
        "revoked_at": revoked.isoformat(timespec="seconds") if revoked else None,
    }
