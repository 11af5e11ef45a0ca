"""`sentinel bridge`: dispatch ranges of the log to the workers, until SIGTERM."""

from __future__ import annotations

import argparse

NAME = "bridge"
HELP = "dispatch ranges of the log to the workers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "The same as `manage.py bridge`. Run as many as you like, on any machine."


def run(args: argparse.Namespace) -> int:
    from sentinel.cli.role import run_command

    return run_command("bridge", role=NAME)
