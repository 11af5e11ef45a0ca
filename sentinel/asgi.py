"""ASGI entry: `uvicorn sentinel.asgi:application`."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from sentinel.body_limit import BodyLimit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sentinel.settings")

application = BodyLimit(get_asgi_application(), max_bytes=settings.SENTINEL_MAX_BODY_BYTES)
