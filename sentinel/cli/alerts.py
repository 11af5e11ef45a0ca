"""`sentinel alerts`: deliver the alerts of the outbox, until SIGTERM."""

from __future__ import annotations

import argparse

NAME = "alerts"
HELP = "deliver the alerts of the outbox"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "The same as `manage.py deliver_alerts`. Run as many as you like, on any machine."


def run(args: argparse.Namespace) -> int:
    from sentinel.cli.role import run_command

    return run_command("deliver_alerts", role=NAME)
