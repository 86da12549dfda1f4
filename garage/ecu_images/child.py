"""The child process in which a stranger's file is read: no Django, hard limits on CPU and memory, killable.

The parent writes nothing but arguments and reads one line of JSON. Whatever goes wrong in the child (killed by a limit,
out of memory, no answer in time) becomes a finding of its own, so that callers see one kind of result only.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from garage.ecu_images import limits
from garage.ecu_images.report import ERROR, UNKNOWN_FORMAT, WARNING, Finding, Inspection
from garage.ecu_images.xray import XRay

SOURCE_ROOT = Path(__file__).resolve().parents[2]
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from garage.ecu_images.child import main; main(sys.argv[2:])"
OUT_OF_MEMORY_EXIT = 3
NICENESS = 10  # whoever waits for an answer goes before a file that is looked at


def run_inspection(
    path: str | os.PathLike[str],
    *,
    name: str = "",
    timeout_seconds: float = limits.CHILD_WALL_SECONDS,
    cpu_seconds: int = limits.CHILD_CPU_SECONDS,
    memory_bytes: int = limits.CHILD_MEMORY_BYTES,
) -> Inspection:
    """Inspect the file at `path` in a child process of its own and return its report.

    Never raises for what is in the file. A child that hits its CPU or memory limit is killed, and the report says
    `inspection_limit`. Raises TimeoutError when the machine is too busy to give it its two seconds, OSError when no process
    can be started, and RuntimeError when the child itself is broken: all are our fault, never the file's.
    """
    try:
        answer = _answer_of("inspect", [path, name], timeout_seconds, cpu_seconds, memory_bytes)
    except _LimitReached as reached:
        return _limit_report(path, f"The inspection {reached}.")
    return Inspection.from_dict(answer)


def run_xray(
    base_path: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    timeout_seconds: float = limits.CHILD_WALL_SECONDS,
    cpu_seconds: int = limits.CHILD_CPU_SECONDS,
    memory_bytes: int = limits.CHILD_MEMORY_BYTES,
) -> XRay | Finding:
    """Compare the image at `path` with the one at `base_path`, in a child process of its own with limits of its own.

    A finding says why there is nothing to compare: one of them is no image, their sizes differ, or a limit was hit. It
    is a warning, so that a strange stock image never decides about a good tune. Raises as `run_inspection` does.
    """
    try:
        answer = _answer_of("xray", [base_path, path], timeout_seconds, cpu_seconds, memory_bytes)
    except _LimitReached as reached:
        return Finding("not_compared", WARNING, f"The comparison with the stock image {reached}.")
    return Finding(**answer["finding"]) if "finding" in answer else XRay.from_dict(answer)


class _LimitReached(Exception):
    """The child was stopped; the message says which limit, as the end of a sentence."""


def _answer_of(
    what: str, arguments: list[str | os.PathLike[str]], timeout_seconds: float, cpu_seconds: int, memory_bytes: int
) -> dict[str, Any]:
    command = [sys.executable, "-I", "-B", "-c", BOOT, str(SOURCE_ROOT), str(cpu_seconds), str(memory_bytes), what]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    child = subprocess.Popen(
        command + [os.fspath(argument) for argument in arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    try:
        answer, complaint = child.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired as late:
        child.kill()
        child.communicate()
        raise TimeoutError(f"the inspection gave no answer in {timeout_seconds:g} seconds") from late
    except BaseException:
        child.kill()
        child.wait()
        raise
    if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _LimitReached(f"needed more than {cpu_seconds} seconds of computing time")
    if child.returncode == OUT_OF_MEMORY_EXIT:
        raise _LimitReached(f"needed more than {memory_bytes // limits.MEBIBYTE} MiB of memory")
    if child.returncode != 0:
        raise RuntimeError(f"the inspection process ended with {child.returncode}: {complaint.decode(errors='replace')[-400:]}")
    return json.loads(answer)


def _limit_report(path: str | os.PathLike[str], message: str) -> Inspection:
    return Inspection(
        format=UNKNOWN_FORMAT,
        size_bytes=os.stat(path).st_size,
        sha256="",
        findings=(Finding("inspection_limit", ERROR, message),),
    )


def main(arguments: list[str]) -> None:
    """The child's side: `cpu_seconds memory_bytes inspect path name`, or `… xray base_path path`."""
    cpu_seconds, memory_bytes, what, *subjects = arguments
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds), int(cpu_seconds) + 1))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer = _inspect(*subjects) if what == "inspect" else _xray(*subjects)
    except MemoryError:
        os._exit(OUT_OF_MEMORY_EXIT)
    sys.stdout.write(json.dumps(answer))


def _inspect(path: str, name: str) -> dict[str, Any]:
    from garage.ecu_images.inspection import inspect_bytes

    return inspect_bytes(_read(path), name=name).to_dict()


def _xray(base_path: str, path: str) -> dict[str, Any]:
    from garage.ecu_images.inspection import xray_bytes

    seen = xray_bytes(_read(base_path), _read(path))
    return {"finding": asdict(seen)} if isinstance(seen, Finding) else seen.to_dict()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(limits.MAX_FILE_BYTES + 1)
