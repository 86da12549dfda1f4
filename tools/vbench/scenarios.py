"""The bench: a whole journey, everything that must be refused, every fault at every block, and a bad network."""

import json
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import requests

from vbench import people
from vbench.api import Api, ApiRefused, Offline
from vbench.app import App
from vbench.careless import Careless, Credulous
from vbench.ecu import Fault, VirtualEcu
from vbench.flasher import Flasher, Refused
from vbench.matrix import FOR_EVER, Killed, Matrix, World
from vbench.network import Network, Trouble
from vbench.owners import IMAGE_BYTES, Owner
from vbench.phone import Phone
from vbench.refusals import Case, Refusals, body_of, half_erased
from vbench.report import NOTICED, RESTORED, TUNED, UNTOUCHED, Outcomes, Run
from vbench.wire import Command

PAUSE_SECONDS = 0.05
REPORTS, REPORTS_IN_SHORT = 400, 40
STATUS_SECONDS = 60
RANDOM_RUNS = 500
ENTRY = Path(__file__).resolve().parent.parent / "virtual_bench.py"
POINTS = (
    "registered",
    "signed-in",
    "vehicle-added",
    "readout-sent",
    "purchase-begun",
    "paid",
    "stock-read",
    "stock-uploaded",
    "stock-saved",
    "granted",
    "downloaded",
    "before-erase",
    "write-tune-3",
    "before-report",
    "reported",
)


