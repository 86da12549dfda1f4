"""`python -m core.embedded.payments`: run the stand-in payment server until SIGTERM or Ctrl-C."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from core.embedded.payments.server import PaymentServer, serve, stop_soon
from core.embedded.payments.store import Store

EPILOG = """
Each option may also come from the environment (its name in capitals with PAYMENTS_ in front, e.g. PAYMENTS_SECRET_KEY):
secrets on a command line can be read by other users of the machine.

Ready when GET /healthz answers 200; it then prints one line. SIGTERM or SIGINT ends it within 4 seconds; after
kill -9 the next start goes on with what was acknowledged. Events go to --webhook-url, signed with --webhook-secret,
until it answers 2xx. People pay at <public-url>/pay/<payment intent id>; a client posts the form field `outcome`
there (succeed, decline, require_action, dispute, dispute_won, dispute_lost, refund_failed …); tuners are onboarded
at <public-url>/onboarding/<code> of an account link. Faults, deliveries and what happens later are switched at
/_stand-in/ with the secret key (see core/embedded/payments/faults.py).
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""

    def default(name: str, otherwise: str | None = None) -> str | None:
        return os.environ.get(f"PAYMENTS_{name}", otherwise)

    result = argparse.ArgumentParser(
        prog="python -m core.embedded.payments",
        description="Stand-in payment server: the part of Stripe's API that RevSync uses, for development and tests only.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--data", default=default("DATA"), metavar="DIR", help="directory of its own storage; made when missing (required)")
    result.add_argument("--host", default=default("HOST", "127.0.0.1"), help="address to listen on (default: %(default)s)")
    result.add_argument(
        "--port", default=default("PORT"), type=int, metavar="N", help="port to listen on; 0 lets the system choose (required)"
    )
    result.add_argument(
        "--public-url", default=default("PUBLIC_URL"), metavar="URL", help="base of the page for people (default: http://HOST:PORT)"
    )
    result.add_argument(
        "--secret-key", default=default("SECRET_KEY"), metavar="KEY", help="the API key that clients send, sk_test_… (required)"
    )
    result.add_argument("--webhook-url", default=default("WEBHOOK_URL", ""), metavar="URL", help="where events are posted; empty: nowhere")
    result.add_argument(
        "--webhook-secret", default=default("WEBHOOK_SECRET", ""), metavar="SECRET", help="key of the events' signatures, whsec_…"
    )
    result.add_argument("--verbose", action="store_true", help="log every request")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the server; returns the exit status."""
    command = parser()
    options = command.parse_args(arguments)
    for name in ("data", "port", "secret_key"):
        if getattr(options, name) is None:
            command.error(f"--{name.replace('_', '-')} is required")
    if not options.secret_key.startswith("sk_test_"):
        command.error("--secret-key must begin with sk_test_: a live key has no business here")
    if options.webhook_url and not options.webhook_secret:
        command.error("--webhook-url needs --webhook-secret")
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.INFO, format="payments: %(message)s", stream=sys.stderr)
    if os.environ.get("REVSYNC_ENV") == "production":
        command.error("the stand-in payment server refuses to run with REVSYNC_ENV=production")
    try:
        server = PaymentServer(
            (options.host, options.port),
            store=Store(Path(options.data)),
            secret_key=options.secret_key,
            public_url=options.public_url or "",
            webhook_url=options.webhook_url,
            webhook_secret=options.webhook_secret,
        )
    except OSError as trouble:
        print(f"payments: can't listen on {options.host}:{options.port}: {trouble.strerror}", file=sys.stderr)
        return 1
    port = server.server_address[1]
    server.public_url = server.public_url or f"http://{options.host}:{port}"
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_soon(server))
    print(f"payments: ready at http://{options.host}:{port}", flush=True)
    serve(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
