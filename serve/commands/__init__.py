"""`alignery serve …` and `alignery ab …`; each module adds its commands to its group."""

from serve.commands import deploy, keys, run
from serve.commands.ab import ab_app
from serve.commands.common import serve_app

__all__ = ["ab_app", "deploy", "keys", "run", "serve_app"]
