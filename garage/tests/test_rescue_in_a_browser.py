"""A whole rescue pressed in a real browser: the code's page, the image, the restore ticket and the root on the disk, and judged.

It wants Chromium: it runs with `make test-long` where there is one.
"""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.testing.browser import Browser, find_chromium
from core.testing.http import client_for
from core.uploads.tests.factories import stored_upload
from garage.models import RescueLink
from garage.services import make_rescue_link
from garage.tests.factories import VehicleFactory
from garage.tests.test_stock_files import save, stock_image, upload_of
from tools.verify_download import main as verify
from users.tests.factories import UserFactory

pytestmark = [
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this machine"),
]
VIN = "JYARN53E1MA000042"
SHOWN = "!document.getElementById('{}').hidden"


@pytest.fixture
def browser(tmp_path: Path):
    with Browser(tmp_path / "profile") as browser:
        yield browser


@pytest.fixture
def token():
    """A code for a bike whose stock image is really stored."""
    owner = client_for(UserFactory(), step_up=True)
    owner.vehicle = VehicleFactory(owner=owner.user, with_ecu=True, vin=VIN)
    owner.url = f"garage/vehicles/{owner.vehicle.pk}/stock-files/"
    assert save(owner, upload_of(owner.user, make=stored_upload)).status_code == 201
    return make_rescue_link(owner=owner.user, vehicle_id=owner.vehicle.pk, at=datetime.now(UTC))[1]


def wait_until(browser: Browser, id: str) -> None:
    for _ in range(100):
        if browser.evaluate(SHOWN.format(id)):
            return
        time.sleep(0.1)
    raise AssertionError(f"#{id} never came: {browser.evaluate('document.body.innerText')}")


def downloaded(directory: Path, names: set[str]) -> dict[str, bytes]:
    for _ in range(100):
        found = {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix != ".crdownload"}
        if names <= found.keys() and all(found.values()):
            return found
        time.sleep(0.1)
    raise AssertionError(f"only these came: {sorted(found)}")


def test_from_the_code_to_a_verified_image(browser, live_server, token, tmp_path):
    landed = tmp_path / "landed"
    landed.mkdir()
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(landed))

    told = browser.open(f"{live_server.url}/rescue#{token}")
    wait_until(browser, "ask")
    assert RescueLink.objects.get().uses_left == 10  # opening the page is no use: a messenger's preview costs none
    browser.evaluate("document.getElementById('open').click()")
    wait_until(browser, "found")
    for id in ("image", "ticket", "root"):
        browser.evaluate(f"document.getElementById('{id}').click()")
        time.sleep(0.5)
    files = downloaded(landed, {"stock.bin", "restore-ticket.json", "root.json"})

    assert told.told == []
    assert RescueLink.objects.get().uses_left == 9
    assert files["stock.bin"] == stock_image()
    (tmp_path / "rescue.png").write_bytes(browser.picture())
    given = {
        "saved.json": json.dumps({"restore_ticket": json.loads(files["restore-ticket.json"])}),
        "ecu.json": json.dumps({"hardware_number": browser.evaluate("document.getElementById('hardware_number').textContent"), "vin": VIN}),
    }
    for name, text in given.items():
        (tmp_path / name).write_text(text)
    paths = ["--root", str(landed / "root.json"), "--stock-file", str(tmp_path / "saved.json"), "--file", str(landed / "stock.bin")]
    assert verify(["restore", *paths, "--readout", str(tmp_path / "ecu.json")]) == 0


def test_a_code_that_is_over_says_so_and_gives_nothing(browser, live_server, token):
    RescueLink.objects.update(uses_left=0)

    browser.open(f"{live_server.url}/rescue#{token}")
    wait_until(browser, "ask")
    browser.evaluate("document.getElementById('open').click()")
    wait_until(browser, "trouble")

    assert not browser.evaluate(SHOWN.format("found"))
    assert browser.evaluate("document.getElementById('image').getAttribute('href')") is None


def test_without_a_code_the_page_asks_for_one(browser, live_server):
    browser.open(f"{live_server.url}/rescue")

    assert browser.evaluate(SHOWN.format("trouble")) and not browser.evaluate(SHOWN.format("ask"))
