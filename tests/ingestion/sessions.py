"""Other sessions of the test database: somebody who holds what a test is about to meet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg2
from django.db import connection, connections


@contextmanager
def holding(sql: str, parameters: Sequence[Any] = ()) -> Iterator[None]:
    """Keep a transaction open in which `sql` was executed."""
    other = psycopg2.connect(**connection.get_connection_params())
    try:
        with other.cursor() as cursor:
            cursor.execute(sql, parameters)
        yield
        other.rollback()
    finally:
        other.close()


@contextmanager
def another_session(enter: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Stay within `enter()` in a thread, and so with a connection, of its own."""
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        try:
            with enter():
                entered.set()
                leave.wait(30)
        finally:
            connections.close_all()

    thread = threading.Thread(target=stay)
    thread.start()
    try:
        assert entered.wait(10)
        yield
    finally:
        leave.set()
        thread.join()
