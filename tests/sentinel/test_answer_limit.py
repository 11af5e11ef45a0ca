from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import set_wait_callback

from sentinel.answer_limit import limit_answers
from tests.conftest import SERVICES
from tests.faults.proxy import Fault, Link, Proxy

LIMIT_SECONDS = 0.5
SOON_SECONDS = 5.0


@pytest.fixture
def limited() -> Iterator[None]:
    limit_answers(seconds=LIMIT_SECONDS)
    yield
    set_wait_callback(None)


@pytest.fixture
def link() -> Iterator[Link]:
    postgres = SERVICES.postgres.start()
    with Proxy() as proxy:
        yield proxy.link(Path(postgres.address) / ".s.PGSQL.5432")


def connect(link: Link) -> Any:
    return psycopg2.connect(f"postgresql://sentinel@127.0.0.1:{link.port}/postgres?sslmode=disable&gssencmode=disable")


@pytest.mark.usefixtures("limited")
def test_a_statement_whose_answer_never_comes_fails_in_time_and_closes_the_connection(link: Link) -> None:
    with closing(connect(link)) as connection, connection.cursor() as sql:
        sql.execute("SELECT 1")
        link.freeze()
        begun = time.monotonic()
        with pytest.raises(psycopg2.OperationalError, match="not answered"):
            sql.execute("SELECT 2")
        assert LIMIT_SECONDS <= time.monotonic() - begun < SOON_SECONDS
        assert connection.closed


@pytest.mark.usefixtures("limited")
def test_a_server_that_never_greets_is_given_up(link: Link) -> None:
    link.spoil(Fault(blackhole=True))
    with pytest.raises(psycopg2.OperationalError, match="not answered"):
        connect(link)


@pytest.mark.usefixtures("limited")
def test_an_answer_in_time_is_waited_for(link: Link) -> None:
    with closing(connect(link)) as connection, connection.cursor() as sql:
        sql.execute("SELECT pg_sleep(0.2), repeat('x', 1000000)")
        assert len(sql.fetchone()[1]) == 1_000_000


@pytest.mark.usefixtures("limited")
def test_what_postgresql_refuses_is_refused_as_before(link: Link) -> None:
    with closing(connect(link)) as connection, connection.cursor() as sql:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            sql.execute("SELECT 1 / 0")
        connection.rollback()
        sql.execute("SELECT 1")
        assert sql.fetchone() == (1,)
