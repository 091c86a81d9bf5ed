"""Whether an error says that the database cannot be reached now, so that the same may go well later."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

# Classes of SQLSTATE: no connection, too few resources, an operator or a restart intervened.
AWAY = ("08", "53", "57P")


def is_away(error: BaseException) -> bool:
    """False for what the database says of a statement: that comes again."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        return error.connection_invalidated or state.startswith(AWAY) or not state
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(AWAY)
    return isinstance(error, (PoolTimeoutError, asyncpg.InterfaceError, OSError))
