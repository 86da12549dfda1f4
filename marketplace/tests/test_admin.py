"""The review queue and the stops in the admin: what a reviewer sees, decides, and is refused."""

from datetime import timedelta

import pytest
from django.urls import reverse

from core import clock
from core.models import AuditEvent, Upload
from core.testing.admin import admin_client, decide, list_of, list_queries, page_of
from marketplace.enums import StopKind, TuneStatus, VersionStatus
from marketplace.models import License, Purchase, Release, Tune, TuneVersion, VersionStop
from marketplace.selectors.review_queue import positions_of
from marketplace.services import stops
from marketplace.tests.factories import LicenseFactory, PurchaseFactory, TuneFactory, TuneVersionFactory
from marketplace.tests.factories.trust import released_tune
from tuners.tests.factories import TunerProfileFactory
from users.tests.factories import UserFactory

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def admin():
    return UserFactory(admin=True, mfa=True)


@pytest.fixture
def client(admin):
    return admin_client(admin)


def in_review(**facts):
    return TuneVersionFactory(in_review=True, stored=True, **facts)


def hashes(version):
    return list(version.files.values_list("sha256", flat=True))


@pytest.mark.django_db
class TestReview:
    def test_publishing_needs_a_tick_for_each_file(self, client, admin):
        version = in_review()

        without = decide(client, version, "publish", reason="Looked.")
        wrong = decide(client, version, "publish", reason="Looked.", approved_sha256=["0" * 64])
        version.refresh_from_db()
        assert (without.status_code, wrong.status_code, version.status) == (200, 200, VersionStatus.IN_REVIEW)
        answer = decide(client, version, "publish", reason="Looked.", approved_sha256=hashes(version))

        version.refresh_from_db()
        assert (answer.status_code, version.status, version.reviewer_id) == (302, VersionStatus.PUBLISHED, admin.pk)
        assert version.approved_sha256 == sorted(hashes(version))
        assert Release.objects.filter(version=version).count() == 1
        assert AuditEvent.objects.get(act="tune_version.published").reason == "Looked."

    @pytest.mark.parametrize(("name", "status"), [("request-changes", VersionStatus.CHANGES_REQUESTED), ("reject", VersionStatus.REJECTED)])
    def test_turning_down_needs_a_cause_and_a_reason(self, client, name, status):
        version = in_review()

        assert decide(client, version, name, reason="Unclear.").status_code == 200
        assert decide(client, version, name, reason="Unclear.", cause="DESCRIPTION_UNCLEAR").status_code == 302

        version.refresh_from_db()
        assert (version.status, version.review_reason, version.review_note) == (status, "DESCRIPTION_UNCLEAR", "Unclear.")

    def test_nobody_publishes_their_own(self, client, admin):
        version = in_review(tune=TuneFactory(tuner=TunerProfileFactory(user=admin)))

        answer = decide(client, version, "publish", reason="Mine.", approved_sha256=hashes(version))

        version.refresh_from_db()
        assert (answer.status_code, version.status) == (200, VersionStatus.IN_REVIEW)

    def test_the_sheet_shows_files_fitments_and_what_changed(self, client):
        tune = TuneFactory(stored=True)
        before = tune.versions.get().fitments.get()
        version = in_review(tune=tune, version="9.0.0", fitment__year_to=before.year_to + 1, changelog=HOSTILE)
        file = version.files.get()

        page = page_of(client, version)

        assert file.sha256 in page
        assert before.hardware_numbers[0] in page
        assert f"Against {before.version.version}" in page
        assert "+ new" in page and "− gone" in page
        assert HOSTILE not in page

    def test_a_file_opens_by_a_short_link_and_is_audited(self, client, admin):
        version = in_review()
        file = version.files.get()

        answer = client.get(reverse("admin:marketplace_tunefile_open", args=[file.pk]))

        assert answer.status_code == 302 and "X-Amz-Expires=60" in answer.headers["Location"]
        assert AuditEvent.objects.filter(act="tune_file.opened", actor_id=admin.pk, subject_id=file.pk).count() == 1

    def test_a_version_is_found_by_a_files_hash(self, client):
        version = in_review()
        TuneVersionFactory(in_review=True)

        found = list_of(client, TuneVersion, q=hashes(version)[0])

        assert found.count("/marketplace/tuneversion/0") == 1

    def test_a_copy_of_another_tuners_file_is_pointed_out(self, client):
        original = in_review()
        copy = TuneVersionFactory(in_review=True, file__sha256=hashes(original)[0])

        assert original.tune.title in page_of(client, copy)


