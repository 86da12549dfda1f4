"""The servers of one test run: PostgreSQL and S3 in a directory of their own, tuned to forget."""

import atexit
import base64
import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import psutil
from django.conf import settings

from core.embedded.postgres import Postgres
from core.embedded.s3 import REGION, S3

OWNER = "REVSYNC_TEST_SERVICES"  # process id of the run that started the servers; xdist's workers inherit it
PREFIX = "revsync-test-"
BUCKETS = ("revsync-private", "revsync-public")
WORKER_BUCKETS = tuple(f"{bucket}-gw{number}" for bucket in BUCKETS for number in range(4))
DEVELOPERS_CHOICES = (
    *("REDIS_URL", "EMAIL_BACKEND", "METRICS_TOKEN", "TRUSTED_PROXY_HOPS", "CORS_ALLOWED_ORIGINS"),
    *("REVSYNC_PUBLIC_HOST", "MEDIA_PUBLIC_BASE_URL", "CSRF_TRUSTED_ORIGINS", "JWT_ISSUER", "STATIC_ROOT", "ALLOW_LOOPBACK_DATABASE"),
    "SIGNER_SOCKET",
)


def _key(name: str) -> str:
    """Keys of tests are made of their names: no secret, and the same in every process of a run."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"test:{name}".encode()).digest()).decode()


def set_environment(data: Path, servers: dict[str, str]) -> None:
    """The settings of a test run, in this process and those it starts. The developer's own choices don't leak into it."""
    for name in DEVELOPERS_CHOICES:
        os.environ.pop(name, None)
    os.environ.update(
        {
            "DJANGO_SETTINGS_MODULE": "revsync_backend.settings",
            "REVSYNC_ENV": "test",
            "REVSYNC_DATA_DIR": str(data),
            "SECRET_KEY": _key("secret"),
            "JWT_SIGNING_KEYS": f"test-1:{_key('jwt')}",
            "FIELD_ENCRYPTION_KEYS": _key("fields"),
            "HASH_KEY": _key("hash"),
            "CURSOR_KEY": _key("cursor"),
            "SIGNING_KEYS_DIR": str(data / "signing"),
            "MAIL_DIR": str(data / "mail"),
            "STRIPE_SECRET_KEY": "sk_test_revsync",
            "STRIPE_PUBLISHABLE_KEY": "pk_test_revsync",
            "STRIPE_WEBHOOK_SECRETS": "whsec_test_revsync",
            "STRIPE_API_BASE": "http://127.0.0.1:9",  # nobody answers; tests that pay start the stand-in themselves
            "PAYMENTS_SANDBOX_URL": "",
            "PUBLIC_BASE_URL": "http://testserver",
            "ALLOWED_HOSTS": "testserver,127.0.0.1,localhost",
            "SCANNER": "off",
            "DEBUG": "false",
            **servers,
        }
    )


class Services:
    """Starts both servers, sets the environment that `revsync_backend.settings` reads, and stops everything again."""

    def __init__(self) -> None:
        _remove_abandoned()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.directory.chmod(0o711)  # PostgreSQL's unprivileged user passes through
        self.postgres = Postgres(
            self.directory / "postgres",
            self.directory / "postgres.log",
            superuser_password="supervisor",
            role_password="revsync",
            durable=False,
        )
        self.s3 = S3(
            self.directory / "s3",
            self.directory / "s3.log",
            access_key="test-access-key",
            secret_key=_key("s3"),
            buckets=(*BUCKETS, *WORKER_BUCKETS),
        )

    def start(self) -> None:
        atexit.register(self.stop)
        try:
            self.postgres.start()
            self.s3.start()
        except BaseException:
            self.stop()
            raise
        data = self.directory / "data"
        (data / "static").mkdir(parents=True)
        set_environment(
            data,
            {
                OWNER: str(os.getpid()),
                "REVSYNC_TEST_DIR": str(self.directory),
                "DATABASE_URL": self.postgres.url,
                "S3_ENDPOINT_URL": self.s3.endpoint_url,
                "S3_PUBLIC_ENDPOINT_URL": self.s3.endpoint_url,
                "S3_REGION": REGION,
                "S3_ACCESS_KEY_ID": self.s3.access_key,
                "S3_SECRET_ACCESS_KEY": self.s3.secret_key,
                "S3_BUCKET_PRIVATE": self.s3.buckets[0],
                "S3_BUCKET_PUBLIC": self.s3.buckets[1],
            },
        )

    def stop(self) -> None:
        atexit.unregister(self.stop)
        self.s3.stop()
        self.postgres.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def running_elsewhere() -> bool:
    """True in a worker of pytest-xdist and in a run that a test started: the servers are inherited."""
    owner = os.environ.get(OWNER, "")
    return owner.isdigit() and int(owner) != os.getpid() and psutil.pid_exists(int(owner))


def _remove_abandoned() -> None:
    """Directories of runs that were killed. Their servers died with them: the kernel tells them (`core.embedded.launch`)."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = directory.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            with contextlib.suppress(OSError):
                shutil.rmtree(directory)


def use_own_buckets(worker: str) -> None:
    """Give one of xdist's first four processes buckets of its own: a sweep in one must not take another's objects."""
    private, public = (f"{bucket}-{worker}" for bucket in BUCKETS)
    if private in WORKER_BUCKETS:
        os.environ.update({"S3_BUCKET_PRIVATE": private, "S3_BUCKET_PUBLIC": public})
        # pytest-django has read the settings of a worker already, because it inherits their module's name.
        settings.S3_BUCKET_PRIVATE, settings.S3_BUCKET_PUBLIC = private, public
