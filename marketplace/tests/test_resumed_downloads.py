"""A download over a bad connection: ranges, a link that ran out, a fresh one for the same grant, and the very same bytes."""

import hashlib
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from core.testing.http import client_for
from marketplace.models import Download, FlashTicket
from marketplace.services import grants, stops, stored_files
from marketplace.tests.factories import ride_for
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _look_at_storage_again():
    stored_files.forget()


@pytest.fixture
def ride():
    return ride_for()


@pytest.fixture
def rider(ride):
    return client_for(ride.buyer)


def granted(ride, rider):
    answer = rider.post(f"marketplace/purchases/{ride.purchase.pk}/downloads/", {"vehicle": str(ride.vehicle.pk)})
    assert answer.status_code == 201
    return answer.json()


def part(url, first, last):
    answer = requests.get(url, headers={"Range": f"bytes={first}-{last}"}, timeout=10)
    assert answer.status_code == 206
    return answer


def test_a_link_is_good_for_a_minute_at_most(ride, rider):
    grant = granted(ride, rider)

    (seconds,) = parse_qs(urlsplit(grant["url"]).query)["X-Amz-Expires"]
    assert int(seconds) <= 60


def test_ranges_are_parts_of_the_file_and_say_so(ride, rider):
    grant = granted(ride, rider)
    whole = requests.get(grant["url"], timeout=10)

    middle = part(grant["url"], 1000, 1999)
    tail = requests.get(grant["url"], headers={"Range": "bytes=-10"}, timeout=10)
    beyond = requests.get(grant["url"], headers={"Range": f"bytes={grant['size_bytes']}-"}, timeout=10)

    assert hashlib.sha256(whole.content).hexdigest() == grant["sha256"]
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert middle.content == whole.content[1000:2000]
    assert middle.headers["Content-Range"] == f"bytes 1000-1999/{grant['size_bytes']}"
    assert tail.content == whole.content[-10:]
    assert beyond.status_code == 416


def test_what_broke_off_goes_on_with_a_fresh_link_of_the_same_grant(ride, rider, monkeypatch):
    """Three links, each of which ran out in the middle; one grant, one ticket, one counted download."""
    monkeypatch.setattr(grants, "LINK_SECONDS", 1)
    grant, data = granted(ride, rider), b""
    size, step = grant["size_bytes"], grant["size_bytes"] // 3 + 1

    link = grant
    while len(data) < size:
        data += part(link["url"], len(data), min(len(data) + step, size) - 1).content
        time.sleep(1.2)
        gone = requests.get(link["url"], headers={"Range": "bytes=0-9"}, timeout=10)
        assert gone.status_code in (400, 403)  # Supabase answers 400
        link = rider.post(f"marketplace/downloads/{grant['id']}/link/").json()
        assert (link["id"], link["sha256"], link["ticket"]) == (grant["id"], grant["sha256"], grant["ticket"])

    assert (len(data), hashlib.sha256(data).hexdigest()) == (size, grant["sha256"])
    assert sorted(Download.objects.values_list("kind", flat=True)) == ["GRANT", "LINK", "LINK", "LINK"]
    assert FlashTicket.objects.count() == 1


def test_a_stop_in_the_middle_gives_no_further_link(ride, rider):
    grant = granted(ride, rider)
    part(grant["url"], 0, 999)
    stops.recall_version(actor=UserFactory(admin=True), version_id=ride.version.pk, severity="info", reason="Wrong axis.", at=ride.at)

    answer = rider.post(f"marketplace/downloads/{grant['id']}/link/")

    assert (answer.status_code, answer.json()["code"]) == (409, "version_recalled")


def test_a_link_is_of_one_file_and_can_not_be_turned_into_another(ride, rider):
    grant = granted(ride, rider)
    other = ride_for(vehicle={"vin": "JYARN53E1MA000055"})
    path = urlsplit(grant["url"]).path
    foreign = grant["url"].replace(path, path.replace(grant["sha256"], other.version.files.get().sha256))

    assert foreign != grant["url"]
    assert requests.get(foreign, timeout=10).status_code in (400, 403, 404)
    assert requests.put(grant["url"], data=b"x", timeout=10).status_code in (400, 403, 405)


def test_what_is_installed_is_told_its_stop_until_it_is_lifted(ride, rider):
    grant, admin = granted(ride, rider), UserFactory(admin=True)

    def check():
        answer = rider.post("marketplace/installed/check/", {"sha256": [grant["sha256"], "0" * 64]})
        assert answer.status_code == 200
        known, unknown = answer.json()["results"]
        assert (unknown["sha256"], unknown["state"], unknown["recall"]) == ("0" * 64, "unknown", None)
        return known

    assert (check()["state"], check()["recall"]) == ("current", None)
    stop = stops.hold_version(actor=admin, version_id=ride.version.pk, reason="Knock.", at=ride.at)
    assert (check()["state"], check()["recall"]["reason"]) == ("on_hold", "Knock.")
    stop = stops.recall_version(actor=admin, version_id=ride.version.pk, severity="restore_stock", reason="It bricks.", at=ride.at)
    recalled = check()
    assert (recalled["state"], recalled["recall"]["severity"], recalled["recall"]["acknowledged_at"]) == ("recalled", "restore_stock", None)
    assert rider.post(f"marketplace/recalls/{recalled['recall']['id']}/acknowledge/").status_code == 200
    assert check()["recall"]["acknowledged_at"] is not None
    stops.propose_unrecall(actor=admin, version_id=ride.version.pk, reason="It was the cable.", at=ride.at)
    stops.unrecall_version(actor=UserFactory(admin=True), version_id=ride.version.pk, mfa_fresh=False, at=stop.since)
    assert (check()["state"], check()["recall"]) == ("current", None)