@pytest.mark.django_db
class TestStops:
    def test_hold_release_and_recall(self, client):
        version = released_tune().versions.get()

        assert decide(client, version, "hold", reason="Surging reported.", severity="stop_flash").status_code == 302
        version.refresh_from_db()
        assert version.status == VersionStatus.ON_HOLD
        assert decide(client, version, "release", reason="It was a spark plug.").status_code == 302
        version.refresh_from_db()
        assert version.status == VersionStatus.PUBLISHED
        assert decide(client, version, "recall", reason="It bricks ECUs.", severity="restore_stock", replacement="").status_code == 302
        version.refresh_from_db()
        assert version.status == VersionStatus.RECALLED
        assert list(VersionStop.objects.order_by("since").values_list("kind", flat=True)) == [StopKind.HOLD, StopKind.RECALL]

    def test_a_recall_may_name_a_version_on_sale_as_its_replacement(self, client):
        tune = released_tune()
        version, newer = tune.versions.get(), TuneVersionFactory(tune=tune, published=True, version="1.1.0")
        stranger = TuneVersionFactory(published=True)

        refused = decide(client, version, "recall", reason="Wrong.", severity="restore_stock", replacement=str(stranger.pk))
        version.refresh_from_db()
        assert (refused.status_code, version.status) == (200, VersionStatus.PUBLISHED)
        decide(client, version, "recall", reason="Take the newer one.", severity="restore_stock", replacement=str(newer.pk))

        assert VersionStop.objects.get(version=version).replacement_id == newer.pk

    def test_lifting_a_recall_takes_two(self, client):
        version = released_tune().versions.get()
        decide(client, version, "recall", reason="It bricks ECUs.", severity="restore_stock")
        second = admin_client()

        decide(client, version, "propose-unrecall", reason="The report was false.")
        alone = decide(client, version, "unrecall", reason="Now.")
        version.refresh_from_db()
        assert (alone.status_code, version.status) == (200, VersionStatus.RECALLED)
        assert decide(second, version, "unrecall", reason="I agree.").status_code == 302

        version.refresh_from_db()
        assert version.status == VersionStatus.PUBLISHED

    def test_a_tune_is_suspended_and_comes_back(self, client):
        tune = TuneFactory(published=True)

        decide(client, tune, "suspend", reason="Under investigation.", cause="INVESTIGATION")
        tune.refresh_from_db()
        assert (tune.status, tune.suspension_note) == (TuneStatus.SUSPENDED, "Under investigation.")
        decide(client, tune, "unsuspend", reason="Nothing found.")
        tune.refresh_from_db()
        assert tune.status == TuneStatus.PUBLISHED


@pytest.mark.django_db
class TestReadOnly:
    def test_purchases_and_licenses_can_not_be_changed(self, client):
        license = LicenseFactory()
        for row, facts in ((license, {"state": "REVOKED"}), (license.purchase, {"status": "REFUNDED", "amount_minor": "1"})):
            url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
            assert client.post(url, facts).status_code == 403
            assert client.get(url).status_code == 200
        license.refresh_from_db()
        assert license.state == "UNBOUND"

    @pytest.mark.parametrize(
        ("model", "make"),
        [
            (TuneVersion, lambda: TuneVersionFactory(in_review=True)),
            (Tune, lambda: TuneFactory(published=True)),
            (Purchase, lambda: PurchaseFactory(paid=True)),
            (License, lambda: LicenseFactory(bound=True)),
        ],
        ids=["versions", "tunes", "purchases", "licenses"],
    )
    def test_a_list_asks_as_much_for_twenty_rows_as_for_two(self, client, model, make):
        for _ in range(2):
            make()
        few = list_queries(client, model)
        for _ in range(18):
            make()

        assert list_queries(client, model) == few


