"""Running the migrations from Python, and comparing their result with the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.engine import Connection

from cluster.database.tables import TableBase
from cluster.errors import DatabaseError

MIGRATIONS = Path(__file__).parent / "migrations"

#: Not Alembic's default: Optuna keeps an `alembic_version` in the same database.
VERSION_TABLE = "alignery_version"

#: How long a starting process waits for another's migration.
MIGRATION_SECONDS = 120

_LOCK = 0x616C69676E  # "align": the key of all that migrate a PostgreSQL database


def options() -> dict[str, Any]:
    """Alembic's configuration, for migrations and comparisons alike."""
    return {
        "target_metadata": TableBase.metadata,
        "version_table": VERSION_TABLE,
        "render_as_batch": True,  # SQLite changes a column by copying its table
        "compare_type": True,
        "include_object": _is_ours,
    }


def migrate(connection: Connection) -> None:
    """Bring the tables to the newest migration and commit.

    DatabaseError if they come from a newer Alignery.
    """
    if connection.dialect.name == "postgresql":
        from cluster.database.postgres import patient

        with patient(connection, MIGRATION_SECONDS):
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            _upgrade(connection)
    else:
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseError(
            f"the tables come from another version of Alignery ({error}); "
            "install the newest one: pip install --upgrade alignery"
        ) from None
    connection.commit()


def differences(connection: Connection) -> list[Any]:
    """Differences between `tables.py` and the database, in Alembic's form; empty if none."""
    context = MigrationContext.configure(connection, opts=options())
    return list(compare_metadata(context, TableBase.metadata))


def _is_ours(_item: Any, name: str | None, kind: str, reflected: bool, _other: Any) -> bool:
    """Skip tables of the database that are not Alignery's, such as Optuna's."""
    return not (kind == "table" and reflected and name not in TableBase.metadata.tables)
