"""All settings, read from the environment. `.env.example` lists each with a sentence.

When `DATABASE_URL` is not set, `<REVSYNC_DATA_DIR>/runtime.env` is read: the supervisor of `make run` writes it, so
that `manage.py …` works beside a running copy. `core.settings_check` refuses what production must not run with.
"""

import os
from datetime import timedelta
from pathlib import Path

import environ

from core import settings_check
from revsync_backend import openapi

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DATA_DIR = Path(env("REVSYNC_DATA_DIR", default=str(BASE_DIR / ".data"))).absolute()
if env("REVSYNC_ENV", default="") != "production" and not env("DATABASE_URL", default="") and (DATA_DIR / "runtime.env").exists():
    env.read_env(DATA_DIR / "runtime.env")
settings_check.enforce(os.environ)

ENVIRONMENT = env("REVSYNC_ENV", default="development")
IS_PRODUCTION = ENVIRONMENT == "production"
IS_TEST = ENVIRONMENT == "test"
DEBUG = env.bool("DEBUG", default=False)

# Keys. In development and in tests the supervisor makes them on the first start; production brings its own.
SECRET_KEY = env("SECRET_KEY", default="")
JWT_SIGNING_KEYS = dict(pair.split(":", 1) for pair in env.list("JWT_SIGNING_KEYS", default=[]))  # kid → key; the first signs, all verify
FIELD_ENCRYPTION_KEYS = env.list("FIELD_ENCRYPTION_KEYS", default=[])  # Fernet keys; the first encrypts, all decrypt
HASH_KEY = env("HASH_KEY", default="")
HASH_KEYS_RETIRED = env.list("HASH_KEYS_RETIRED", default=[])  # earlier ones: for recovery codes and receipts of deletions
CURSOR_KEY = env("CURSOR_KEY", default="") or SECRET_KEY
SIGNING_KEYS_DIR = Path(env("SIGNING_KEYS_DIR", default=str(DATA_DIR / "signing")))
SIGNER_SOCKET = env("SIGNER_SOCKET", default="")  # of a signer process that has the keys; without it they are files of this machine

PUBLIC_BASE_URL = env("PUBLIC_BASE_URL", default="http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[PUBLIC_BASE_URL])
TRUSTED_PROXY_HOPS = env.int("TRUSTED_PROXY_HOPS", default=0)

INSTALLED_APPS = [
    "core.apps.CoreConfig",
    "unfold",
    "unfold.contrib.filters",
    "users.apps.UsersConfig",
    "tuners.apps.TunersConfig",
    "garage.apps.GarageConfig",
    "marketplace.apps.MarketplaceConfig",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_tasks",
    "django_tasks_db",
    "django_prometheus",
    "corsheaders",
]

MIDDLEWARE = [
    "core.middleware.RequestIdMiddleware",
    "core.headers.HeadersMiddleware",
    "core.middleware.ApiProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "core.middleware.ContentSecurityMiddleware",
    # The admin's own: each of these passes API requests through untouched, so that the API never sees a cookie.
    "core.middleware.AdminSessionMiddleware",
    "core.middleware.AdminCsrfMiddleware",
    "core.middleware.AdminAuthenticationMiddleware",
    "core.middleware.AdminMessageMiddleware",
]

ROOT_URLCONF = "revsync_backend.urls"
WSGI_APPLICATION = "revsync_backend.wsgi.application"
ASGI_APPLICATION = "revsync_backend.asgi.application"
APPEND_SLASH = False  # a redirect would drop the body of a POST; the 404 says so instead
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

# Database: kept connections, no server-side cursors and no session state, so that a transaction pooler may stand between.
DATABASES = {
    "default": {
        **env.db_url("DATABASE_URL", default="postgres://revsync@127.0.0.1:5432/revsync"),
        "ENGINE": "core.database",
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "ATOMIC_REQUESTS": False,
    }
}
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 3)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env("REDIS_URL", default="")
CACHES = {
    "default": (
        {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL}
        if REDIS_URL
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "revsync"}
    )
}

