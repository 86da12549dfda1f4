"""What owners are told of a new version: the changes since the one that they flashed, each once."""

from datetime import timedelta

import pytest

from core import clock
from core.testing.http import ApiClient
from marketplace.enums import FlashOutcome, LicenseState
from marketplace.models import License
from marketplace.selectors.owners import list_changes_for_owners
from marketplace.services import review
from marketplace.tests.factories import TuneVersionFactory, released_tune, released_version, ride_for
from users.models import Notice
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def test_each_reads_what_changed_since_the_version_that_they_flashed(django_assert_num_queries):
    tune = released_tune(version__version="1.0.0", version__changelog="The first.")
    early, idle, gone = (ride_for(tune, buyer=UserFactory()) for _ in range(3))
    early.report(early.ticket())
    License.objects.filter(pk=gone.license.pk).update(state=LicenseState.REVOKED, revoked_at=clock.now())
    released_version(tune, version="1.1.0", changelog="Cold start.")
    late = ride_for(tune, buyer=UserFactory())
    late.report(late.ticket())
    released_version(tune, version="1.2.0", changelog="")
    TuneVersionFactory(tune=tune, version="1.3.0", validated=True, changelog="Never published.")
    newest = released_version(tune, version="2.0.0", changelog="Throttle map.")

    with django_assert_num_queries(1):
        found = {row.user_id: row for row in list_changes_for_owners(newest)}

    assert set(found) == {early.buyer.pk, idle.buyer.pk, late.buyer.pk}
    assert found[early.buyer.pk].flashed == "1.0.0"
    assert found[early.buyer.pk].changes == "2.0.0\nThrottle map.\n\n1.2.0\n\n1.1.0\nCold start."
    assert (found[late.buyer.pk].flashed, found[late.buyer.pk].changes) == ("1.1.0", "2.0.0\nThrottle map.\n\n1.2.0")
    assert (found[idle.buyer.pk].flashed, found[idle.buyer.pk].changes) == ("", "2.0.0\nThrottle map.")

    for _ in range(2):  # a task that is run again tells nobody twice
        assert review.tell_owners(version_id=newest.pk, at=clock.now()) == 3
    notices = Notice.objects.filter(type="NEW_VERSION")
    assert notices.count() == 3
    assert "You flashed 1.0.0. Since then:" in notices.get(user=early.buyer).body
    assert "Cold start." not in notices.get(user=late.buyer).body


def test_a_failed_flash_and_a_later_number_count_for_nothing():
    tune = released_tune(version__version="1.0.0")
    ride = ride_for(tune, buyer=UserFactory())
    ride.report(ride.ticket(), FlashOutcome.FAILED_BEFORE_WRITE)
    newest = released_version(tune, version="2.0.0", changelog="New.")
    assert [(row.flashed, row.changes) for row in list_changes_for_owners(newest)] == [("", "2.0.0\nNew.")]

    ride.report(ride.ticket(at=ride.at + timedelta(minutes=5)), at=ride.at + timedelta(minutes=6))
    fix = released_version(tune, version="1.0.1", changelog="A fix of the old line.")
    assert [(row.flashed, row.changes) for row in list_changes_for_owners(fix)] == [("2.0.0", "1.0.1\nA fix of the old line.")]


def test_a_publication_changes_the_tag_of_what_is_cached():
    """A phone that asks again with the old tag must get the new version at once."""
    tune = released_tune(version__version="1.0.0")
    urls = [f"marketplace/tunes/{tune.pk}/", f"marketplace/tunes/{tune.pk}/versions/"]
    tags = {url: ApiClient().get(url)["ETag"] for url in urls}
    assert all(ApiClient().get(url, HTTP_IF_NONE_MATCH=tag).status_code == 304 for url, tag in tags.items())
    version = TuneVersionFactory(tune=tune, version="2.0.0", in_review=True, stored=True)

    review.publish_tune_version(
        version_id=version.pk,
        reviewer=UserFactory(admin=True, mfa=True),
        approved_sha256=[version.files.get().sha256],
        note="",
        at=clock.now(),
    )

    for url, tag in tags.items():
        answer = ApiClient().get(url, HTTP_IF_NONE_MATCH=tag)
        assert (answer.status_code, answer["ETag"] != tag) == (200, True)
    version.refresh_from_db()
    tune.refresh_from_db()
    assert version.release_counter == tune.release_counter == 2
