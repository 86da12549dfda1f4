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
from pathlib import Path

from garage.ecu_images import limits
from garage.ecu_images.report import ERROR, UNKNOWN_FORMAT, Finding, Inspection

SOURCE_ROOT = Path(__file__).resolve().parents[2]
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from garage.ecu_images.child import main; main(sys.argv[2:])"
OUT_OF_MEMORY_EXIT = 3


def run_inspection(
    path: str | os.PathLike[str],
    *,
    name: str = "",
    timeout_seconds: float = limits.CHILD_WALL_SECONDS,
    cpu_seconds: int = limits.CHILD_CPU_SECONDS,
    memory_bytes: int = limits.CHILD_MEMORY_BYTES,
) -> Inspection:
    """Inspect the file at `path` in a child process of its own and return its report.

    Never raises for what is in the file. A child that hits its CPU, memory or wall-clock limit is killed, and the report
    says `inspection_limit`. Raises OSError when no process can be started, and RuntimeError when the child itself is
    broken: both are our fault, never the file's.
    """
    command = [sys.executable, "-I", "-B", "-c", BOOT, str(SOURCE_ROOT), os.fspath(path), name, str(cpu_seconds), str(memory_bytes)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    try:
        answer, complaint = child.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return _limit_report(path, f"The inspection took longer than {timeout_seconds:g} seconds.")
    except BaseException:
        child.kill()
        child.wait()
        raise
    if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return _limit_report(path, f"The inspection needed more than {cpu_seconds} seconds of computing time.")
    if child.returncode == OUT_OF_MEMORY_EXIT:
        return _limit_report(path, f"The inspection needed more than {memory_bytes // limits.MEBIBYTE} MiB of memory.")
    if child.returncode != 0:
        raise RuntimeError(f"the inspection process ended with {child.returncode}: {complaint.decode(errors='replace')[-400:]}")
    return Inspection.from_dict(json.loads(answer))


def _limit_report(path: str | os.PathLike[str], message: str) -> Inspection:
    return Inspection(
        format=UNKNOWN_FORMAT,
        size_bytes=os.stat(path).st_size,
        sha256="",
        findings=(Finding("inspection_limit", ERROR, message),),
    )


def main(arguments: list[str]) -> None:
    """The child's side: `path name cpu_seconds memory_bytes`."""
    path, name, cpu_seconds, memory_bytes = arguments
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds), int(cpu_seconds) + 1))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        from garage.ecu_images.inspection import inspect_bytes

        with open(path, "rb") as file:
            data = file.read(limits.MAX_FILE_BYTES + 1)
        report = inspect_bytes(data, name=name)
    except MemoryError:
        os._exit(OUT_OF_MEMORY_EXIT)
    sys.stdout.write(json.dumps(report.to_dict()))
