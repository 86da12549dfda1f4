"""What an inspection costs: time, CPU and memory of the child process, for good files and for hostile ones.

    python tools/measure_inspections.py

prints the table of docs/trust.md. Every row is a process of its own with the real limits (2 s of CPU, 160 MiB of addresses);
memory is what the process itself says at its end.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from garage.ecu_images import generator, limits
from garage.ecu_images.child import BOOT
from garage.tests.test_ecu_images import HOSTILE

TELL = "; sys.stderr.write('\\n'.join(line for line in open('/proc/self/status') if line.startswith(('VmHWM', 'VmPeak'))))"
MIB = 1024 * 1024
REPEATS = 3


def stock(size: int) -> bytes:
    """A made-up original image."""
    return generator.make_stock(seed=1, hardware_number="HW-1234", calibration_id="CAL-1234", size=size)


def tuned(size: int) -> bytes:
    """A tune of it."""
    return generator.make_tuned(stock(size), seed=2, calibration_id="CAL-1234-T")


GOOD: dict[str, Callable[[], tuple[bytes, ...]]] = {
    "1 MiB image": lambda: (tuned(MIB),),
    "1 MiB image as Intel HEX": lambda: (generator.to_intel_hex(tuned(MIB), record_bytes=16),),
    "4 MiB image": lambda: (tuned(4 * MIB),),
    "4 MiB image as Intel HEX": lambda: (generator.to_intel_hex(tuned(4 * MIB), record_bytes=16),),
    "4 MiB image as S-record": lambda: (generator.to_srecord(tuned(4 * MIB), record_bytes=16),),
    "X-ray of 1 MiB images": lambda: (stock(MIB), tuned(MIB)),
    "X-ray of 4 MiB images": lambda: (stock(4 * MIB), tuned(4 * MIB)),
    "X-ray of 4 MiB as Intel HEX, both": lambda: tuple(generator.to_intel_hex(make(4 * MIB), record_bytes=16) for make in (stock, tuned)),
}


def measure(paths: list[Path]) -> tuple[float, float, float, float, int]:
    """Wall and CPU seconds, resident and address space in MiB, and the exit code of one child."""
    what = ["inspect", str(paths[0]), "file.bin"] if len(paths) == 1 else ["xray", *map(str, paths)]
    bounds = [str(limits.CHILD_CPU_SECONDS), str(limits.CHILD_MEMORY_BYTES)]
    started = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", BOOT + TELL, str(ROOT), *bounds, *what], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert child.stderr is not None
    said = child.stderr.read().decode()
    _, ended, used = os.wait4(child.pid, 0)
    wall = time.monotonic() - started
    told = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in said.splitlines() if line.startswith("Vm")}
    return wall, used.ru_utime + used.ru_stime, told.get("VmHWM", 0), told.get("VmPeak", 0), os.waitstatus_to_exitcode(ended)


def main() -> None:
    """Print the table."""
    cases = GOOD | {name: (lambda make=make: (make(),)) for name, make in HOSTILE.items()}
    print("| file | bytes | wall, ms | CPU, ms | memory, MiB | addresses, MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as directory:
        for name, make in cases.items():
            paths = []
            for number, data in enumerate(make()):
                paths.append(Path(directory) / str(number))
                paths[-1].write_bytes(data)
            best = min(measure(paths) for _ in range(REPEATS))
            sizes = sum(path.stat().st_size for path in paths)
            outcome = "" if best[4] == 0 else f" (stopped: {best[4]})"
            print(f"| {name}{outcome} | {sizes:,} | {best[0] * 1000:.0f} | {best[1] * 1000:.0f} | {best[2]:.0f} | {best[3]:.0f} |")


if __name__ == "__main__":
    main()
