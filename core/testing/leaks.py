"""Nothing private reaches a log: every record that any test causes is rendered as production renders it, and searched.

Two kinds of things are looked for. *Patterns* are what can be told by its shape: tokens, presigned links, payment secrets, password
hashes, addresses, VINs. *Remembered* are the values of the running test that have no shape: whatever was encrypted, hashed as a
password or mailed as a code, because the functions that every such value passes through are listened to.

A finding fails the test in which it happened (or the session, when it happened between tests). It names the logger and the
kind, never the value: the report is a log as well.
"""

import functools
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

NO_SECRETS = frozenset({"s3_access_key", "stripe_publishable_key"})  # names of keys: each belongs to a secret that is looked for
SHORTEST_REMEMBERED = 6
PATTERNS = {
    "token": re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}"),
    "bearer credentials": re.compile(r"\bBearer +[A-Za-z0-9._~+/-]{16,}"),
    "presigned link": re.compile(r"X-Amz-(?:Signature|Credential|Security-Token)=", re.IGNORECASE),
    "signed link": re.compile(r"\bWyJ[A-Za-z0-9_-]{20,}:[A-Za-z0-9]{4,10}:[A-Za-z0-9_-]{20,}"),
    "payment secret": re.compile(r"\b(?:pi|seti)_[A-Za-z0-9]+_secret_|\b(?:sk|rk)_(?:test|live)_[A-Za-z0-9]{6,}|\bwhsec_[A-Za-z0-9_]{6,}"),
    "password hash": re.compile(r"\bargon2\$argon2|\bpbkdf2_sha\d+\$"),
    "second factor": re.compile(r"otpauth://", re.IGNORECASE),
    "encrypted field": re.compile(r"\bgAAAAA[A-Za-z0-9_-]{40,}"),
    "address": re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"),
    "VIN": re.compile(r"(?<![A-Za-z0-9])(?=[A-Z0-9]*[A-Z])(?=[A-Z0-9]*[0-9])[A-HJ-NPR-Z0-9]{17}(?![A-Za-z0-9])"),
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
NOBODYS_ADDRESSES = ("support@stripe.com",)  # the provider's library quotes it when it can't connect
# Figures in which six digits that look like somebody's code are met by chance.
FIGURES = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32,}\b|\b\d+\.\d+\b"
)


@dataclass(frozen=True)
class Leak:
    """Something private in a record: of which logger, and what kind of thing."""

    logger: str
    kind: str

    def __str__(self) -> str:
        return f"{self.logger}: {self.kind}"


class LeakWatch(logging.Handler):
    """Renders every record as production does and keeps what it finds in it."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.found: list[Leak] = []
        self.seen = 0
        self._remembered: dict[str, str] = {}
        self._formatter = production_formatter()

    def remember(self, kind: str, value: Any) -> None:
        """From now on this value must not be seen, until `forget`."""
        if isinstance(value, str) and len(value) >= SHORTEST_REMEMBERED:
            self._remembered[value] = kind

    def forget(self) -> None:
        """The next test has values of its own."""
        self._remembered.clear()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += 1
        try:
            text = self._formatter.format(record)
        except Exception:  # the record's own handler reports it
            return
        self.found += [Leak(record.name, kind) for kind in self.kinds_in(text)]

    def kinds_in(self, text: str) -> Iterator[str]:
        """What kinds of private things a rendered line holds."""
        yield from kinds_in(text)
        plain = FIGURES.sub(" ", text)
        for value, kind in self._remembered.items():
            if value in plain and re.search(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", plain):
                yield kind

    def take(self) -> list[Leak]:
        """What was found since the last call."""
        found, self.found = self.found, []
        return found


def kinds_in(text: str) -> Iterator[str]:
    """The kinds of `PATTERNS` in a text."""
    for address in NOBODYS_ADDRESSES:
        text = text.replace(address, "")
    return (kind for kind, pattern in PATTERNS.items() if pattern.search(text))


def find_in_lines(lines: Iterable[str], *, secrets: Iterable[str] = ()) -> set[str]:
    """The same for the log files of another process, with the secrets that it was started with."""
    secrets = [secret for secret in secrets if len(secret) >= SHORTEST_REMEMBERED]
    found: set[str] = set()
    for line in lines:
        found.update(kinds_in(line))
        found.update("a secret of the installation" for secret in secrets if secret in line)
    return found


def find_in_logs_of(data: Path) -> list[str]:
    """What the log files of a running system hold that they must not, as "web.log: address"; `data` is its data directory."""
    kept = data / "secrets.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    secrets = [value for name, value in known.items() if name not in NO_SECRETS and isinstance(value, str)]
    found = []
    for path in sorted((data / "logs").glob("*.log*")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            found += [f"{path.name}: {kind}" for kind in sorted(find_in_lines(lines, secrets=secrets))]
    return found


def production_formatter() -> logging.Formatter:
    """What renders the records of a running system: `core.logs`, as JSON, whatever this run is set to."""
    from core.logs import formatter_options

    options = dict(formatter_options("json"))
    options.pop("()")
    return structlog.stdlib.ProcessorFormatter(**options)


@contextmanager
def watching(watch: LeakWatch) -> Iterator[LeakWatch]:
    """Attached to the root logger, and to every logger that does not pass its records on to it."""
    attached = [logging.getLogger(), *(logger for logger in _known_loggers() if not logger.propagate)]
    for logger in attached:
        logger.addHandler(watch)
    undo = _listen(watch)
    try:
        yield watch
    finally:
        for logger in attached:
            logger.removeHandler(watch)
        for restore in undo:
            restore()


def _known_loggers() -> list[logging.Logger]:
    return [logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger)]


def _listen(watch: LeakWatch) -> list[Callable[[], None]]:
    """Remember what passes through the functions by which everything private is stored, checked or sent."""
    from core import crypto, mfa
    from users import codes, passwords

    def of_encrypted(text: str, *_args: Any) -> None:
        watch.remember("encrypted value", text)
        if text.startswith("{"):  # what waits in a challenge
            for value in json.loads(text).values():
                watch.remember("encrypted value", value)

    return [
        _tap(crypto, "encrypt", before=of_encrypted),
        _tap(passwords, "hashed", before=lambda password: watch.remember("password", password)),
        _tap(passwords, "verify", before=lambda password, *_args: watch.remember("password", password)),
        _tap(codes, "code_of", after=lambda code: watch.remember("mailed code", code)),
        _tap(mfa, "code_of", after=lambda code: watch.remember("code of the second factor", code)),
    ]


def _tap(
    module: Any, name: str, *, before: Callable[..., None] | None = None, after: Callable[[Any], None] | None = None
) -> Callable[[], None]:
    original = getattr(module, name)

    @functools.wraps(original)
    def tapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args, *kwargs.values())
        answer = original(*args, **kwargs)
        if after is not None:
            after(answer)
        return answer

    setattr(module, name, tapped)
    return lambda: setattr(module, name, original)


def main(arguments: list[str]) -> int:
    """`python -m core.testing.leaks DATA_DIR`: search the logs of a system that runs or ran there."""
    found = find_in_logs_of(Path(arguments[0]))
    for leak in found:
        sys.stderr.write(f"Something private is in {leak}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