class Bench:
    """Against a running development system with its demo data. `directory` holds the phones."""

    def __init__(self, base_url: str, data: Path, directory: Path, *, blocks: int, is_short: bool) -> None:
        self.base_url, self.data, self.directory, self.is_short = base_url.rstrip("/"), data, directory, is_short
        self.outcomes = Outcomes()
        self.root = self._get("trust/root/1/")
        self.facts, self.tune = self._choose()
        self.stock = (data / "demo" / "stock" / self.facts["file"]).read_bytes()
        self.block_bytes = len(self.stock) // blocks
        self.staff = people.Staff(base_url, data)
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", flush=True)

    def run(self) -> None:
        """Everything, in an order in which nothing is in the way of what follows: the recall comes late."""
        self.say(f"{self.facts['make']} {self.facts['model']} {self.facts['year']}, “{self.tune['title']}”, blocks of {self.block_bytes}")
        first, second = Owner(self, "first", has_vin=True), Owner(self, "second", has_vin=False)
        for owner in (first, second):
            owner.prepare()
        self._make_new_status()
        for owner in (first, second):
            owner.app(None).refresh_trust()
        world, other_world = first.world(), second.world()
        self._journey(first)
        self._rescue(first, world)
        self.say(f"one whole journey: {self.outcomes.total()}")
        Refusals(world, Phone(other_world.phone), self.outcomes).run()
        self._refusals_by_serial(other_world)
        self._refusals_by_us()
        self.say(f"refusals: {self.outcomes.total()}")
        self._bad_network(second, other_world)
        self._no_way_back()
        self._whole_ways()
        self._killed_everywhere()
        self.say(f"bad networks, no way back, an app that is killed: {self.outcomes.total()}")
        self._controls(world, Phone(other_world.phone))
        matrix = Matrix(world, self.outcomes)
        matrix.run()
        matrix.run_at_random(range(RANDOM_RUNS // 10 if self.is_short else RANDOM_RUNS))
        self.say(f"every fault at each of {world.blocks} blocks: {self.outcomes.total()}")
        self._recall(world, first, second)
        self._report_all(first, matrix.reports)
        self.say(f"recalled, and reported: {self.outcomes.total()}")

    def _get(self, path: str, **params: Any) -> Any:
        answer = requests.get(f"{self.base_url}/api/v1/{path}", params=params, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def _choose(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """A demo vehicle with a small image and a paid tune for its stock parts. What an earlier bench had recalled is not on sale."""
        for facts in people.stock_images(self.data):
            if facts["market"] == "EU" and facts["image_size_bytes"] == IMAGE_BYTES:
                page = self._get("marketplace/tunes/", make=facts["make"], model=facts["model"], year=facts["year"], free="false")
                for tune in page["results"]:
                    versions = self._get(f"marketplace/tunes/{tune['id']}/versions/")["results"]
                    if tune["category"] in ("STAGE_1", "ECONOMY", "THROTTLE") and len(versions) == 1:  # recalled, nothing is left of it
                        return facts, tune
        raise LookupError("the demo data has no paid tune of one version for a vehicle with a small image")

    def _make_new_status(self) -> None:
        """A hold and its release of a version that no rider of the bench has; newer than all before by a whole second at least."""
        page = self._get("marketplace/tunes/", kind="CAR")
        version = self._get(f"marketplace/tunes/{page['results'][0]['id']}/versions/")["results"][0]["id"]
        before = body_of(self._get("trust/status/"))["version"]
        time.sleep(1.1)
        self.staff.decide(version, "hold", severity="info", reason="Looked at by the bench.")
        self.staff.decide(version, "release", reason="Nothing was found.")
        self._wait_for_status(lambda status: status["version"] > before)

    def _wait_for_status(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status document that is as asked. Raises TimeoutError: an act stands in it within a minute, that is promised."""
        began = time.monotonic()
        while time.monotonic() - began < STATUS_SECONDS:
            status = self._get("trust/status/")
            if is_it(body_of(status)):
                self.say(f"the status document followed after {time.monotonic() - began:.1f} s")
                return dict(status)
            time.sleep(0.2)
        raise TimeoutError("the status document did not follow")

    def note(self, what: str, chapter: str, outcome: str, wrong: str, *, block: int | None = None) -> None:
        self.outcomes.add(Run(what, chapter, outcome, block, wrong))

    def new_phone(self, name: str) -> Phone:
        """A phone with the app on it: all that the app ships with is the root."""
        directory = self.directory / name
        shutil.rmtree(directory, ignore_errors=True)
        phone = Phone(directory)
        phone.keep(root=self.root)
        return phone

    # One whole journey

    def _journey(self, owner: Owner) -> None:
        chapter, world = "journey", owner.world()
        with owner.ecu() as ecu:
            app = owner.app(ecu)
            said = app.run(owner.rider)
            garage = app.api.call("GET", f"garage/vehicles/{app.phone['vehicle']}/")
            wrong = world.judge(ecu, TUNED) or _unless(said == "SUCCEEDED", said)
            wrong = wrong or _unless(garage["ecu"]["installed"]["tune"] == self.tune["id"], "the garage does not know of the tune")
            self.note("identify, buy, save the stock image, download, verify, write, report", chapter, TUNED, wrong)
            said = app.restore()
            app.send_reports()
            garage = app.api.call("GET", f"garage/vehicles/{app.phone['vehicle']}/")
            wrong = world.judge(ecu, RESTORED) or _unless(said == "RESTORED", said)
            wrong = wrong or _unless(garage["ecu"]["installed"] is None, "the garage still knows of a tune")
            self.note("verify the stock image, write it back, report", chapter, RESTORED, wrong)

    def _rescue(self, owner: Owner, world: World) -> None:
        """A phone of somebody without an account, with nothing but the code: it brings a dead ECU back."""
        api = owner.app(None).api
        api.call("POST", "auth/step-up/", {"password": owner.rider["password"]})
        link = api.call("POST", f"garage/vehicles/{owner.phone['vehicle']}/rescue-links/", key=secrets.token_hex(8))
        phone = self.new_phone("rescue-phone")
        with world.ecu(half_erased(world)) as ecu:
            app = self.app(phone, ecu)
            app.take_rescue(link["token"])
            shutil.copytree(phone.directory, world.rescue_phone)
            said = app.restore()
            wrong = world.judge(ecu, RESTORED) or _unless(said == "RESTORED", said)
            self.note("a dead ECU, a foreign phone and the code of a rescue link", "journey", RESTORED, wrong)

    def app(self, phone: Phone, ecu: VirtualEcu | None, *, network: Network | None = None, **more: Any) -> App:
        api = Api(self.base_url, phone, proxy=network.url if network else None, pause_seconds=PAUSE_SECONDS)
        address = ecu.address if ecu else ("127.0.0.1", 9)
        return App(phone, address, api=api, read_code=lambda email: people.read_code(self.data / "mail", email), pay=people.pay, **more)

    # What must be refused, besides what `refusals` has

    def _refusals_by_serial(self, world: World) -> None:
        """A ticket that is bound to the ECU's serial number, because no VIN is known."""
        refusals = Refusals(world, Phone(world.phone), self.outcomes)
        for case in (
            Case("bound to a serial: another one is reported", "wrong_vehicle", ecu={"serial": "ANOTHER-SERIAL"}),
            Case("bound to a serial: none is reported", "wrong_vehicle", ecu={"serial": None}),
        ):
            refusals.try_one("flash", case)
        refusals.try_one("restore", Case("bound to a serial: another one is reported", "wrong_vehicle", ecu={"serial": "ANOTHER-SERIAL"}))
        with world.ecu(tells_serial_in_recovery=False, faults=[Fault("power-half", Command.WRITE, 2)]) as ecu:
            said = Flasher(world.copy(), ecu.address).flash()
            wrong = world.judge(ecu, RESTORED) or _unless(said == "RESTORED", said)
            self.note("power goes, and the bootloader tells no serial: the tune is not carried on with", "flash refused", RESTORED, wrong)
        with world.ecu(faults=[Fault("power-half", Command.WRITE, 2)]) as ecu:
            phone = world.copy()
            try:
                Flasher(phone, ecu.address, on_point=_die_at("attempt-1")).flash()
            except Killed:
                pass
            with world.ecu(half_erased(world), serial="ANOTHER-SERIAL") as another:
                code = _refusal(Flasher(Phone(phone.directory), another.address).settle)
                wrong = world.judge(another, UNTOUCHED, before=half_erased(world)) or _unless(code == "wrong_vehicle", code)
                self.note("begun at one ECU, connected to another dead one of the same model", "flash refused", UNTOUCHED, wrong)
            said = Flasher(Phone(phone.directory), ecu.address).settle()
            wrong = world.judge(ecu, TUNED) or _unless(said == "SUCCEEDED", said)
            self.note("and connected to the right one again", "flash refused", TUNED, wrong)

        with world.ecu() as ecu:
            phone = world.copy()
            try:
                Flasher(phone, ecu.address, on_point=_die_at("write-tune-3")).flash()
            except Killed:
                pass
            with world.ecu(claimed_calibration_id="DEALER1") as another:
                said = Flasher(Phone(phone.directory), another.address).settle()
                wrong = world.judge(another, UNTOUCHED) or _unless(said == "OVERTAKEN", said)
                self.note("begun, and a dealer wrote something else meanwhile", "flash refused", UNTOUCHED, wrong)

    def _refusals_by_us(self) -> None:
        """What our API refuses before a phone has anything to check."""
        cases: list[tuple[str, str, dict[str, Any]]] = [
            ("the ECU does not let itself be read", "stock_backup_required", {"can_be_read": False}),
            ("the ECU reports another hardware number", "fitment_mismatch", {"claimed_hardware_number": "ZZZ-0000A-00"}),
            ("the ECU reports another image size", "fitment_mismatch", {"claimed_size_bytes": 2 * IMAGE_BYTES}),
            ("a tune as stock image", "stock_file_mismatch", {}),
        ]
        for number, (what, expected, switches) in enumerate(cases):
            owner = Owner(self, f"refused-{number}", has_vin=True)
            if expected == "stock_file_mismatch":  # a modified app hands in what another phone downloaded
                owner.phone.keep_file("stock.bin", Phone(self.directory / "first").file("tune.bin") or b"")
            with owner.ecu(**switches) as ecu:
                code = _refusal(partial(owner.app(ecu).run, owner.rider))
                wrong = owner.judge_untouched(ecu) or _unless(code == expected, code)
                self.note(f"{what}: `{expected}`", "refused by us", UNTOUCHED, wrong)

    def _controls(self, world: World, other: Phone) -> None:
        """The bench must notice an app that is not as it should be: one that checks nothing, one that never looks back."""
        for app, part, what in (
            (Credulous, Refusals(world, other, Outcomes(is_quiet=True)), "control: an app that checks nothing"),
            (Careless, Matrix(world, Outcomes(is_quiet=True), app=Careless), "control: an app that writes once and believes in it"),
        ):
            if isinstance(part, Refusals):
                part.run(app)
                must_be_wrong = [run for run in part.outcomes.runs if run.way.endswith("refused") and "LineLost" not in run.what]
            else:
                part.run_writes("power-half", "cut-before", "bad-cell")
                must_be_wrong = part.outcomes.runs
            unnoticed = [run.what for run in must_be_wrong if not run.wrong]
            self.note(f"{what}: noticed {len(must_be_wrong) - len(unnoticed)} times", "control", NOTICED, "; ".join(unnoticed))

    # Bad networks

    def _bad_network(self, owner: Owner, world: World) -> None:
        chapter = "bad network"
        file, status = len(world.tune), owner.phone["status"]
        cases = (
            ("a bit of the file flips on the way: `tampered`", "tampered", Trouble("flip", "X-Amz", "GET", at=file // 3)),
            ("the file ends early: `Offline`", "Offline", Trouble("shorten", "X-Amz", "GET", at=1000, times=FOR_EVER)),
            ("the file does not end: `tampered`", "tampered", Trouble("lengthen", "X-Amz", "GET", at=4 * 1024 * 1024)),
        )
        with Network() as network:
            for what, expected, trouble in cases:
                network.troubles = [trouble]
                with world.ecu() as ecu:
                    owner.phone.keep(downloaded=None, ended=None)
                    app = owner.app(ecu, network=network)
                    code = _refusal(partial(_download_and_flash, app))
                    self.note(what, chapter, UNTOUCHED, world.judge(ecu, UNTOUCHED) or _unless(code == expected, code))
            owner.phone.keep(downloaded=None)
            network.troubles = [Trouble("cut", "X-Amz", "GET", at=file // 4, times=FOR_EVER)]
            owner.app(None, network=network).download()
            wrong = _unless(owner.phone.file("tune.bin") == world.tune, "another file came out")
            self.note("the file comes in four pieces, each with a fresh link", chapter, UNTOUCHED, wrong)
            self._make_new_status()
            with world.ecu() as ecu:
                owner.app(None).refresh_trust()
                newest = owner.phone["status"]
                network.troubles = [
                    Trouble("replay", "trust/status/", times=FOR_EVER, body=json.dumps(status).encode()),
                    Trouble("replay", "trust/root/", times=FOR_EVER, body=json.dumps(self.root).encode()),
                ]
                owner.phone.keep(downloaded=None, ended=None, last_write=None)
                said = owner.app(ecu, network=network).run(owner.rider)
                wrong = world.judge(ecu, TUNED) or _unless(said == "SUCCEEDED", said)
                wrong = wrong or _unless(owner.phone["status"] == newest and not owner.phone["later_roots"], "what was replayed was kept")
                self.note("an old status and a false root are replayed: not kept, the newest known ones count", chapter, TUNED, wrong)
            with world.ecu() as ecu:
                network.troubles = [Trouble("flip", "X-Amz", "GET", at=file // 2)]
                owner.phone.keep(downloaded=None, ended=None, last_write=None)
                said = owner.app(ecu, network=network).run(owner.rider)
                wrong = world.judge(ecu, TUNED) or _unless(said == "SUCCEEDED", said)
                self.note("a bit of the file flips, and the app asks again", chapter, TUNED, wrong)
            with world.ecu() as ecu:
                owner.app(None).refresh_trust()
                owner.phone.keep(ended=None, last_write=None)
                network.troubles = [Trouble("unreachable", times=FOR_EVER)]
                app = owner.app(ecu, network=network)
                said = app.flash()
                waits = _refusal(app.send_reports) == "Offline" and len(app.phone["reports"]) == 1
                report = app.phone["reports"][0]
                again = owner.app(ecu)
                again.send_reports()
                twice = again.api.call("POST", "marketplace/flashes/", report)
                wrong = world.judge(ecu, TUNED) or _unless(said == "SUCCEEDED" and waits, "the report did not wait")
                wrong = wrong or _unless(twice["id"] == report["id"] and twice["license_state"] == "BOUND", "the report is not one")
                self.note("no network while it is flashed; the report is sent later, and twice", chapter, TUNED, wrong)

        self._ticket_ran_out(owner, world)

    def _ticket_ran_out(self, owner: Owner, world: World) -> None:
        """The phone lay in a drawer: its ticket and its session are old, and it gets new ones."""
        self._make_new_status()  # which outlives the ticket
        ticket = owner.phone["grant"]["ticket"]
        expiry = datetime.fromisoformat(body_of(ticket)["expires_at"])

        def clock() -> datetime:
            """Days later as long as the phone has its old ticket; then where the bench is, in the present."""
            grant = owner.phone["grant"]
            return expiry if grant and grant["ticket"] == ticket else datetime.now(UTC)

        owner.phone.keep(ended=None, last_write=None, access="an access token of last week")
        with world.ecu() as ecu:
            said = owner.app(ecu, clock=clock).run(owner.rider)
            wrong = world.judge(ecu, TUNED) or _unless(said == "SUCCEEDED" and owner.phone["grant"]["ticket"] != ticket, said)
            self.note("the ticket ran out and the session too: new ones, and a flash", "bad network", TUNED, wrong)

    def _whole_ways(self) -> None:
        """Whole journeys in which every single call goes wrong once: there is one vehicle, one purchase, one license in the end."""
        kinds = ("lost-answer",) if self.is_short else ("lost-answer", "unreachable", "unavailable")
        for kind in kinds:
            owner = Owner(self, kind, has_vin=True)
            with Network() as network, owner.ecu() as ecu:
                network.troubles = [Trouble(kind, first_of_each=True)]
                said = owner.app(ecu, network=network).run(owner.rider)
                wrong = owner.judge_whole(ecu, said) or _unless(network.struck >= 15, f"only {network.struck} calls went wrong")
                self.note(f"every call of a journey once: {kind}", "bad network", TUNED, wrong)

    def _killed_everywhere(self) -> None:
        """The app as a process of its own, killed by the system at one point after the other."""
        owner = Owner(self, "killed", has_vin=True)
        (owner.phone.directory / "rider.json").write_text(json.dumps(owner.rider))
        with owner.ecu() as ecu:
            command = [sys.executable, str(ENTRY), "app", "--base-url", self.base_url, "--data-dir", str(self.data)]
            command += ["--phone", str(owner.phone.directory), "--ecu", f"{ecu.address[0]}:{ecu.address[1]}"]
            statuses = [subprocess.run([*command, "--die-at", point], check=False, timeout=120).returncode for point in POINTS]
            last = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
            owner.phone = Phone(owner.phone.directory)
            wrong = owner.judge_whole(ecu, last.stdout.strip())
            wrong = wrong or _unless(statuses == [-signal.SIGKILL] * len(POINTS), f"it was not killed everywhere: {statuses}")
            self.note(f"killed by the system at {len(POINTS)} points of one journey", "app killed", TUNED, wrong)

    # An ECU that can't be read

    def _no_way_back(self) -> None:
        """The rider consented that there is no stock image. What was begun can only be carried on with: and it is."""
        chapter = "no way back"
        facts = next(facts for facts in people.stock_images(self.data) if "sdr1290-eu" in facts["file"])
        owner = Owner(self, "no-way-back", has_vin=True, facts=facts)
        owner.rider |= {"accepts_no_way_back": True, "accepts_unknown": ["read_back_unknown"]}
        with owner.ecu(can_be_read=False) as ecu:
            owner.prepare(ecu)
            owner.app(ecu).refresh_trust()
        world = owner.world()
        for block in range(world.blocks):
            with world.ecu(can_be_read=False, faults=[Fault("power-half", Command.WRITE, block)]) as ecu:
                said = Flasher(world.copy(), ecu.address).flash()
                wrong = world.judge(ecu, TUNED) or _unless(said == "SUCCEEDED", said)
                self.note("power goes, the app carries on", chapter, TUNED, wrong, block=block)
            with world.ecu(can_be_read=False) as ecu:
                phone = world.copy()
                try:
                    Flasher(phone, ecu.address, on_point=_die_at(f"write-tune-{block}")).flash()
                except Killed:
                    said = Flasher(Phone(phone.directory), ecu.address, carries_on=False).settle()
                wrong = world.judge(ecu, TUNED) or _unless(said == "SUCCEEDED", said)
                self.note("the app is killed, and there is nothing to go back to", chapter, TUNED, wrong, block=block)

    # Recall

    def _recall(self, world: World, first: Owner, second: Owner) -> None:
        chapter = "recall"
        version = str(self._get(f"marketplace/tunes/{self.tune['id']}/versions/")["results"][0]["id"])
        other = Owner(self, "recalled", has_vin=True)
        with other.ecu() as ecu, Network() as network:
            other.prepare(ecu, with_file=False)
            network.troubles = [Trouble("cut", "X-Amz", "GET", at=IMAGE_BYTES // 3, times=FOR_EVER)]

            def recall(point: str) -> None:
                if point == "download-1":
                    self.staff.decide(version, "recall", severity="restore_stock", reason="Found by the bench.", replacement="")

            app = other.app(ecu, network=network, on_point=recall)
            code = _refusal(app.download)
            wrong = other.judge_untouched(ecu) or _unless(code == "version_recalled", code)
            self.note("recalled while it is downloaded: `version_recalled`", chapter, UNTOUCHED, wrong)
        file_id = body_of(Phone(world.phone)["grant"]["release"])["tune_file_id"]
        status = self._wait_for_status(lambda status: any(stop["id"] == file_id for stop in status["stopped"]))
        with world.ecu() as ecu:
            phone = world.copy()
            phone.keep(status=status)
            code = _refusal(Flasher(phone, ecu.address).flash)
            wrong = world.judge(ecu, UNTOUCHED) or _unless(code == "recalled", code)
            self.note("recalled after the download: `recalled`", chapter, UNTOUCHED, wrong)
        for block in range(world.blocks):
            with world.ecu() as ecu:
                phone = world.copy()
                try:
                    Flasher(phone, ecu.address, on_point=_die_at(f"write-tune-{block}")).flash()
                except Killed:
                    phone.keep(status=status)
                    said = Flasher(Phone(phone.directory), ecu.address).settle()
                wrong = world.judge(ecu, RESTORED) or _unless(said == "RESTORED", said)
                self.note("recalled while it is written: not carried on with", chapter, RESTORED, wrong, block=block)
        with world.ecu(world.tune) as ecu:
            app = first.app(ecu)
            fresh = app.api.call("GET", f"garage/vehicles/{app.phone['vehicle']}/stock-files/")["results"][0]
            app.phone.keep(restore_ticket=fresh["restore_ticket"])
            said = app.restore()
            wrong = world.judge(ecu, RESTORED) or _unless(said == "RESTORED", said)
            self.note("a restore after the recall, with a fresh restore ticket", chapter, RESTORED, wrong)
        second.phone.keep(grant=None, grant_key=None)
        code = _refusal(second.app(None).get_ticket)
        wrong = _unless(code == "version_recalled", code)
        self.note("no grant after the recall, also for its owner: `version_recalled`", chapter, UNTOUCHED, wrong)

    # Reports

    def _report_all(self, owner: Owner, reports: list[dict[str, Any]]) -> None:
        """The phone comes back from the mountains: all reports in any order and twice. The newest says what is in the vehicle."""
        settled = [report for report in reports if report["outcome"] in ("SUCCEEDED", "RESTORED")]
        newest = max(settled, key=lambda report: report["flashed_at"])
        count = REPORTS_IN_SHORT if self.is_short else REPORTS
        chosen = [newest, *random.sample(reports, min(count, len(reports)))]
        random.shuffle(chosen)
        api = owner.app(None).api
        for report in [*chosen, *chosen]:
            api.call("POST", "marketplace/flashes/", report)
        garage = api.call("GET", f"garage/vehicles/{owner.phone['vehicle']}/")
        purchase = api.call("GET", f"marketplace/purchases/{owner.phone['purchase']}/")
        is_right = (garage["ecu"]["installed"] is not None) == (newest["outcome"] == "SUCCEEDED")
        wrong = _unless(is_right, "the garage says something else")
        wrong = wrong or _unless(purchase["license"]["state"] == "BOUND", "the license is not bound")
        outcome = TUNED if newest["outcome"] == "SUCCEEDED" else RESTORED
        self.note("reports in any order and twice, the newest counts", "reports", outcome, wrong)
        self.say(f"{len(chosen)} reports, each sent twice")


def _download_and_flash(app: App) -> str:
    app.download()
    return app.flash()


def _die_at(point: str) -> Callable[[str], None]:
    def die(passed: str) -> None:
        if passed == point:
            raise Killed

    return die


def _refusal(work: Callable[[], object]) -> str:
    """The code with which something is refused."""
    try:
        return f"it was not refused: {work()}"
    except (Refused, ApiRefused) as refusal:
        return refusal.code
    except Offline:
        return "Offline"


def _unless(is_right: bool, wrong: str) -> str:
    return "" if is_right else wrong or "something else"
