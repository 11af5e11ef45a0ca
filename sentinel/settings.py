"""Django settings: one file, no environment needed.

Every variable is read strictly (`sentinel.environment`); wrong combinations are Django system checks
(`sentinel.checks`) with an id and a hint.
"""

from __future__ import annotations

from pathlib import Path

from sentinel import environment as env
from sentinel.installation import secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = env.flag("SENTINEL_DEBUG", default=False)
SECRET_KEY = env.text("SENTINEL_SECRET_KEY") or secret_key()
ALLOWED_HOSTS = env.listing("SENTINEL_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.listing("SENTINEL_CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "sentinel",  # before unfold: its templates replace some of unfold's
    "unfold.apps.BasicAppConfig",
    "sentinel.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "ingestion",
    "detection",
    "alerting",
    "api",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "sentinel.urls"
WSGI_APPLICATION = None
ASGI_APPLICATION = "sentinel.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- PostgreSQL ------------------------------------------------------------------------------------------------------

# What this process is for; it decides the time limits of its database sessions.
ROLE = env.text("SENTINEL_ROLE", "cli")
# role: (statement_timeout, lock_timeout, idle_in_transaction_session_timeout), milliseconds
ROLE_TIMEOUTS_MS = {
    "web": (10_000, 2_000, 10_000),
    "worker": (60_000, 10_000, 15_000),
    "bridge": (5_000, 1_000, 5_000),
    "alerts": (15_000, 2_000, 10_000),
    "beat": (300_000, 2_000, 60_000),
    "cli": (0, 10_000, 0),
}
# A killed worker's row locks are freed in a tenth of a second with client_connection_check_interval, in eleven without.
_SESSION = "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={}".format(
    *ROLE_TIMEOUTS_MS.get(ROLE, ROLE_TIMEOUTS_MS["cli"])
) + (" -c client_connection_check_interval=1000" if ROLE == "worker" else "")
# The server's side of the connection: the session of a host that is lost ends within half a minute, and with it its locks.
_SESSION += (
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=20000"
)

_default_database = env.database("DATABASE_URL", "postgresql://localhost/sentinel")
_default_database["OPTIONS"] = {
    "connect_timeout": 5,
    "application_name": f"sentinel-{ROLE}",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": _SESSION,
    **_default_database["OPTIONS"],  # type: ignore[dict-item]  # ours, a dict
}
# Session advisory locks and transaction poolers do not mix: connections are direct and stay open.
# The web process is the exception: ASGI runs every request in a thread of its own.
_default_database["CONN_MAX_AGE"] = 0 if ROLE == "web" else None
_default_database["CONN_HEALTH_CHECKS"] = True
DATABASES = {"default": _default_database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis, Kafka, Celery --------------------------------------------------------------------------------------------

REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")
REDIS_SOCKET_TIMEOUT_SECONDS = 5
# Queue, group and cache names carry it, so that installations can share a Redis or a Kafka.
SENTINEL_INSTALLATION = env.text("SENTINEL_INSTALLATION", "default")

SENTINEL_BROKERS = env.listing("SENTINEL_BROKERS")
SENTINEL_TOPIC = env.text("SENTINEL_TOPIC", "llm.telemetry")
SENTINEL_DEFAULT_TOPICS = list(dict.fromkeys([SENTINEL_TOPIC, "llm.telemetry", "llm-telemetry"]))
SENTINEL_TOPIC_PARTITIONS = env.integer("SENTINEL_TOPIC_PARTITIONS", 4, minimum=1)
SENTINEL_KAFKA_SECURITY = {
    "security_protocol": env.text("SENTINEL_SECURITY_PROTOCOL", "PLAINTEXT"),
    "sasl_mechanism": env.text("SENTINEL_SASL_MECHANISM") or None,
    "sasl_plain_username": env.text("SENTINEL_SASL_USERNAME") or None,
    "sasl_plain_password": env.text("SENTINEL_SASL_PASSWORD") or None,
    "ssl_cafile": env.text("SENTINEL_SSL_CA_LOCATION") or None,
    "ssl_certfile": env.text("SENTINEL_SSL_CERT_LOCATION") or None,
    "ssl_keyfile": env.text("SENTINEL_SSL_KEY_LOCATION") or None,
}
SENTINEL_KAFKA_REQUEST_TIMEOUT_SECONDS = 10

SENTINEL_QUEUE_INGEST = f"ingest.v1.{SENTINEL_INSTALLATION}"
SENTINEL_QUEUE_BEHIND = f"ingest-behind.v1.{SENTINEL_INSTALLATION}"
SENTINEL_QUEUE_BEAT = f"beat.v1.{SENTINEL_INSTALLATION}"
SENTINEL_CONSUMER_GROUP = f"sentinel.v1.{SENTINEL_INSTALLATION}"

# --- Ingestion -------------------------------------------------------------------------------------------------------

SENTINEL_BATCH_RECORDS = env.integer("SENTINEL_BATCH_RECORDS", 3_000, minimum=1)
SENTINEL_BATCH_BYTES = env.integer("SENTINEL_BATCH_BYTES", 16_000_000, minimum=1_000_000)
SENTINEL_TASK_TIME_LIMIT_SECONDS = env.integer("SENTINEL_TASK_TIME_LIMIT_SECONDS", 50, minimum=5)
SENTINEL_RECORD_CPU_SECONDS = env.integer("SENTINEL_RECORD_CPU_SECONDS", 20, minimum=1)
SENTINEL_RETENTION_DAYS = env.integer("SENTINEL_RETENTION_DAYS", 30, minimum=1)
SENTINEL_CHECKPOINT_SECONDS = env.integer("SENTINEL_CHECKPOINT_SECONDS", 60, minimum=1)

# --- Web -------------------------------------------------------------------------------------------------------------

# Under `sentinel up` a request from loopback reads and writes the default project without a key.
SENTINEL_LOOPBACK_PROJECT = env.text("SENTINEL_LOOPBACK_PROJECT")
SENTINEL_MAX_EVENT_BYTES = 1_000_000
SENTINEL_MAX_BODY_BYTES = env.integer("SENTINEL_MAX_BODY_BYTES", 10 * 1024 * 1024, minimum=1_024)
DATA_UPLOAD_MAX_MEMORY_SIZE = SENTINEL_MAX_BODY_BYTES
# Where people reach Sentinel, for the links in alerts.
SENTINEL_PUBLIC_URL = env.text("SENTINEL_PUBLIC_URL") or env.text("SENTINEL_WEB_URL")
# Origins whose pages may call the API from a browser; none by default.
SENTINEL_CORS_ORIGINS = env.listing("SENTINEL_CORS_ORIGINS")
# Networks that webhooks may reach although they are private, such as the receiver of `sentinel demo`.
SENTINEL_WEBHOOK_ALLOWED_NETWORKS = env.listing("SENTINEL_WEBHOOK_ALLOWED_NETWORKS")

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "sentinel.formats"
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
LOGIN_URL = "admin:login"

# --- Logging ---------------------------------------------------------------------------------------------------------

SENTINEL_LOG_LEVEL = env.text("SENTINEL_LOG_LEVEL", "info").upper()
SENTINEL_LOG_JSON = env.flag("SENTINEL_LOG_JSON", default=False)
LOGGING_CONFIG = "sentinel.logs.configure"
LOGGING = {"level": SENTINEL_LOG_LEVEL, "as_json": SENTINEL_LOG_JSON}

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Sentinel API",
    "VERSION": "1",
    "DESCRIPTION": (
        "Every call belongs to one project: the one of the API key in `Authorization: Bearer sk_sentinel_…`. Under "
        "`sentinel up` calls from the same machine need no key and are of the default project. Times are UTC. Errors "
        'are `{"error": {code, message, fields}}` and name each field with the reason; further pages are in the '
        "`Link` header."
    ),
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
}
UNFOLD = {
    "SITE_TITLE": "Sentinel",
    "SITE_HEADER": "Sentinel",
    "SITE_SYMBOL": "monitoring",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/sentinel/icon.svg"}],
}
