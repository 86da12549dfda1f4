"""Structured logs on standard output: one JSON object (or a readable line) an event, with the request's id.

Nothing here may import Django: the settings import this module.
"""

import json
import logging
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson
import structlog

# Belt and braces: nothing of the kind should reach a log call, and what does is blanked.
SECRET_NAMES = re.compile(
    r"pass(word)?|secret|token|authorization|cookie|code|email|vin|frame_number|url|signature|client_secret", re.IGNORECASE
)
ROW_IN_ERROR = re.compile(r"DETAIL:.*?(?=\n\n(?:The above|During handling)|\Z)", re.DOTALL)
LINK_IN_PATH = re.compile(r"(/documents/)[^\s/?\"'<]+")  # Django names the path of what ended in a 5xx; this one opens a document
HARMLESS_NAMES = frozenset({"status_code", "problem_code", "url_name", "code_version"})


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return name not in HARMLESS_NAMES and SECRET_NAMES.search(name) is not None


def blank_secrets(_logger: Any, _method: str, event: dict) -> dict:
    """Replace the values of fields whose name says that they hold something private."""
    for name in event:
        if _is_secret(name):
            event[name] = "[removed]"
    return event


def without_row(text: str) -> str:
    """An error of the database without its details, which quote the row: passwords' hashes, addresses and all."""
    return ROW_IN_ERROR.sub("DETAIL:  [removed]", text) if "DETAIL:" in text else text


def remove_quotes(_logger: Any, _method: str, event: dict) -> dict:
    """The same for what an event says and for its traceback; whoever has a link to a document sees it, so its token goes too."""
    for name in ("exception", "event"):
        if isinstance(event.get(name), str):
            event[name] = LINK_IN_PATH.sub(r"\1[removed]", without_row(event[name]))
    return event


SHARED_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    structlog.processors.format_exc_info,
    remove_quotes,
    blank_secrets,
]


def _to_json(event: dict, *, default: Callable[[Any], Any]) -> str:
    try:
        return orjson.dumps(event, default=default).decode()
    except TypeError:  # half a surrogate pair, a number of more than 64 bits
        return json.dumps(event, default=default)


def formatter_options(fmt: str) -> dict[str, Any]:
    """What renders a record: `json` or `text`."""
    renderer = structlog.processors.JSONRenderer(_to_json) if fmt == "json" else structlog.dev.ConsoleRenderer(colors=False)
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": SHARED_PROCESSORS,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    }


def logging_config(*, level: str, fmt: str) -> dict:
    """Django's LOGGING: `fmt` is `json` or `text`."""
    logging.logThreads = logging.logMultiprocessing = False  # no line shows names of threads and processes: they are not looked up
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *SHARED_PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": formatter_options(fmt),
        },
        "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "structured"}},
        "root": {"handlers": ["stdout"], "level": level},
        "loggers": {
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            "botocore": {"level": "WARNING"},
            "boto3": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
            "stripe": {"level": "WARNING"},
        },
    }
