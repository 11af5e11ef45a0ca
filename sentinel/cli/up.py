"""`sentinel up`: run everything on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentinel.supervisor import AlreadyRunning

NAME = "up"
HELP = "run everything on this machine"
DESCRIPTION = """\
Run PostgreSQL, Redis, Kafka and Sentinel's processes on this machine until Ctrl-C or `sentinel down`. DATABASE_URL,
REDIS_URL and SENTINEL_BROKERS each name a server to use instead. Data stay in the data directory.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("--no-kafka", action="store_true", help="keep the log in PostgreSQL: ingestion over HTTP only")
    parser.add_argument("--host", default="127.0.0.1", help="address of the web process (default: %(default)s)")
    parser.add_argument("--port", type=int, metavar="N", help="its port (default: 8080, or the next that is free)")
    parser.add_argument("--detach", action="store_true", help="return when everything is ready, and leave it running")


def run(args: argparse.Namespace) -> int:
    from sentinel.installation import create_data_directory
    from sentinel.supervisor import AlreadyRunning, Options, Supervisor

    options = Options(
        directory=create_data_directory(), with_kafka=not args.no_kafka, web_host=args.host, web_port=args.port
    )
    if args.detach:
        return _detach(args)
    try:
        Supervisor(options).run()
    except AlreadyRunning as error:
        return _say_what_runs(error)
    return 0


def _say_what_runs(error: AlreadyRunning) -> int:
    from sentinel.installation import data_directory

    record = error.record
    if record is None or not record.is_alive:
        print(f"another `sentinel up` has just begun in {data_directory()}")
        return 0
    names = ", ".join(f"{process.name} (pid {process.pid})" for process in record.processes if process.pid)
    print(f"already running: {record.url}, supervisor pid {record.pid}")
    print(f"  {names}")
    print("stop it with `sentinel down`; another installation needs its own --data-dir")
    return 0


def _detach(args: argparse.Namespace) -> int:
    """Run the same command in a session of its own and pass on what it prints until everything is ready."""
    from sentinel.cli.detached import start_detached

    arguments = [f"--host={args.host}"]
    arguments += [f"--port={args.port}"] if args.port is not None else []
    arguments += ["--no-kafka"] if args.no_kafka else []
    return start_detached(arguments)
