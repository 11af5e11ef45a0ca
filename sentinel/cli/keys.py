"""`sentinel keys`: make, list and revoke the API keys of a project."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from api.models import ApiKey

NAME = "keys"
HELP = "create, list or revoke API keys"
SCOPES = ("ingest", "read", "admin")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "API keys belong to one project. A key is shown once, when it is made; only its hash is kept."
    actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
    creating = actions.add_parser("create", help="make a key and print it, this once")
    creating.add_argument("name", help="who or what uses it, such as checkout-service")
    creating.add_argument("--project", default="default", help="slug of the project (default: default)")
    creating.add_argument(
        "--scope",
        action="append",
        choices=SCOPES,
        help="what it may do; may be repeated (default: ingest and read). admin includes the others",
    )
    creating.add_argument("--expires-days", type=int, metavar="N", help="ends after N days (default: never)")
    listing = actions.add_parser("list", help="every key, without its secret")
    listing.add_argument("--project", help="slug of the project (default: all)")
    revoking = actions.add_parser("revoke", help="refuse a key from now on")
    revoking.add_argument("prefix", help="the 12 characters after sk_sentinel_, or the whole key")
    for action in (creating, listing, revoking):
        action.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    import django

    django.setup()
    return {"create": _create, "list": _list, "revoke": _revoke}[args.action](args)


def _fail(message: str) -> int:
    print(f"sentinel keys: {message}", file=sys.stderr)
    return 1


def _as_dict(key: ApiKey) -> dict[str, Any]:
    times = {
        name: value.isoformat() if (value := getattr(key, name)) else None
        for name in ("created_at", "last_used_at", "expires_at", "revoked_at")
    }
    return {"name": key.name, "project": key.project.slug, "prefix": key.prefix, "scopes": key.scopes, **times}


def _create(args: argparse.Namespace) -> int:
    from django.utils import timezone

    from api.models import Scope, create_key
    from ingestion.models import Project

    project = Project.objects.filter(slug=args.project).first()
    if project is None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none"
        return _fail(f"there is no project {args.project}; there are: {known}")
    if args.expires_days is not None and args.expires_days < 1:
        return _fail("--expires-days must be at least 1")
    expires_at = timezone.now() + timedelta(days=args.expires_days) if args.expires_days else None
    scopes = [Scope(scope) for scope in dict.fromkeys(args.scope or ("ingest", "read"))]
    key, token = create_key(project, name=args.name, scopes=scopes, expires_at=expires_at)
    if args.json:
        print(json.dumps({**_as_dict(key), "key": str(token)}))
        return 0
    print(token)
    print("This is the only time that it is shown; keep it like a password.", file=sys.stderr)
    return 0


def _list(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from api.models import ApiKey

    keys = ApiKey.objects.select_related("project")
    if args.project:
        keys = keys.filter(project__slug=args.project)
    rows = [_as_dict(key) for key in keys]
    if args.json:
        print(json.dumps({"keys": rows}))
        return 0
    if not rows:
        print("No API keys; make one with `sentinel keys create NAME`.")
        return 0
    table = Table("prefix", "name", "project", "scopes", "last used", "expires", "revoked", box=None)
    for row in rows:
        times = (row[name] or "-" for name in ("last_used_at", "expires_at", "revoked_at"))
        table.add_row(row["prefix"], row["name"], row["project"], ", ".join(row["scopes"]), *times)
    Console().print(table, markup=False)
    return 0


def _revoke(args: argparse.Namespace) -> int:
    from django.utils import timezone

    from api import keys
    from api.models import ApiKey

    token = keys.parse(args.prefix)
    key = ApiKey.objects.select_related("project").filter(prefix=token.prefix if token else args.prefix).first()
    if key is None:
        return _fail("there is no such key; see `sentinel keys list`")
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
    if args.json:
        print(json.dumps(_as_dict(key)))
    else:
        print(f"{key.name} (sk_sentinel_{key.prefix}_…) is refused since {key.revoked_at:%Y-%m-%d %H:%M:%S} UTC.")
    return 0
