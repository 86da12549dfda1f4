#!/usr/bin/env python
"""The virtual bench: a simulated ECU over TCP, a reference app on our public API, and everything that can go wrong between them.

    python tools/virtual_bench.py                 # all of it, 64 blocks, on a system of its own with the demo data
    python tools/virtual_bench.py --short         # 8 blocks, for CI
    python tools/virtual_bench.py --base-url http://127.0.0.1:8000 --data-dir .data
    python tools/virtual_bench.py ecu --image stock.bin --fault WRITE:power-half:5
    python tools/virtual_bench.py app --base-url … --data-dir … --phone DIRECTORY --ecu 127.0.0.1:PORT

Exit status 1 when a vehicle did not end as it must. docs/virtual-bench.md explains it. On a system that is not its own it
leaves riders, purchases and reports behind, and one tune recalled.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT)]

from vbench import people
from vbench.api import Api, Offline
from vbench.app import App
from vbench.ecu import FAULTS, Fault, VirtualEcu, stated
from vbench.flasher import NotDone, Refused
from vbench.phone import Phone
from vbench.scenarios import Bench
from vbench.wire import Command, LineLost

MEMORY = Path("/dev/shm")  # the phones of a bench are thrown away: their disk may be memory


def bench(base_url: str, data: Path, options: argparse.Namespace) -> int:
    """Run everything and print how it ended."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="revsync-bench-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        blocks = options.blocks or (8 if options.short else 64)
        bench = Bench(base_url, data, Path(name), blocks=blocks, is_short=options.short)
        bench.run()
    outcomes = bench.outcomes
    text = f"{outcomes.cases()}\n\n{outcomes.matrix()}\n\n{outcomes.total()}, in {time.monotonic() - began:.0f} s."
    print(f"\n{text}")
    if options.write:
        options.write.write_text(text + "\n", encoding="utf-8")
    return 1 if outcomes.wrong else 0


def play_ecu(options: argparse.Namespace) -> int:
    """An ECU to connect to, until it is interrupted."""
    image = options.image.read_bytes()
    faults = [Fault(kind, Command[command], int(block) if block else None) for command, kind, block in options.fault]
    hardware_number = options.hardware_number or stated(image, "HWNO")
    if hardware_number is None:
        print("the image states no hardware number: give one", file=sys.stderr)
        return 2
    with VirtualEcu(bytearray(image), hardware_number, options.serial, options.vin, faults=faults, port=options.port) as ecu:
        print(f"{ecu.address[0]}:{ecu.address[1]} {json.dumps(ecu.facts())}", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print(f"{ecu.counters} {json.dumps(ecu.facts())}")
    return 0


def play_app(options: argparse.Namespace) -> int:
    """The app as a process of its own; prints how it ended."""

    def die(point: str) -> None:
        if point == options.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    phone = Phone(options.phone)
    if phone["root"] is None:
        phone.keep(root=Api(options.base_url, phone).call("GET", "trust/root/1/"))  # a real app ships with it
    host, port = options.ecu.split(":")
    rider = json.loads((options.phone / "rider.json").read_text())
    app = App(
        phone,
        (host, int(port)),
        api=Api(options.base_url, phone),
        read_code=lambda address: people.read_code(options.data_dir / "mail", address),
        pay=people.pay,
        on_point=die,
    )
    try:
        print(app.run(rider))
    except (Refused, NotDone, Offline, LineLost) as problem:
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr)
        return 1
    return 0


def fault(text: str) -> tuple[str, str, str]:
    """COMMAND:kind or COMMAND:kind:block."""
    command, kind, block = (*text.split(":"), "")[:3]
    if command not in Command.__members__ or kind not in FAULTS or not (block == "" or block.isdigit()):
        raise argparse.ArgumentTypeError(f"COMMAND:kind:block, of {', '.join(Command.__members__)} and {', '.join(FAULTS)}")
    return command, kind, block


def main() -> int:
    parser = argparse.ArgumentParser(description="A simulated ECU, a reference app, and everything that can go wrong between them.")
    parser.add_argument("--base-url", help="of a running system with the demo data; without it one is started")
    parser.add_argument("--data-dir", type=Path, default=Path(".data"), help="of that system")
    parser.add_argument("--short", action="store_true", help="8 blocks, and fewer of what takes long")
    parser.add_argument("--blocks", type=int, choices=(4, 8, 16, 32, 64), help="of an image; without it 8 or 64")
    parser.add_argument("--write", type=Path, help="write the tables there as well")
    parts = parser.add_subparsers(dest="part")
    ecu = parts.add_parser("ecu", help="only the ECU")
    ecu.add_argument("--image", type=Path, required=True)
    ecu.add_argument("--port", type=int, default=0)
    ecu.add_argument("--hardware-number", help="what the bootloader has; else what the image states")
    ecu.add_argument("--serial", default="VIRTUAL0001")
    ecu.add_argument("--vin")
    ecu.add_argument("--fault", type=fault, action="append", default=[], help="COMMAND:kind:block, for example WRITE:power-half:5")
    app = parts.add_parser("app", help="only the app; the phone's directory holds rider.json (email, password, vehicle)")
    app.add_argument("--base-url", required=True)
    app.add_argument("--data-dir", type=Path, required=True)
    app.add_argument("--phone", type=Path, required=True)
    app.add_argument("--ecu", required=True, help="host:port")
    app.add_argument("--die-at", default="")
    options = parser.parse_args()
    if options.part:
        return {"ecu": play_ecu, "app": play_app}[options.part](options)
    if options.base_url:
        return bench(options.base_url, options.data_dir, options)
    from core.testing import system

    with tempfile.TemporaryDirectory(prefix="revsync-bench-system-") as name:
        directory = Path(name)
        directory.chmod(0o711)  # PostgreSQL's unprivileged user passes through
        with system.running(directory) as running:
            print(f"the system is ready in {running.ready_seconds:.0f} s", flush=True)
            return bench(running.base_url, running.data, options)


if __name__ == "__main__":
    sys.exit(main())
