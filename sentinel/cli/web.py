"""`sentinel web`: the API, the admin and the metrics, until SIGTERM."""

from __future__ import annotations

import argparse

NAME = "web"
HELP = "serve the API, the admin and /metrics"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "The ASGI server. Run as many as you like behind a load balancer."
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="port to listen on (default: 8080)")


def run(args: argparse.Namespace) -> int:
    from sentinel.cli.role import take_role

    take_role(NAME)

    import uvicorn

    uvicorn.run(
        "sentinel.asgi:application",
        host=args.host,
        port=args.port,
        lifespan="off",
        access_log=False,
        log_config=None,  # Django's logging is configured already.
        proxy_headers=False,  # A client must not choose the address that we take it for.
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return 0
