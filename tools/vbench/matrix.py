"""Every fault at every block, offline: the app has its ticket and its file, and everything else goes wrong."""

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vbench.ecu import Fault, VirtualEcu
from vbench.flasher import Flasher, NotDone
from vbench.phone import Phone
from vbench.report import RESTORED, TUNED, UNTOUCHED, Outcomes, Run
from vbench.wire import Command, LineLost

HANG_PATIENCE_SECONDS = 0.1
FOR_EVER = 1_000_000
MOST_STARTS = 60
RANDOM = "2 to 6 random"
WAYS = ("carries on", "goes back", "another phone")
IN_A_WRITE = (
    "power-before",
    "power-half",
    "power-after",
    "cut-before",
    "cut-after",
    "hang-before",
    "hang-after",
    "damaged-question",
    "damaged-answer",
    "bad-cell",
)
IN_AN_ERASE = ("power-before", "power-half", "power-after")
IN_A_READ = ("power-before", "cut-before", "cut-after", "hang-before", "damaged-question", "damaged-answer")
AROUND = (  # commands without a block, and how often each goes well before: VERIFY and IDENTIFY come before and after a write
    (Command.ERASE, 0, ("cut-before", "cut-after", "hang-after", "damaged-question", "damaged-answer")),
    (Command.VERIFY, 0, ("power-before", "cut-after", "hang-before", "damaged-question", "damaged-answer", "mismatch")),
    (Command.VERIFY, 1, ("power-before", "cut-after", "hang-before", "damaged-question", "damaged-answer", "mismatch")),
    (Command.RESET, 0, ("power-before", "power-after", "cut-before", "cut-after", "hang-after", "damaged-answer")),
    (Command.IDENTIFY, 0, ("power-before", "cut-before", "hang-before", "damaged-question", "damaged-answer")),
    (Command.IDENTIFY, 3, ("power-before", "cut-before", "hang-before", "damaged-question", "damaged-answer")),
)


class Killed(BaseException):
    """The app's process is gone: nothing of it runs any more, what it kept is on the phone."""