# Accounts
AUTH_USER_MODEL = "users.User"
SESSION_MODEL = "users.UserDevice"  # core reaches it through the app registry, as Django reaches the user model
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["users.hashers.OwaspArgon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS: list[dict] = []  # users.passwords holds our rules: the API and create_admin share them
JWT_ISSUER = env("JWT_ISSUER", default=PUBLIC_BASE_URL)
JWT_AUDIENCE = "revsync-app"
ACCESS_TOKEN_LIFETIME = timedelta(minutes=10)
SESSION_IDLE_LIFETIME = timedelta(days=30)
SESSION_ABSOLUTE_LIFETIME = timedelta(days=180)
STEP_UP_LIFETIME = timedelta(minutes=5)
TERMS_VERSION = env("TERMS_VERSION", default="2026-11-01")

LOGIN_URL, LOGIN_REDIRECT_URL = "/admin/login/", "/admin/"
SESSION_COOKIE_NAME = "revsync_admin"
SESSION_COOKIE_PATH = "/admin/"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_PRODUCTION
CSRF_COOKIE_PATH = "/admin/"
CSRF_COOKIE_HTTPONLY = True

# Exact limits (core.limits, in Postgres): name → (how many, window in seconds). `meta.limits` shows them.
LIMITS = {
    "login_failures_account": (10, 900),
    "login_failures_peer": (300, 900),
    "mails_address": (3, 3600),
    "email_changes_account": (3, 3600),
    "security_mails_account": (3, 3600),
    "notice_mails_account": (20, 3600),
    "registrations_peer": (300, 3600),
    "challenge_tries_peer": (300, 900),
    "mfa_tries": (10, 900),
    "password_tries": (10, 900),
    "purchases_account": (100, 3600),
    "grants_account": (120, 3600),
    "case_messages_account": (120, 3600),
    "uploads_account": (200, 3600),
    "inspections_account": (60, 3600),
    "exports_account": (10, 86400),
    "transfer_tries": (10, 3600),
    "rescue_peer": (30, 900),
}
# Approximate limits (cache): name → (how many, window in seconds); "default" applies to every API route.
APPROXIMATE_LIMITS = {"default": (env.int("API_REQUESTS_PER_MINUTE", default=1200), 60)}

# API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["core.authentication.SessionTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["core.permissions.Authenticated"],
    "DEFAULT_PARSER_CLASSES": ["core.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["core.renderers.OrjsonRenderer"],
    "DEFAULT_SCHEMA_CLASS": "core.schema.EndpointSchema",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "core.renderers.JsonNegotiation",
    "EXCEPTION_HANDLER": "core.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
    "DEFAULT_VERSIONING_CLASS": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "RevSync API",
    "VERSION": "1.0.0",
    "DESCRIPTION": (BASE_DIR / "core" / "openapi_description.md").read_text(encoding="utf-8"),
    "DEFAULT_GENERATOR_CLASS": "core.schema.RowSchemaGenerator",
    "GET_LIB_DOC_EXCLUDES": "core.schema.doc_excludes",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["core.permissions.Public"],
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "ENUM_NAME_OVERRIDES": openapi.ENUM_NAMES,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "core.schema.tidy_components",
        "core.schema.problem_examples",
        "revsync_backend.openapi_shapes.join_choices",
        "revsync_backend.openapi_shapes.add_problem_members",
        "revsync_backend.openapi_links.add_links",
    ],
    "SORT_OPERATIONS": False,
    "TAGS": openapi.TAGS,
    "APPEND_COMPONENTS": {"securitySchemes": openapi.SECURITY_SCHEMES},
}