@pytest.mark.django_db
class TestTheQueue:
    def queue(self, client) -> str:
        return list_of(client, TuneVersion, status__exact=VersionStatus.IN_REVIEW)

    def known(self, **facts):
        """A version of a tune that has published before, so that nothing speaks for haste."""
        tune = TuneFactory(published=True, version__version="1.0.0")
        return in_review(tune=tune, version="2.0.0", **facts)

    def test_it_is_ordered_by_risk_then_age_and_says_why(self, client):
        now = clock.now()
        old = self.known(submitted_at=now - timedelta(hours=3))
        older = self.known(submitted_at=now - timedelta(hours=4))
        overdue = self.known(submitted_at=now - timedelta(hours=80))
        new_tuner = in_review(submitted_at=now)
        first = in_review(tune=TuneFactory(tuner=old.tune.tuner), submitted_at=now)
        complaint = self.known(submitted_at=now)
        stops.hold_version(
            actor=UserFactory(admin=True),
            version_id=complaint.tune.versions.get(version="1.0.0").pk,
            reason="Rough idle.",
            severity="info",
            at=now - timedelta(days=3),
        )
        expected = [overdue, new_tuner, complaint, first, older, old]
        # equal numbers of reasons go by age
        TuneVersion.objects.filter(pk=first.pk).update(submitted_at=now - timedelta(minutes=1))
        TuneVersion.objects.filter(pk=complaint.pk).update(submitted_at=now - timedelta(minutes=2))

        page = self.queue(client)

        places = [page.index(str(version.pk)) for version in expected]
        assert places == sorted(places)
        assert positions_of([version.pk for version in expected], at=now) == {
            version.pk: place for place, version in enumerate(expected, start=1)
        }
        for words in ("overdue", "new tuner", "complaint", "first version"):
            assert words in page
        assert "new tuner: nothing published before" in page_of(client, new_tuner)

    def test_a_large_change_comes_first(self, client):
        calm = self.known(submitted_at=clock.now() - timedelta(hours=1))
        large = self.known(xray={"share_basis_points": 5_000})

        assert positions_of([calm.pk, large.pk], at=clock.now()) == {large.pk: 1, calm.pk: 2}
        page = page_of(client, large)
        assert "<svg" in page and 'fill="#16a34a"' in page
        assert "large change" in page

    def test_its_cost_does_not_grow(self, client):
        self.known()
        few = list_queries(client, TuneVersion, status__exact=VersionStatus.IN_REVIEW)
        for _ in range(5):
            self.known()

        assert list_queries(client, TuneVersion, status__exact=VersionStatus.IN_REVIEW) == few

    def test_nobody_decides_on_what_they_uploaded(self, client, admin):
        """Also when the listing is somebody else's."""
        version = in_review()
        at = clock.now()
        Upload.objects.create(
            id=version.files.get().upload_id,
            owner_id=admin.pk,
            purpose="TUNE_FILE",
            name="a.bin",
            size_bytes=1,
            sha256="0" * 64,
            content_type="text/plain",
            storage_key="k",
            created_at=at,
            expires_at=at,
        )

        decide(client, version, "publish", reason="Mine.", approved_sha256=hashes(version))
        decide(client, version, "request-changes", reason="Mine.", cause="DESCRIPTION_UNCLEAR")

        version.refresh_from_db()
        assert version.status == VersionStatus.IN_REVIEW

    def test_the_sheet_tells_all_differences_to_the_version_before(self, client):
        tune = TuneFactory(published=True, version__changelog="What was before.", version__emissions_class="UNCHANGED")
        needs = {**tune.requirements, "required_parts": ["Full exhaust"]}
        version = in_review(tune=tune, version="9.0.0", changelog="What is new.", requirements=needs)

        page = page_of(client, version)

        before = tune.versions.get(status=VersionStatus.PUBLISHED).files.get()
        claims = ("Emissions behaviour unchanged", "Full exhaust", "Requires: required parts")
        for words in ("What was before.", "What is new.", before.sha256, *claims):
            assert words in page