@dataclass(frozen=True)
class World:
    """A phone that has bought, saved and downloaded everything, a second one from a rescue link, and what is true."""

    phone: Path
    rescue_phone: Path
    work: Path
    stock: bytes
    tune: bytes
    hardware_number: str
    serial: str
    vin: str | None
    block_bytes: int

    @property
    def blocks(self) -> int:
        return len(self.stock) // self.block_bytes

    def ecu(self, image: bytes | None = None, **switches: Any) -> VirtualEcu:
        """The vehicle's ECU with its stock image, or with another one in it."""
        facts = {"hardware_number": self.hardware_number, "serial": self.serial, "vin": self.vin, "block_bytes": self.block_bytes}
        return VirtualEcu(bytearray(image or self.stock), **{**facts, **switches})

    def copy(self, source: Path | None = None) -> Phone:
        """A phone as it was after the purchase."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(source or self.phone, self.work)
        return Phone(self.work)

    def judge(self, ecu: VirtualEcu, outcome: str, *, before: bytes | None = None) -> str:
        """What is not as `outcome` says, by what is really in the ECU; empty if all is well."""
        allowed = {self.tune, self.stock}
        for block, digest in ecu.programmed:
            part = slice(block * self.block_bytes, (block + 1) * self.block_bytes)
            if digest not in {hashlib.sha256(image[part]).digest() for image in allowed}:
                return f"something else was written to block {block}"
        expected = {TUNED: self.tune, RESTORED: self.stock, UNTOUCHED: before or self.stock}[outcome]
        if ecu.flash != expected:
            return "the flash memory holds something else"
        if outcome == UNTOUCHED and (ecu.counters.erases or ecu.counters.writes):
            return f"it was erased {ecu.counters.erases} and written {ecu.counters.writes} times"
        if outcome != UNTOUCHED and ecu.mode != "application":
            return "the ECU does not run"
        return ""


class Matrix:
    """Runs every fault and notes how the vehicle ended. `reports` are what the apps would tell us of it, for later."""

    def __init__(self, world: World, outcomes: Outcomes, *, app: type[Flasher] = Flasher) -> None:
        self.world, self.outcomes, self.app = world, outcomes, app
        self.reports: list[dict[str, Any]] = []

    def run(self) -> None:
        """All of it."""
        for what, fault, block in self._faults():
            for way in WAYS:
                self._write(what, fault, block, way)
            self._restore(what, fault, block)
        for block in range(self.world.blocks):
            for way in WAYS:
                self._killed(block, way)
            self._killed_in_restore(block)
        for kind in IN_A_READ:
            for block in range(self.world.blocks):
                self._read(f"READ {kind}", Fault(kind, Command.READ, block), block)
        for kind in ("power-half", "cut-before", "bad-cell"):
            for block in range(self.world.blocks):
                self._stuck(kind, block)
        self._never_begun("VERIFY cut-before, again and again", Fault("cut-before", Command.VERIFY, times=FOR_EVER))
        self._never_begun("ERASE wrong-size", Fault("wrong-size", Command.ERASE, times=FOR_EVER))

    def run_writes(self, *kinds: str) -> None:
        """Some faults of writing only, at every block."""
        for kind in kinds:
            for block in range(self.world.blocks):
                self._write(f"WRITE {kind}", Fault(kind, Command.WRITE, block), block, WAYS[0])

    def run_at_random(self, seeds: Iterator[int] | range) -> None:
        """Several faults in one run, and the app killed in between, again and again until the vehicle rests."""
        for seed in seeds:
            self._at_random(seed)

    def _faults(self) -> Iterator[tuple[str, Fault, int | None]]:
        for command, kinds in ((Command.ERASE, IN_AN_ERASE), (Command.WRITE, IN_A_WRITE)):
            for kind in kinds:
                for block in range(self.world.blocks):
                    yield f"{command.name} {kind}", Fault(kind, command, block), block
        for command, skip, kinds in AROUND:
            for kind in kinds:
                yield f"{command.name} {kind}{', after the write' if skip else ''}", Fault(kind, command, skip=skip), None

    def _app(self, phone: Phone, ecu: VirtualEcu, *, way: str = WAYS[0], on_point: Callable[[str], None] = lambda point: None) -> Flasher:
        hangs = any(fault.kind.startswith("hang") for fault in ecu.faults)
        return self.app(
            phone,
            ecu.address,
            carries_on=way != "goes back",
            patience_seconds=HANG_PATIENCE_SECONDS if hangs else 10.0,
            on_point=on_point,
        )

    def _write(self, what: str, fault: Fault, block: int | None, way: str) -> None:
        """One fault while the tune is written."""

        def lose_the_phone(point: str) -> None:
            if way == "another phone" and point == "attempt-1":
                raise Killed

        world = self.world
        with world.ecu(faults=[replace(fault)]) as ecu:
            phone = world.copy()
            try:
                said = self._app(phone, ecu, way=way, on_point=lose_the_phone).flash()
            except Killed:
                said = ""
            if way == "another phone":
                said = self._rescue(ecu)
            expected = (RESTORED,) if way == "another phone" else (TUNED,) if way == "carries on" else (TUNED, RESTORED)
            self._note(way, what, block, ecu, said, expected=expected)
            self.reports += phone["reports"] or []

    def _restore(self, what: str, fault: Fault, block: int | None) -> None:
        """The same while the stock image is put back."""
        world = self.world
        with world.ecu(world.tune, faults=[replace(fault)]) as ecu:
            said = self._app(world.copy(), ecu).restore()
            self._note("restore", what, block, ecu, said, expected=(RESTORED,))

    def _killed(self, block: int, way: str) -> None:
        """The app dies while it writes this block, and is started again, or is never seen again."""
        world = self.world
        with world.ecu() as ecu:
            phone = world.copy()
            _die_at(f"write-tune-{block}", lambda on_point: self._app(phone, ecu, on_point=on_point).flash())
            phone = Phone(phone.directory)  # from its disk
            said = self._rescue(ecu) if way == "another phone" else self._app(phone, ecu, way=way).settle()
            expected = TUNED if way == "carries on" else RESTORED
            self._note(way, "the app is killed", block, ecu, said, expected=(expected,))
            self.reports += phone["reports"] or []

    def _killed_in_restore(self, block: int) -> None:
        world = self.world
        with world.ecu(world.tune) as ecu:
            phone = world.copy()
            _die_at(f"write-stock-{block}", lambda on_point: self._app(phone, ecu, on_point=on_point).restore())
            said = self._app(Phone(phone.directory), ecu).settle()
            self._note("restore", "the app is killed", block, ecu, said, expected=(RESTORED,))

    def _read(self, what: str, fault: Fault, block: int) -> None:
        """One fault while the stock image is read: what is kept is the image, and the ECU is as it was."""
        with self.world.ecu(faults=[fault]) as ecu:
            image = self._app(self.world.copy(), ecu).read_image()
            wrong = self.world.judge(ecu, UNTOUCHED) or ("" if image == self.world.stock else "something else was kept as stock image")
            self.outcomes.add(Run(what, "read", UNTOUCHED, block, wrong))

    def _stuck(self, kind: str, block: int) -> None:
        """A fault that stays: the app gives up and says so, and once it is repaired the stock image goes back."""
        world = self.world
        with world.ecu(faults=[Fault(kind, Command.WRITE, block, times=FOR_EVER)]) as ecu:
            phone, said = world.copy(), "no trouble"
            try:
                self._app(phone, ecu).flash()
            except NotDone:
                ecu.faults.clear()
                said = self._app(Phone(phone.directory), ecu).settle()
            self._note("carries on", f"WRITE {kind}, again and again", block, ecu, said, expected=(RESTORED,))
            self.reports += Phone(phone.directory)["reports"] or []

    def _never_begun(self, what: str, fault: Fault) -> None:
        """What keeps the app from erasing leaves the ECU as it is."""
        with self.world.ecu(faults=[fault]) as ecu:
            phone = self.world.copy()
            said = self._app(phone, ecu).flash()
            self._note("carries on", what, None, ecu, said, expected=(UNTOUCHED,))
            self.reports += phone["reports"] or []

    def _at_random(self, seed: int) -> None:
        chance = random.Random(seed)
        world = self.world
        kinds = [(Command.WRITE, kind) for kind in IN_A_WRITE if not kind.startswith("hang")]
        kinds += [(Command.ERASE, kind) for kind in IN_AN_ERASE]
        kinds += [(command, kind) for command, _, around in AROUND for kind in around if not kind.startswith("hang")]
        faults = []
        for command, kind in chance.choices(kinds, k=chance.randint(2, 6)):
            is_of_a_block = command == Command.WRITE or (command == Command.ERASE and kind in IN_AN_ERASE)
            block = chance.randrange(world.blocks) if is_of_a_block else None
            faults.append(Fault(kind, command, block, times=chance.randint(1, 3), skip=chance.randint(0, 2)))

        def die(point: str) -> None:
            if chance.random() < 0.04:
                raise Killed

        with world.ecu(faults=faults) as ecu:
            phone, said = world.copy(), ""
            for _ in range(MOST_STARTS):
                app = self._app(phone, ecu, way=chance.choice(WAYS[:2]), on_point=die)
                try:
                    said = app.settle() if phone["write"] else phone["ended"] or app.flash()
                    break
                except (Killed, LineLost, NotDone):
                    phone = Phone(phone.directory)
            self._note("carries on", f"{RANDOM} faults and kills", None, ecu, said, expected=(TUNED, RESTORED, UNTOUCHED))
            self.reports += phone["reports"] or []

    def _rescue(self, ecu: VirtualEcu) -> str:
        """Somebody else's phone, with what a rescue link gives."""
        copy = self.world.work.with_name("rescue")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.world.rescue_phone, copy)
        ecu.faults.clear()
        return self._app(Phone(copy), ecu).restore()

    def _note(self, way: str, what: str, block: int | None, ecu: VirtualEcu, said: str, *, expected: tuple[str, ...]) -> None:
        outcome = {"SUCCEEDED": TUNED, "RESTORED": RESTORED, "FAILED_BEFORE_WRITE": UNTOUCHED}.get(said, said)
        wrong = self.world.judge(ecu, outcome) if outcome in expected else f"expected was {' or '.join(expected)}"
        self.outcomes.add(Run(what, way, outcome, block, wrong))


def _die_at(point: str, work: Callable[[Callable[[str], None]], object]) -> None:
    def die(passed: str) -> None:
        if passed == point:
            raise Killed

    try:
        work(die)
    except Killed:
        return
    raise AssertionError(f"{point} was never passed")

