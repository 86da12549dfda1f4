"""What the environment must say, checked before a single setting is read from it: one line for each thing that is wrong.

Everywhere: numbers are numbers, keys are keys. In production also: nothing is missing, nothing contradicts, and nothing of
development is left over. `revsync_backend.settings` calls `enforce(os.environ)` first of all, so every process of ours that
starts with a bad environment ends with status 1 and says why. Standard library only: nothing may fail before this does.
"""

import base64
import ipaddress
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

Environment = Mapping[str, str]

ENVIRONMENTS = ("development", "test", "production")
NUMBERS = {
    "TRUSTED_PROXY_HOPS": (0, 10),
    "PLATFORM_FEE_BASIS_POINTS": (0, 10_000),
    "API_REQUESTS_PER_MINUTE": (1, 1_000_000),
    "EMAIL_PORT": (1, 65_535),
}
SWITCHES = ("DEBUG", "SECURE_SSL_REDIRECT", "EMAIL_USE_TLS", "ALLOW_LOOPBACK_DATABASE")
TRUE = frozenset({"1", "true", "yes", "on", "y", "ok", "t"})
FALSE = frozenset({"0", "false", "no", "off", "n", "f", ""})
URLS = (
    *("PUBLIC_BASE_URL", "S3_ENDPOINT_URL", "S3_PUBLIC_ENDPOINT_URL", "MEDIA_PUBLIC_BASE_URL"),
    *("STRIPE_API_BASE", "PAYMENTS_SANDBOX_URL", "FCM_API_BASE"),
)
SECRETS = ("SECRET_KEY", "HASH_KEY", "CURSOR_KEY")
SHORTEST_SECRET = 32
NEEDED_IN_PRODUCTION = (
    *("SECRET_KEY", "JWT_SIGNING_KEYS", "FIELD_ENCRYPTION_KEYS", "HASH_KEY", "CURSOR_KEY", "SIGNING_KEYS_DIR"),
    *("DATABASE_URL", "PUBLIC_BASE_URL", "ALLOWED_HOSTS", "TRUSTED_PROXY_HOPS"),
    *("S3_ENDPOINT_URL", "S3_REGION", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_BUCKET_PRIVATE", "S3_BUCKET_PUBLIC"),
    *("STRIPE_SECRET_KEY", "STRIPE_PUBLISHABLE_KEY", "STRIPE_WEBHOOK_SECRETS"),
    *("SCANNER", "EMAIL_BACKEND", "DEFAULT_FROM_EMAIL"),
)


def find_problems(environ: Environment) -> list[str]:
    """One sentence for each thing that is wrong; empty when the application may start."""
    name = environ.get("REVSYNC_ENV") or "development"
    if name not in ENVIRONMENTS:
        return [f"REVSYNC_ENV is {name!r}: it must be development, test or production"]
    found = [*_malformed(environ)]
    if name == "production":
        missing = [key for key in NEEDED_IN_PRODUCTION if not _value(environ, key)]
        found += [f"{key} is missing: production needs it" for key in missing]
        for rule in PRODUCTION_RULES:
            found += [problem for problem in rule(environ) if problem.split(" ")[0] not in missing]
    elif not _value(environ, "SECRET_KEY"):
        found.append(
            "SECRET_KEY is missing: manage.py works beside a running `make run` (same REVSYNC_DATA_DIR), under "
            "`python tools/with_test_settings.py`, or with the variables of .env.example"
        )
    return list(dict.fromkeys(found))


def enforce(environ: Environment) -> None:
    """End the process with status 1, one line for each problem, when the application must not start like this."""
    found = find_problems(environ)
    if found:
        for problem in found:
            print(f"revsync: settings: {problem}", file=sys.stderr)
        sys.exit(1)


def _value(environ: Environment, name: str) -> str:
    return environ.get(name, "").strip()


def _list(environ: Environment, name: str) -> list[str]:
    """The entries of a list, blank ones included: `a,,b` has three."""
    text = _value(environ, name)
    return [part.strip() for part in text.split(",")] if text else []


def _is_on(environ: Environment, name: str, default: bool) -> bool:
    text = _value(environ, name).lower()
    return default if text == "" else text in TRUE


def _url(environ: Environment, name: str) -> SplitResult:
    try:
        return urlsplit(_value(environ, name))
    except ValueError:
        return urlsplit("")


def _is_loopback(host: str | None) -> bool:
    if not host:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


# Everywhere


def _malformed(environ: Environment) -> Iterator[str]:
    for name, (lowest, highest) in NUMBERS.items():
        text = _value(environ, name)
        if text and not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
            yield f"{name} is {text!r}: it must be a number from {lowest} to {highest}"
    for name in SWITCHES:
        text = _value(environ, name).lower()
        if text not in TRUE | FALSE:
            yield f"{name} is {text!r}: it must be true or false"
    for entry in _list(environ, "JWT_SIGNING_KEYS"):
        kid, colon, key = entry.partition(":")
        if not (kid and colon and key):
            yield "JWT_SIGNING_KEYS must be a list of `kid:key`, separated by commas; the first one signs"
            break
    for entry in _list(environ, "FIELD_ENCRYPTION_KEYS"):
        if not _is_fernet_key(entry):
            yield "FIELD_ENCRYPTION_KEYS must be a list of Fernet keys (32 bytes in URL-safe base64), separated by commas"
            break
    database = _url(environ, "DATABASE_URL")
    if _value(environ, "DATABASE_URL") and (database.scheme not in ("postgres", "postgresql") or not database.hostname):
        yield "DATABASE_URL must look like postgres://user:password@host:port/database"
    for name in URLS:
        url = _url(environ, name)
        if _value(environ, name) and (url.scheme not in ("http", "https") or not url.hostname):
            yield f"{name} must be an http or https URL"
    scanner = _value(environ, "SCANNER")
    if scanner and scanner not in ("off", "off-accepted") and _url(environ, "SCANNER").scheme != "clamd":
        yield f"SCANNER is {scanner!r}: it must be clamd://host:port, clamd:///path/of/socket, off-accepted, or off outside production"


def _is_fernet_key(text: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(text.encode())) == 32
    except ValueError:
        return False


# Production


def _nothing_of_development(environ: Environment) -> Iterator[str]:
    if _is_on(environ, "DEBUG", False):
        yield "DEBUG is on: production refuses it, since its pages show settings and data"
    if _value(environ, "REVSYNC_EMBEDDED"):
        yield "REVSYNC_EMBEDDED is set: the servers of `make run` are not for production"
    if _value(environ, "PAYMENTS_SANDBOX_URL"):
        yield "PAYMENTS_SANDBOX_URL is set: the stand-in for payments can't be used in production"
    api_base = _value(environ, "STRIPE_API_BASE")
    if api_base and api_base.rstrip("/") != "https://api.stripe.com":
        yield f"STRIPE_API_BASE is {api_base}: production talks to https://api.stripe.com only, never to a stand-in"
    if _value(environ, "EMAIL_BACKEND") in ("core.mailbox.FileMailBackend", "django.core.mail.backends.console.EmailBackend"):
        yield "EMAIL_BACKEND keeps mails on this machine: choose one that sends them, e.g. django.core.mail.backends.smtp.EmailBackend"


def _own_keys(environ: Environment) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name in SECRETS:
        key = _value(environ, name)
        yield from _weak(name, key)
        if key and key in seen:
            yield f"{name} is the same as {seen[key]}: every key has one use"
        seen.setdefault(key, name)
    for entry in _list(environ, "JWT_SIGNING_KEYS"):
        kid, _, key = entry.partition(":")
        if kid.startswith(("dev-", "test-")):
            yield f"JWT_SIGNING_KEYS has the development key {kid!r}"
        yield from _weak("JWT_SIGNING_KEYS", key)
        if key in seen:
            yield f"JWT_SIGNING_KEYS repeats {seen[key]}: the tokens' key is their own"


def _weak(name: str, key: str) -> Iterator[str]:
    if key.startswith(("dev-", "test-", "insecure", "django-insecure", "change-me")):
        yield f"{name} is a development key: make one of your own, e.g. `openssl rand -base64 48`"
    elif key and (len(key) < SHORTEST_SECRET or len(set(key)) < 10):
        yield f"{name} is too weak: at least {SHORTEST_SECRET} random characters, e.g. `openssl rand -base64 48`"


def _hosts(environ: Environment) -> Iterator[str]:
    hosts = _list(environ, "ALLOWED_HOSTS")
    if any("*" in host or host.startswith(".") for host in hosts):
        yield "ALLOWED_HOSTS has a wildcard: name each host"
    if "" in hosts:
        yield "ALLOWED_HOSTS has a blank entry"
    base = _url(environ, "PUBLIC_BASE_URL")
    if base.scheme != "https":
        yield "PUBLIC_BASE_URL must begin with https://"
    elif _is_loopback(base.hostname):
        yield "PUBLIC_BASE_URL names this machine: clients must reach it from outside"
    elif hosts and base.hostname not in hosts:
        yield f"ALLOWED_HOSTS does not have {base.hostname}, the host of PUBLIC_BASE_URL"
    for origin in _list(environ, "CORS_ALLOWED_ORIGINS"):
        if not origin.startswith("https://") or "*" in origin:
            yield f"CORS_ALLOWED_ORIGINS has {origin!r}: name each origin, with https://"
    if _value(environ, "TRUSTED_PROXY_HOPS") == "0" and _is_on(environ, "SECURE_SSL_REDIRECT", True):
        yield (
            "TRUSTED_PROXY_HOPS is 0 while SECURE_SSL_REDIRECT is on: behind a proxy that ends TLS every request would be redirected "
            "for ever; say how many proxies of yours stand before this, or switch the redirect off"
        )


def _servers(environ: Environment) -> Iterator[str]:
    if _is_loopback(_url(environ, "DATABASE_URL").hostname) and not _is_on(environ, "ALLOW_LOOPBACK_DATABASE", False):
        yield (
            "DATABASE_URL names this machine, as the embedded server does: production refuses it; when it is a pooler or proxy of yours, "
            "set ALLOW_LOOPBACK_DATABASE=true"
        )
    for name in ("S3_ENDPOINT_URL", "S3_PUBLIC_ENDPOINT_URL"):
        url = _url(environ, name)
        if _is_loopback(url.hostname):
            yield f"{name} names this machine, as the embedded server does: production refuses it"
        elif url.hostname and url.scheme != "https":
            yield f"{name} must begin with https://"
    if _value(environ, "S3_BUCKET_PRIVATE") and _value(environ, "S3_BUCKET_PRIVATE") == _value(environ, "S3_BUCKET_PUBLIC"):
        yield "S3_BUCKET_PUBLIC is the same as S3_BUCKET_PRIVATE: private files would be public"
    if _value(environ, "S3_ACCESS_KEY_ID").startswith(("dev-", "test-")):
        yield "S3_ACCESS_KEY_ID is a development key"


def _payments(environ: Environment) -> Iterator[str]:
    secret, publishable = _value(environ, "STRIPE_SECRET_KEY"), _value(environ, "STRIPE_PUBLISHABLE_KEY")
    if secret.startswith(("sk_test_", "rk_test_")):
        yield "STRIPE_SECRET_KEY is a test key: nobody would really pay"
    if publishable.startswith("pk_test_"):
        yield "STRIPE_PUBLISHABLE_KEY is a test key: nobody would really pay"
    for entry in _list(environ, "STRIPE_WEBHOOK_SECRETS"):
        if not entry.startswith("whsec_") or len(entry) < len("whsec_") + 16:
            yield "STRIPE_WEBHOOK_SECRETS has an entry that is blank or no signing secret (whsec_…): anybody could send events"
            break


def _scanner(environ: Environment) -> Iterator[str]:
    if _value(environ, "SCANNER") == "off":
        yield "SCANNER is off: name a scanner (clamd://host:port), or accept to have none by SCANNER=off-accepted"


def _mail(environ: Environment) -> Iterator[str]:
    if _value(environ, "EMAIL_BACKEND") == "django.core.mail.backends.smtp.EmailBackend" and not _value(environ, "EMAIL_HOST"):
        yield "EMAIL_HOST is missing: the SMTP backend needs it"


def _push(environ: Environment) -> Iterator[str]:
    path, base = _value(environ, "FCM_SERVICE_ACCOUNT_FILE"), _url(environ, "FCM_API_BASE")
    if path and not Path(path).is_file():
        yield "FCM_SERVICE_ACCOUNT_FILE names no file: mount the service account's key, or leave it empty to send no pushes"
    if base.hostname and base.scheme != "https":
        yield "FCM_API_BASE must begin with https://: an access token would be read on the way"


PRODUCTION_RULES: tuple[Callable[[Environment], Iterator[str]], ...] = (
    _nothing_of_development,
    _own_keys,
    _hosts,
    _servers,
    _payments,
    _scanner,
    _mail,
    _push,
)
