"""Alembic's entry. The application hands in its connection; the alembic command opens one."""

from __future__ import annotations

from alembic import context
from sqlalchemy import make_url
from sqlalchemy.engine import Connection

from cluster.database.migrate import options


def _run(connection: Connection) -> None:
    context.configure(connection=connection, **options())
    with context.begin_transaction():
        context.run_migrations()


if (given := context.config.attributes.get("connection")) is not None:
    _run(given)
else:
    from cluster.database.connection import make_engine
    from cluster.settings import Settings

    engine = make_engine(make_url(Settings().database_url))
    with engine.connect() as opened:
        _run(opened)
    engine.dispose()
