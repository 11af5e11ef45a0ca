"""`sentinel web`: the API, the admin and the metrics, until SIGTERM."""

from __future__ import annotations

import argparse
import socket

NAME = "web"
HELP = "serve the API, the admin and /metrics"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "The ASGI server. Run as many as you like behind a load balancer."
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="port to listen on (default: 8080)")
    parser.add_argument("--fd", type=int, metavar="N", help="an inherited socket to use instead of host and port")


def run(args: argparse.Namespace) -> int:
    from sentinel.cli.role import take_role

    take_role(NAME)

    import uvicorn

    from sentinel.ready import notify_ready

    class NotifyingServer(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                notify_ready()

    configuration = uvicorn.Config(
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
    server = NotifyingServer(configuration)
    server.run(sockets=None if args.fd is None else [socket.socket(fileno=args.fd)])
    return 0 if server.started else 1
