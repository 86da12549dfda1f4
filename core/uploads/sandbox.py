"""A parser in a child process: without Django, without our environment, bounded in memory, time and file size."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger("core.uploads")

PARSERS = Path(__file__).parent / "parsers"
WALL_SECONDS = 30
SETUP_FAILED = 70  # the parser could not even begin: our fault, not the file's


@dataclass(frozen=True)
class Answer:
    """The parser's JSON, or why the file could not be read."""

    result: dict[str, Any]
    failure: str = ""


def run(parser: str, *arguments: str, wall_seconds: float = WALL_SECONDS) -> Answer:
    """Run `parsers/<parser>.py` on the arguments. A file that makes it crash or run over its limits is unreadable.

    Raises: RuntimeError when the parser could not start.
    """
    command = [sys.executable, "-I", "-B", str(PARSERS / f"{parser}.py"), *arguments]
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=wall_seconds, env={"LC_ALL": "C.UTF-8"}, check=False
        )
    except subprocess.TimeoutExpired:
        log.warning("parser_timed_out", parser=parser)
        return Answer({}, "Reading this file takes too long.")
    if child.returncode == SETUP_FAILED:
        raise RuntimeError(f"The parser {parser} can't start: {child.stderr.decode(errors='replace')[-2000:]}")
    if child.returncode != 0:
        ended_by = signal.Signals(-child.returncode).name if child.returncode < 0 else f"exit {child.returncode}"
        log.warning("parser_failed", parser=parser, ended_by=ended_by, stderr=child.stderr.decode(errors="replace")[-500:])
        return Answer({}, "This file can't be read: it is damaged, or larger inside than it looks.")
    return Answer(json.loads(child.stdout))
