"""`manage.py check --deploy` with the settings of production, made up for the occasion with fresh keys."""

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parent.parent


def environment(directory: str) -> dict[str, str]:
    """A whole production environment that names no server of anybody."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "REVSYNC_ENV": "production",
        "REVSYNC_DATA_DIR": directory,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "JWT_SIGNING_KEYS": f"2026-11:{secrets.token_urlsafe(48)}",
        "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "HASH_KEY": secrets.token_urlsafe(48),
        "CURSOR_KEY": secrets.token_urlsafe(48),
        "SIGNING_KEYS_DIR": f"{directory}/signing",
        "STATIC_ROOT": f"{directory}/static",
        "DATABASE_URL": "postgres://revsync:secret@database.invalid:6543/revsync?sslmode=require",
        "PUBLIC_BASE_URL": "https://api.revsync.invalid",
        "ALLOWED_HOSTS": "api.revsync.invalid",
        "TRUSTED_PROXY_HOPS": "1",
        "S3_ENDPOINT_URL": "https://files.revsync.invalid/s3",
        "S3_REGION": "eu-central-1",
        "S3_ACCESS_KEY_ID": secrets.token_hex(16),
        "S3_SECRET_ACCESS_KEY": secrets.token_hex(32),
        "S3_BUCKET_PRIVATE": "revsync-private",
        "S3_BUCKET_PUBLIC": "revsync-public",
        "STRIPE_SECRET_KEY": f"sk_live_{secrets.token_hex(12)}",
        "STRIPE_PUBLISHABLE_KEY": f"pk_live_{secrets.token_hex(12)}",
        "STRIPE_WEBHOOK_SECRETS": f"whsec_{secrets.token_hex(16)}",
        "SCANNER": "clamd://scanner.invalid:3310",
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": "smtp.invalid",
        "DEFAULT_FROM_EMAIL": "RevSync <no-reply@revsync.invalid>",
    }


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="revsync-deploy-") as directory:
        (Path(directory) / "static").mkdir()
        command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
        return subprocess.run(command, cwd=ROOT, env=environment(directory), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
