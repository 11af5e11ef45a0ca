"""The console command `sentinel`.

A subcommand is a module with `NAME`, `HELP`, `add_arguments(parser)` and `run(args) -> exit code`. Its imports of
Django and of clients stand inside functions, so that `sentinel --help` and `sentinel status` answer at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from sentinel.cli.problem import describe

# In the order of `sentinel --help`.
COMMANDS: dict[str, str] = {
    "up": "sentinel.cli.up",
    "down": "sentinel.cli.down",
    "status": "sentinel.cli.status",
    "check": "sentinel.cli.check",
    "demo": "sentinel.cli.demo",
    "send": "sentinel.cli.send",
    "replay": "sentinel.cli.replay",
    "tail": "sentinel.cli.tail",
    "audit": "sentinel.cli.audit",
    "dead-letters": "sentinel.cli.dead_letters",
    "partitions": "sentinel.cli.partitions",
    "keys": "sentinel.cli.keys",
    "bridge": "sentinel.cli.bridge",
    "worker": "sentinel.cli.worker",
    "beat": "sentinel.cli.beat",
    "alerts": "sentinel.cli.alerts",
    "web": "sentinel.cli.web",
    "bench": "sentinel.cli.bench",
}

EXIT_PROBLEM = 1
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code: 0 done, 1 a problem (said in one line), 2 wrong arguments."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = build_parser(arguments).parse_args(arguments)
    if args.data_dir:
        os.environ["SENTINEL_DATA_DIR"] = args.data_dir
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sentinel.settings")
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`, `less`) has seen enough; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PROBLEM
    except Exception as error:
        # The boundary of the process: what an operator can mend is one line, anything else a traceback.
        line = describe(error)
        if line is None or args.debug:
            raise
        print(f"sentinel {args.command}: {line}", file=sys.stderr)
        return EXIT_PROBLEM


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser for `arguments`: only the subcommand that they name is loaded in full."""
    parser = argparse.ArgumentParser(prog="sentinel", description="Watches applications that call LLMs.")
    parser.add_argument("--version", action="version", version=f"sentinel {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    named = next((argument for argument in arguments if argument in COMMANDS), None)
    for name, module_name in COMMANDS.items():
        if named in {None, name}:
            _add_command(commands, importlib.import_module(module_name), in_full=name == named)
    return parser


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], module: ModuleType, *, in_full: bool
) -> None:
    parser = commands.add_parser(module.NAME, help=module.HELP)
    if in_full:
        module.add_arguments(parser)
        common = parser.add_argument_group("of every command")
        common.add_argument("--data-dir", metavar="DIR", help="the installation's data directory (SENTINEL_DATA_DIR)")
        common.add_argument("--debug", action="store_true", help="show the traceback of an error")
        parser.set_defaults(run=module.run)


def _version() -> str:
    try:
        return version("llm-sentinel")
    except PackageNotFoundError:
        return "from a source tree"


if __name__ == "__main__":
    sys.exit(main())
