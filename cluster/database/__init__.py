"""All tables, their migrations, and sessions on them."""

from cluster.database.connection import Database, open_database

__all__ = ["Database", "open_database"]
