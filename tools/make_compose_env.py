"""Write .env for `docker compose`: fresh secrets, readable by their owner only. An existing file is left as it is."""

import secrets
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.embedded.secrets import MAKERS, write_private

PATH = Path(__file__).resolve().parent.parent / ".env"


def main() -> None:
    if PATH.exists():
        print(f"{PATH} exists already and is left as it is")
        return
    made = {name: make() for name, make in MAKERS.items()}
    values = {
        "POSTGRES_PASSWORD": secrets.token_hex(20),
        "SECRET_KEY": made["secret_key"],
        "JWT_SIGNING_KEYS": f"dev-1:{made['jwt_key']}",
        "FIELD_ENCRYPTION_KEYS": made["field_key"],
        "HASH_KEY": made["hash_key"],
        "CURSOR_KEY": made["cursor_key"],
        "S3_ACCESS_KEY_ID": made["s3_access_key"],
        "S3_SECRET_ACCESS_KEY": made["s3_secret_key"],
        "STRIPE_SECRET_KEY": made["stripe_secret_key"],
        "STRIPE_PUBLISHABLE_KEY": made["stripe_publishable_key"],
        "STRIPE_WEBHOOK_SECRETS": made["stripe_webhook_secret"],
        # The stand-in for payments reads its own names.
        "PAYMENTS_SECRET_KEY": made["stripe_secret_key"],
        "PAYMENTS_WEBHOOK_SECRET": made["stripe_webhook_secret"],
    }
    write_private(PATH, "".join(f"{name}={value}\n" for name, value in values.items()))
    print(f"wrote {PATH}")


if __name__ == "__main__":
    main()
