"""A rider with phone and vehicle, as the bench needs many of them."""

import secrets
import shutil
from typing import TYPE_CHECKING, Any

from vbench import people
from vbench.app import App
from vbench.ecu import VirtualEcu
from vbench.flasher import Flasher
from vbench.matrix import World
from vbench.phone import Phone
from vbench.report import TUNED

if TYPE_CHECKING:
    from vbench.scenarios import Bench

IMAGE_BYTES = 256 * 1024


class Owner:
    """A rider, the phone, and the vehicle with its ECU."""

    def __init__(self, bench: "Bench", name: str, *, has_vin: bool, facts: dict[str, Any] | None = None) -> None:
        self.bench, self.name = bench, name
        self.facts = facts or bench.facts
        self.stock = (bench.data / "demo" / "stock" / self.facts["file"]).read_bytes()
        self.phone = bench.new_phone(name)
        self.rider = people.new_rider(self.facts)
        if facts is None:
            self.rider["tune"] = bench.tune
        self.serial = "S" + secrets.token_hex(6).upper()
        self.vin = people.new_vin("JYA", self.facts["year"]) if has_vin else None

    def ecu(self, **switches: Any) -> VirtualEcu:
        facts = {"hardware_number": self.facts["hardware_number"], "serial": self.serial, "vin": self.vin}
        block_bytes = len(self.stock) // (IMAGE_BYTES // self.bench.block_bytes)
        return VirtualEcu(bytearray(self.stock), **{**facts, "block_bytes": block_bytes, **switches})

    def app(self, ecu: VirtualEcu | None, **more: Any) -> App:
        return self.bench.app(self.phone, ecu, **more)

    def prepare(self, ecu: VirtualEcu | None = None, *, with_file: bool = True) -> None:
        """Up to the moment before the first byte is written."""
        if ecu is None:
            with self.ecu() as own:
                return self.prepare(own, with_file=with_file)
        app = self.app(ecu)
        app.sign_in(self.rider)
        app.add_vehicle(self.rider)
        app.buy(self.rider)
        app.save_stock(self.rider)
        app.get_ticket()
        if with_file:
            app.download()
        return None

    def world(self) -> World:
        """What is true of this vehicle, with a copy of the phone as it is now."""
        base = self.bench.directory / f"{self.name}-base"
        if not base.exists():
            shutil.copytree(self.phone.directory, base)
        with self.ecu() as ecu:
            image = Flasher(Phone(base), ecu.address).judge_flash(Flasher(Phone(base), ecu.address).identify()).image
            assert image is not None
            block_bytes = ecu.block_bytes
        return World(
            phone=base,
            rescue_phone=self.bench.directory / "rescue-base",
            work=self.bench.directory / "work",
            stock=self.stock,
            tune=image,
            hardware_number=self.facts["hardware_number"],
            serial=self.serial,
            vin=self.vin,
            block_bytes=block_bytes,
        )

    def judge_untouched(self, ecu: VirtualEcu) -> str:
        is_touched = ecu.counters.erases or ecu.counters.writes or ecu.flash != self.stock
        return "it was erased or written" if is_touched else ""

    def judge_whole(self, ecu: VirtualEcu, said: str) -> str:
        """A journey with troubles is as good as one without: nothing is there twice."""
        if said != "SUCCEEDED" or self.phone["reports"]:
            return f"it ended as {said}, with {len(self.phone['reports'] or [])} reports not sent"
        api = self.app(None).api
        counts = {
            "vehicles": len(api.call("GET", "garage/vehicles/")["results"]),
            "purchases": len(api.call("GET", "marketplace/purchases/")["results"]),
            "stock files": len(api.call("GET", f"garage/vehicles/{self.phone['vehicle']}/stock-files/")["results"]),
            "reports": len(api.call("GET", "marketplace/flashes/")["results"]),
        }
        if set(counts.values()) != {1}:
            return f"something is there twice, or not at all: {counts}"
        return self.world().judge(ecu, TUNED)
