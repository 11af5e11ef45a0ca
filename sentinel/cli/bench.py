"""`sentinel bench`: measure the whole path."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentinel import runtime

NAME = "bench"
HELP = "measure the throughput of the whole path"
DESCRIPTION = """\
Fill a topic of 4 partitions with generated events of 1.3 kB (lz4), then let bridge and workers drain it: events a
second from the first dispatched range until the last committed offset, CPU seconds of each process per 100,000 events.
Then send at a steady rate: milliseconds from a record's Kafka timestamp to its committed row. Starts an installation
of its own in a temporary directory; --running uses the one that runs (its other traffic disturbs the figures, the
events stay there in the project "bench"). --phase measures single stages inside one process and needs no services.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("--events", type=int, default=200_000, metavar="N", help="to drain (default: 200000)")
    parser.add_argument("--batch", type=int, metavar="N", help="records a range (SENTINEL_BATCH_RECORDS)")
    parser.add_argument("--rate", type=int, default=5_000, metavar="N", help="events a second for the latency")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of the steady rate; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--running", action="store_true", help="use the installation that runs")
    parser.add_argument("--phase", action="append", choices=["decode", "scrub", "detect"], help="may be repeated")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="S", help="for the services to start")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    if args.phase:
        return _phases(args)
    if args.running:
        return _running(args)
    from sentinel.demo.own_installation import StartError, own_installation

    environment = {"SENTINEL_BATCH_RECORDS": str(args.batch)} if args.batch else {}
    try:
        with own_installation(
            Path(args.data_dir) if args.data_dir else None,
            environment=environment,
            timeout_seconds=args.timeout,
            report=lambda line: print(line, file=sys.stderr),
        ) as record:
            return _measure(args, record)
    except StartError as error:
        print(f"sentinel bench: {error}", file=sys.stderr)
        return 1


def _running(args: argparse.Namespace) -> int:
    from sentinel.installation import running

    record = running()
    if record is None:
        print("sentinel bench: nothing runs here: start `sentinel up`, or leave out --running", file=sys.stderr)
        return 1
    if args.batch:
        print("sentinel bench: --batch needs an installation of its own: leave out --running", file=sys.stderr)
        return 2
    return _measure(args, record)


def _measure(args: argparse.Namespace, record: runtime.Runtime) -> int:
    import django

    django.setup()

    from django.conf import settings

    from sentinel.demo.bench_load import Loader
    from sentinel.demo.benchmark import PARTITIONS, BenchError, measure_latency, measure_throughput
    from sentinel.demo.progress import progress
    from sentinel.demo.sink import SinkError

    if not settings.SENTINEL_BROKERS:
        print("sentinel bench: there is no Kafka, and this measures the path from it", file=sys.stderr)
        return 1

    before, cores = os.getloadavg()[0], os.cpu_count() or 1
    if before > cores / 2:
        print(f"note: load average {before:.1f} on {cores} cores: the figures show the neighbours too", file=sys.stderr)

    def loader(topic: str, *, linger_ms: int) -> Loader:
        return Loader(
            settings.SENTINEL_BROKERS,
            topic,
            partitions=PARTITIONS,
            security=settings.SENTINEL_KAFKA_SECURITY,
            linger_ms=linger_ms,
        )

    try:
        with progress("preload", total=args.events, is_quiet=args.json) as advance:
            topic, throughput = measure_throughput(
                lambda topic: loader(topic, linger_ms=20),
                events=args.events,
                seed=args.seed,
                processes=[(process.name, process.pid) for process in record.processes if process.pid],
                advance=advance,
            )
        found: dict[str, Any] = {"load_average_before": before, "throughput": asdict(throughput), "latency": None}
        if args.seconds:
            latency = measure_latency(
                lambda topic: loader(topic, linger_ms=5),
                topic,
                per_second=args.rate,
                seconds=args.seconds,
                seed=args.seed,
            )
            found["latency"] = asdict(latency)
    except (BenchError, SinkError) as error:
        print(f"sentinel bench: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(found))
    else:
        _print(found)
    return 0


def _phases(args: argparse.Namespace) -> int:
    from sentinel.demo.phases import measure_phases

    found = measure_phases(args.phase, seed=args.seed)
    if args.json:
        print(json.dumps({"cpu_seconds_per_100k": found}))
    else:
        for name, seconds in found.items():
            print(f"{name:<8} {seconds:.3f} CPU seconds per 100,000 events")
    return 0


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    through, latency = found["throughput"], found["latency"]
    console.print(
        f"{through['events']:,} events of {through['bytes_per_event']:,.0f} bytes in {through['batches']:,} batches: "
        f"{through['events_per_second']:,.0f} events/s ({through['seconds']:.2f} s from first dispatch to drained), "
        f"{through['stored']:,} stored, {through['anomalies']:,} anomalies",
        highlight=False,
    )
    table = Table("process", "CPU s per 100,000 events", box=None, pad_edge=False)
    for name, seconds in through["cpu_seconds_per_100k"].items():
        table.add_row(name, f"{seconds:.2f}")
    table.add_row("all", f"{sum(through['cpu_seconds_per_100k'].values()):.2f}")
    console.print(table)
    if latency is not None:
        console.print(
            f"at {latency['per_second']:,} events/s from Kafka timestamp to committed row: "
            f"p50 {latency['p50_ms']:.0f} ms, p99 {latency['p99_ms']:.0f} ms, max {latency['max_ms']:.0f} ms",
            highlight=False,
        )