# Files
S3_ENDPOINT_URL = env("S3_ENDPOINT_URL", default="")
S3_PUBLIC_ENDPOINT_URL = env("S3_PUBLIC_ENDPOINT_URL", default="") or S3_ENDPOINT_URL
S3_REGION = env("S3_REGION", default="us-east-1")
S3_ACCESS_KEY_ID = env("S3_ACCESS_KEY_ID", default="")
S3_SECRET_ACCESS_KEY = env("S3_SECRET_ACCESS_KEY", default="")
S3_BUCKET_PRIVATE = env("S3_BUCKET_PRIVATE", default="revsync-private")
S3_BUCKET_PUBLIC = env("S3_BUCKET_PUBLIC", default="revsync-public")
MEDIA_PUBLIC_BASE_URL = (env("MEDIA_PUBLIC_BASE_URL", default="") or f"{PUBLIC_BASE_URL}/media").rstrip("/")
SCANNER = env("SCANNER", default="off")  # clamd://host:port, off-accepted; "off" is for development only
STORAGES = {
    "default": {"BACKEND": "core.media_storage.PublicMediaStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
STATIC_URL = "/static/"
STATIC_ROOT = Path(env("STATIC_ROOT", default=str(DATA_DIR / "static")))
WHITENOISE_USE_FINDERS = not IS_PRODUCTION
WHITENOISE_AUTOREFRESH = False
WHITENOISE_ALLOW_ALL_ORIGINS = False  # our pages load them from here; CORS is CORS_ALLOWED_ORIGINS' affair

# Payments
STRIPE_API_BASE = env("STRIPE_API_BASE", default="https://api.stripe.com")
STRIPE_SECRET_KEY = env("STRIPE_SECRET_KEY", default="")
STRIPE_PUBLISHABLE_KEY = env("STRIPE_PUBLISHABLE_KEY", default="")
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRETS", default=[])
PAYMENTS_SANDBOX_URL = env("PAYMENTS_SANDBOX_URL", default="")  # the stand-in's page for people; empty in production
PLATFORM_NAME = env("PLATFORM_NAME", default="RevSync")  # these three stand on receipts
PLATFORM_ADDRESS = env("PLATFORM_ADDRESS", default="")
PLATFORM_TAX_ID = env("PLATFORM_TAX_ID", default="")
PAYOUT_RETURN_URL = env("PAYOUT_RETURN_URL", default="") or f"{PUBLIC_BASE_URL}/payouts/return"
PAYOUT_REFRESH_URL = env("PAYOUT_REFRESH_URL", default="") or f"{PUBLIC_BASE_URL}/payouts/return?again=1"
PLATFORM_FEE_BASIS_POINTS = env.int("PLATFORM_FEE_BASIS_POINTS", default=1500)

# Mail
EMAIL_BACKEND = env("EMAIL_BACKEND", default="core.mailbox.FileMailBackend")
MAIL_DIR = Path(env("MAIL_DIR", default=str(DATA_DIR / "mail")))
EMAIL_HOST = env("EMAIL_HOST", default="localhost")
EMAIL_PORT = env.int("EMAIL_PORT", default=587)
EMAIL_HOST_USER = env("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD = env("EMAIL_HOST_PASSWORD", default="")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", default=True)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", default="RevSync <no-reply@revsync.example>")

# Pushes
FCM_SERVICE_ACCOUNT_FILE = env("FCM_SERVICE_ACCOUNT_FILE", default="")
FCM_API_BASE = env("FCM_API_BASE", default="https://fcm.googleapis.com")
PUSH_BACKEND = "users.fcm.FcmPush" if FCM_SERVICE_ACCOUNT_FILE else "users.push.NoPush"

# Tasks
TASKS = {"default": {"BACKEND": "core.tasks.definition.TaskBackend", "QUEUES": []}}

# Texts a person agrees to; `meta/` serves them with their hash. A change of text is a new version.
TEXTS_DIR = BASE_DIR / "core" / "texts"
MINIMUM_APP_VERSION = env("MINIMUM_APP_VERSION", default="1.0.0")

# Language and time
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "core.formats"

# Headers
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "no-referrer"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if IS_PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_PRODUCTION
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=IS_PRODUCTION)
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXY_HOPS else None
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    "security.W002",  # every answer carries frame-ancestors 'none' in its Content-Security-Policy
    "security.W003",  # CSRF protection is AdminCsrfMiddleware's: only the admin reads cookies
]
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
if CORS_ALLOWED_ORIGINS:  # without one, no browser's preflight is answered and nobody pays for the look
    MIDDLEWARE.insert(MIDDLEWARE.index("core.middleware.ContentSecurityMiddleware") + 1, "corsheaders.middleware.CorsMiddleware")
CORS_ALLOW_HEADERS = ["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-ID"]
CORS_ALLOW_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
CORS_URLS_REGEX = r"^/api/"
CORS_EXPOSE_HEADERS = ["ETag", "X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "Idempotency-Replayed"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
ADMIN_CONTENT_SECURITY_POLICY = {
    "script-src": ["'self'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
    "img-src": ["'self'", "data:", S3_PUBLIC_ENDPOINT_URL] if S3_PUBLIC_ENDPOINT_URL else ["'self'", "data:"],
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
FILE_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000

# The admin. Its sign-in form asks for the second factor; who may be there is core.admin_site's affair.
UNFOLD = {
    "SITE_TITLE": "RevSync",
    "SITE_HEADER": "RevSync",
    "SITE_URL": None,
    "SITE_SYMBOL": "speed",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: f"{STATIC_URL}revsync_admin/icon.svg"}],
    "STYLES": [lambda request: f"{STATIC_URL}revsync_admin/admin.css"],
    "LOGIN": {"form": "users.admin_login.AdminLoginForm"},
    "ACCOUNT": {"navigation": [{"title": "API documentation", "link": "/api/docs/"}]},
    "SIDEBAR": {"show_search": True},
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.6)",
            "100": "oklch(93.2% .032 255.6)",
            "200": "oklch(88.2% .059 254.1)",
            "300": "oklch(80.9% .105 251.8)",
            "400": "oklch(70.7% .165 254.6)",
            "500": "oklch(62.3% .214 259.8)",
            "600": "oklch(54.6% .245 262.9)",
            "700": "oklch(48.8% .243 264.4)",
            "800": "oklch(42.4% .199 265.6)",
            "900": "oklch(37.9% .146 265.5)",
            "950": "oklch(28.2% .091 267.9)",
        },
    },
}

METRICS_TOKEN = env("METRICS_TOKEN", default="")  # bearer token for /metrics; without one only loopback may read it
PROMETHEUS_EXPORT_MIGRATIONS = False

LOG_FORMAT = env("LOG_FORMAT", default="json")
LOG_LEVEL = env("LOG_LEVEL", default="INFO")
from core.logs import logging_config  # noqa: E402  (needs nothing of Django)

LOGGING = logging_config(level=LOG_LEVEL, fmt=LOG_FORMAT)
