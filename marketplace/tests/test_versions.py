"""A version's road: uploaded, inspected, submitted, decided; and everything that is refused on the way."""

import hashlib
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from core import clock, storage
from core.exceptions import DomainError
from core.ids import new_id
from core.models import AuditEvent, Upload
from core.testing.http import ApiClient, client_for
from core.testing.races import race_all
from core.testing.tasks import run_all
from core.uploads.enums import UploadPurpose, UploadState
from core.uploads.tests.factories import UploadFactory
from garage.ecu_images import generator
from garage.tests.factories import CALIBRATION_ID, HARDWARE_NUMBER, IMAGE_SIZE_BYTES, StockFileFactory, VehicleModelFactory
from marketplace.enums import ReviewReason, TuneStatus, VersionStatus
from marketplace.exceptions import HashesDiffer, OwnVersion, PublishBlocked, TuneFileMissing, VersionIllegalMove
from marketplace.models import Fitment, Release, Tune, TuneFile, TuneVersion
from marketplace.policies.tunes import TRANSITIONS
from marketplace.services import review, versions
from marketplace.tests.factories import TuneFactory, TuneVersionFactory, image_bytes
from tuners.tests.factories import TunerProfileFactory
from users.models import Notice
from users.tests.factories import UserFactory


def ready_upload(owner, data: bytes, *, name: str = "stage1.bin") -> Upload:
    """A checked upload with its bytes in storage, as `core.uploads` leaves one."""
    sha256 = hashlib.sha256(data).hexdigest()
    key = f"uploads/{sha256[:2]}/{sha256}-{uuid4().hex[-12:]}"
    storage.put_bytes(key, data, "application/octet-stream")
    now = clock.now()
    return Upload.objects.create(
        id=new_id(),
        owner_id=owner.pk,
        purpose=UploadPurpose.TUNE_FILE,
        state=UploadState.READY,
        name=name,
        size_bytes=len(data),
        sha256=sha256,
        content_type="application/octet-stream",
        storage_key=key,
        created_at=now,
        completed_at=now,
        checked_at=now,
        expires_at=now + timedelta(hours=24),
    )


def fitment(**changes) -> dict:
    return {
        "make": "Yamaha",
        "model": "MT-09",
        "year_from": 2021,
        "year_to": 2023,
        "markets": ["EU", "UK"],
        "hardware_numbers": [HARDWARE_NUMBER],
        "calibration_ids": [CALIBRATION_ID],
        "image_size_bytes": IMAGE_SIZE_BYTES,
        **changes,
    }


def body(upload, **changes) -> dict:
    file = {"upload_id": str(upload.pk), "fitments": [fitment()], "calibration_id_after": "RSC-210-T1"}
    return {"version": "1.4.0", "emissions_class": "CLOSED_COURSE_ONLY", "changelog": "More torque.", "files": [file], **changes}


@pytest.fixture
def tune(db):
    VehicleModelFactory()
    return TuneFactory(tuner__makes=[])


@pytest.fixture
def client(tune):
    return client_for(tune.tuner.user)


def post_version(client, tune, upload, **changes):
    return client.post(f"marketplace/tunes/{tune.pk}/versions/", body(upload, **changes))


def findings(version: TuneVersion) -> dict[str, str]:
    version.refresh_from_db()
    return {row["rule"]: row["severity"] for row in version.inspection_findings}


class TestUploadToPublication:
    def test_the_whole_road_over_http(self, tune, client):
        data = image_bytes("road")
        created = post_version(client, tune, ready_upload(tune.tuner.user, data))
        assert created.status_code == 201, created.content
        assert created.json()["status"] == "VALIDATING"
        assert created.json()["inspection"] is None
        url = f"marketplace/versions/{created.json()['id']}/"
        assert ApiClient().get(url).status_code == 404

        run_all()

        seen = client.get(url).json()
        assert (seen["status"], seen["inspection"]["verdict"]) == ("VALIDATED", "pass"), seen
        assert seen["files"][0]["format"] == "BIN"
        assert seen["files"][0]["sha256"] == hashlib.sha256(data).hexdigest()
        assert seen["files"][0]["fitments"] == [fitment()]
        assert seen["requirements"] == {**tune.requirements}
        file = TuneFile.objects.get(version_id=seen["id"])
        assert storage.read(file.storage_key, max_bytes=1 << 23) == data

        submitted = client.post(f"{url}submit/").json()
        assert (submitted["status"], submitted["review"]["position"]) == ("IN_REVIEW", 1)
        assert submitted["review"]["due_at"] is not None

        reviewer = UserFactory(admin=True, mfa=True)
        review.publish_tune_version(
            version_id=file.version_id, reviewer=reviewer, approved_sha256=[file.sha256], note="Clean.", at=clock.now()
        )

        public = ApiClient().get(url).json()
        assert (public["status"], "review" in public, "inspection" in public) == ("PUBLISHED", False, False)
        tune.refresh_from_db()
        assert (tune.status, tune.listed, tune.release_counter) == (TuneStatus.PUBLISHED, True, 1)
        assert Release.objects.get(file=file).release_counter == 1
        own = client.get(url).json()
        assert (own["review"]["decision"], own["review"]["note"], own["review"]["position"]) == ("PUBLISHED", "Clean.", None)
        assert [row["id"] for row in ApiClient().get("marketplace/tunes/?make=Yamaha&model=mt09").json()["results"]] == [str(tune.pk)]
        run_all()
        assert [row["id"] for row in ApiClient().get("tuners/?make=yamaha").json()["results"]] == [str(tune.tuner_id)]
        assert Notice.objects.filter(user=tune.tuner.user, type="VERSION_REVIEW").count() == 1
        assert AuditEvent.objects.filter(subject_id=file.version_id, act="tune_version.published", actor_id=reviewer.pk).count() == 1

    def test_intel_hex_is_decoded_and_its_image_compared(self, tune, client):
        data = generator.to_intel_hex(image_bytes("hex"))
        data = data.encode() if isinstance(data, str) else data
        created = post_version(client, tune, ready_upload(tune.tuner.user, data, name="stage1.hex"))

        run_all()

        version = TuneVersion.objects.get(pk=created.json()["id"])
        assert version.status == VersionStatus.VALIDATED, version.inspection_findings
        file = version.files.get()
        assert (file.format, file.image_size_bytes) == ("INTEL_HEX", IMAGE_SIZE_BYTES)
        assert file.image_sha256 == hashlib.sha256(image_bytes("hex")).hexdigest()

    def test_the_dry_run_says_what_the_inspection_will_say_and_keeps_nothing(self, tune, client):
        upload = ready_upload(tune.tuner.user, image_bytes("dry"))

        good = client.post("marketplace/inspections/", {"upload_id": str(upload.pk), "hardware_number": HARDWARE_NUMBER.lower()})
        bad = client.post("marketplace/inspections/", {"upload_id": str(upload.pk), "hardware_number": "OTHER-1"})

        assert (good.status_code, good.json()["verdict"]) == (200, "pass")
        assert good.json()["detected"] == {
            "hardware_number": HARDWARE_NUMBER,
            "calibration_id": "RSC-210-T1",
            "image_size_bytes": IMAGE_SIZE_BYTES,
        }
        assert (bad.json()["verdict"], "hardware_number_differs" in {row["rule"] for row in bad.json()["findings"]}) == ("refused", True)
        upload.refresh_from_db()
        assert upload.used_at is None
        assert client_for(TunerProfileFactory().user).post("marketplace/inspections/", {"upload_id": str(upload.pk)}).status_code == 400

    def test_a_repeated_request_with_one_key_makes_one_version(self, tune, client):
        upload = ready_upload(tune.tuner.user, image_bytes("twice"))
        key = {"HTTP_IDEMPOTENCY_KEY": "the-same"}

        first = client.post(f"marketplace/tunes/{tune.pk}/versions/", body(upload), **key)
        again = client.post(f"marketplace/tunes/{tune.pk}/versions/", body(upload), **key)

        assert (first.status_code, again.status_code) == (201, 201)
        assert (again["Idempotency-Replayed"], again.json()["id"]) == ("true", first.json()["id"])


class TestInspection:
    @pytest.mark.parametrize(
        ("changes", "rule"),
        [
            ({"image_size_bytes": IMAGE_SIZE_BYTES * 2}, "image_size_differs"),
            ({"hardware_numbers": ["OTHER-1"]}, "hardware_number_differs"),
        ],
    )
    def test_a_claim_that_the_image_contradicts_is_invalid(self, tune, client, changes, rule):
        upload = ready_upload(tune.tuner.user, image_bytes("claim"))
        file = {"upload_id": str(upload.pk), "fitments": [fitment(**changes)]}
        created = post_version(client, tune, upload, files=[file])

        run_all()

        version = TuneVersion.objects.get(pk=created.json()["id"])
        assert findings(version)[rule] == "error"
        assert (version.status, version.files.get().storage_key) == (VersionStatus.INVALID, "")
        assert client.post(f"marketplace/versions/{version.pk}/submit/").json()["code"] == "invalid_transition"

    def test_a_stock_image_and_another_tuners_file_are_refused(self, tune, client):
        data = image_bytes("copied")
        image = hashlib.sha256(data).hexdigest()
        TuneVersionFactory(published=True, file__sha256=image, file__size_bytes=len(data))
        StockFileFactory(image_sha256=image)
        created = post_version(client, tune, ready_upload(tune.tuner.user, data))

        run_all()

        found = findings(TuneVersion.objects.get(pk=created.json()["id"]))
        assert (found["identical_to_stock"], found["identical_to_another_tune"]) == ("error", "error")

    def test_ones_own_earlier_file_may_be_released_again(self, tune, client):
        data = image_bytes("mine")
        TuneVersionFactory(tune=tune, published=True, version="1.0.0", file__sha256=hashlib.sha256(data).hexdigest())
        created = post_version(client, tune, ready_upload(tune.tuner.user, data))

        run_all()

        assert TuneVersion.objects.get(pk=created.json()["id"]).status == VersionStatus.VALIDATED

    def test_a_prohibited_tag_is_refused_by_the_inspection_and_by_an_edit(self, tune, client):
        created = post_version(client, tune, ready_upload(tune.tuner.user, image_bytes("tag")), tags=["POWER", "DPF_DELETE"])
        run_all()
        assert findings(TuneVersion.objects.get(pk=created.json()["id"]))["prohibited_tag"] == "error"

        good = TuneVersionFactory(tune=tune, validated=True)
        answer = client.patch(f"marketplace/versions/{good.pk}/", {"tags": ["EGR_DELETE"]})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "prohibited_tag")

    def test_bytes_that_vanished_or_changed_make_it_invalid(self, tune, client):
        gone, changed = (ready_upload(tune.tuner.user, image_bytes(name)) for name in ("gone", "changed"))
        first = post_version(client, tune, gone).json()["id"]
        second = post_version(client, tune, changed, version="1.5.0").json()["id"]
        storage.delete(gone.storage_key)
        storage.put_bytes(changed.storage_key, image_bytes("something else"), "application/octet-stream")

        run_all()

        assert findings(TuneVersion.objects.get(pk=first)) == {"bytes_missing": "error"}
        assert findings(TuneVersion.objects.get(pk=second))["bytes_differ"] == "error"


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "pointer", "code"),
        [
            ({"version": "1.4"}, "/version", "invalid"),
            ({"version": "01.4.0"}, "/version", "invalid"),
            ({"emissions_class": "CERTIFIED"}, "/certification_number", "required"),
            ({"emissions_class": "GREEN"}, "/emissions_class", "invalid_choice"),
            ({"blocked_regions": ["Germany"]}, "/blocked_regions/0", "invalid"),
            ({"tags": ["FAST"]}, "/tags/0", "invalid_choice"),
            ({"files": []}, "/files", "empty"),
            ({"status": "PUBLISHED"}, "/status", "unknown_field"),
            ({"requirements": {"fuel": {"octane": 95}}}, "/requirements/fuel/scale", "required"),
            ({"requirements": {"min_battery_mv": 12.4}}, "/requirements/min_battery_mv", "invalid"),
        ],
    )
    def test_what_is_wrong_is_named_and_nothing_is_made(self, tune, client, changes, pointer, code):
        upload = ready_upload(tune.tuner.user, b"x" * 8192)

        answer = post_version(client, tune, upload, **changes)

        assert answer.status_code == 400, answer.content
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
        upload.refresh_from_db()
        assert (TuneVersion.objects.count(), upload.used_at) == (0, None)

    @pytest.mark.parametrize(
        ("changes", "pointer", "code"),
        [
            ({"model": "Unheard of"}, "/files/0/fitments/0/model", "unknown_model"),
            ({"year_from": 2024}, "/files/0/fitments/0/year_to", "invalid"),
            ({"markets": []}, "/files/0/fitments/0/markets", "empty"),
            ({"hardware_numbers": []}, "/files/0/fitments/0/hardware_numbers", "empty"),
            ({"image_size_bytes": 0}, "/files/0/fitments/0/image_size_bytes", "min_value"),
            ({"image_size_bytes": "262144"}, "/files/0/fitments/0/image_size_bytes", "invalid"),
        ],
    )
    def test_a_wrong_fitment_is_named(self, tune, client, changes, pointer, code):
        upload = ready_upload(tune.tuner.user, b"x" * 8192)

        answer = post_version(client, tune, upload, files=[{"upload_id": str(upload.pk), "fitments": [fitment(**changes)]}])

        assert answer.status_code == 400, answer.content
        error = answer.json()["errors"][0]
        assert (error["pointer"], error["code"] in {code, "min_length"}) == (pointer, True), error

    def test_foreign_used_and_missing_uploads_are_refused_alike_at_their_place(self, tune, client):
        foreign = ready_upload(UserFactory(), b"x" * 8192)
        used = ready_upload(tune.tuner.user, b"y" * 8192)
        Upload.objects.filter(pk=used.pk).update(used_at=clock.now())

        for upload_id, code in ((foreign.pk, "upload_not_found"), (uuid4(), "upload_not_found"), (used.pk, "upload_used")):
            answer = client.post(
                f"marketplace/tunes/{tune.pk}/versions/", body(foreign, files=[{"upload_id": str(upload_id), "fitments": [fitment()]}])
            )
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/files/0/upload_id")
            assert answer.json()["errors"][0]["code"] == code

    def test_a_number_is_taken_until_its_version_is_deleted(self, tune, client):
        TuneVersionFactory(tune=tune, validated=True, version="1.4.0")
        upload = ready_upload(tune.tuner.user, image_bytes("number"))
        assert post_version(client, tune, upload).json()["code"] == "version_number_taken"

        assert client.delete(f"marketplace/versions/{tune.versions.get().pk}/").status_code == 204
        assert post_version(client, tune, upload).status_code == 201

    def test_somebody_elses_tune_and_version_are_missing(self, tune):
        version = TuneVersionFactory(tune=tune, validated=True)
        stranger = client_for(TunerProfileFactory().user)
        upload = ready_upload(stranger.user, image_bytes("stranger"))

        answers = [
            post_version(stranger, tune, upload),
            stranger.get(f"marketplace/versions/{version.pk}/"),
            stranger.patch(f"marketplace/versions/{version.pk}/", {"changelog": "mine now"}),
            stranger.delete(f"marketplace/versions/{version.pk}/"),
            *(stranger.post(f"marketplace/versions/{version.pk}/{act}/") for act in ("submit", "cancel-review", "withdraw")),
            stranger.post(f"marketplace/versions/{version.pk}/hold/", {"reason": "because"}),
            stranger.get(f"marketplace/versions/{uuid4()}/"),
        ]

        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "not_found")}

    def test_riders_and_suspended_tuners_make_nothing(self, tune):
        rider = client_for(UserFactory())
        suspended = TunerProfileFactory(suspended=True)

        assert rider.post(f"marketplace/tunes/{tune.pk}/versions/", {}).status_code == 403
        answer = client_for(suspended.user).post("marketplace/tunes/", {})
        assert (answer.status_code, answer.json()["code"]) == (403, "tuner_suspended")


class TestMoves:
    @pytest.mark.parametrize("status", VersionStatus.values)
    def test_each_state_allows_its_moves_and_no_other(self, tune, client, status):
        version = TuneVersionFactory(tune=tune, **({status.lower(): True} if status != "VALIDATING" else {}))
        moves = {
            "submit": status in {"VALIDATED", "CHANGES_REQUESTED"},
            "cancel-review": status == "IN_REVIEW",
            "withdraw": status == "PUBLISHED",
            "hold": status == "PUBLISHED",
        }
        assert set(TRANSITIONS) == set(VersionStatus.values)

        for move, allowed in moves.items():
            with transaction.atomic():
                answer = client.post(f"marketplace/versions/{version.pk}/{move}/", {"reason": "Pistons."} if move == "hold" else {})
                if allowed:
                    assert answer.status_code == 200, (move, answer.content)
                else:
                    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition"), move
                transaction.set_rollback(True)

    def test_without_a_second_factor_nothing_is_submitted(self, tune):
        from tuners.tests.factories import TunerProfileFactory

        bare = TunerProfileFactory(user=UserFactory(tuner=True))
        version = TuneVersionFactory(tune=TuneFactory(tuner=bare), validated=True)

        answer = client_for(bare.user).post(f"marketplace/versions/{version.pk}/submit/")

        assert (answer.status_code, answer.json()["code"], answer.json()["blockers"]) == (409, "publish_blocked", ["mfa_required"])

    def test_words_are_edited_until_review_and_a_stale_edit_is_refused(self, tune, client):
        version = TuneVersionFactory(tune=tune, validated=True)
        url = f"marketplace/versions/{version.pk}/"

        edited = client.patch(url, {"changelog": "Better.", "requirements": {"required_parts": ["Air filter"]}}, HTTP_IF_MATCH='"1"')
        stale = client.patch(url, {"changelog": "Older."}, HTTP_IF_MATCH='"1"')

        assert (edited.status_code, edited.json()["revision"], edited.json()["changelog"]) == (200, 2, "Better.")
        assert edited.json()["requirements"]["flash_methods"] == ["OBD"]
        assert (stale.status_code, stale.json()["current"]) == (412, 2)
        version.refresh_from_db()
        assert version.required_part_keys == ["airfilter"]
        client.post(f"{url}submit/")
        refused = client.patch(url, {"changelog": "Late."})
        assert (refused.status_code, refused.json()["code"]) == (409, "version_not_editable")
        assert (refused.json()["status"], refused.json()["state"]) == (409, "IN_REVIEW")
        assert client.delete(url).json()["code"] == "version_not_editable"

    def test_changes_requested_are_made_and_submitted_again(self, tune, client):
        version = TuneVersionFactory(tune=tune, in_review=True)
        reviewer = UserFactory(admin=True, mfa=True)
        review.request_changes(
            version_id=version.pk, reviewer=reviewer, reason_code=ReviewReason.DESCRIPTION_UNCLEAR, note="Which exhaust?", at=clock.now()
        )
        url = f"marketplace/versions/{version.pk}/"

        seen = client.get(url).json()["review"]
        assert (seen["decision"], seen["reason_code"], seen["note"]) == ("CHANGES_REQUESTED", "DESCRIPTION_UNCLEAR", "Which exhaust?")
        assert client.patch(url, {"changelog": "For the stock exhaust."}).status_code == 200
        assert client.post(f"{url}submit/").json()["status"] == "IN_REVIEW"
        review.reject_tune_version(version_id=version.pk, reviewer=reviewer, reason_code=ReviewReason.OTHER, note="No.", at=clock.now())
        assert client.post(f"{url}submit/").json()["code"] == "invalid_transition"
        assert client.delete(url).status_code == 204

    def test_a_published_version_is_withdrawn_but_never_deleted(self, tune, client):
        version = TuneVersionFactory(tune=tune, published=True)
        url = f"marketplace/versions/{version.pk}/"

        assert client.delete(url).json()["code"] == "version_was_published"
        assert client.post(f"{url}withdraw/").json()["status"] == "WITHDRAWN"
        assert ApiClient().get("marketplace/tunes/").json()["results"] == []
        assert ApiClient().get(url).json()["status"] == "WITHDRAWN"


@pytest.mark.django_db
class TestPublish:
    @pytest.fixture
    def version(self):
        return TuneVersionFactory(in_review=True, stored=True)

    def publish(self, version, *, reviewer=None, hashes=None):
        return review.publish_tune_version(
            version_id=version.pk,
            reviewer=reviewer or UserFactory(admin=True, mfa=True),
            approved_sha256=hashes or version.files.values_list("sha256", flat=True),
            note="",
            at=clock.now(),
        )

    def refused(self, version, refusal, **kwargs):
        with pytest.raises(refusal):
            self.publish(version, **kwargs)
        version.refresh_from_db()
        assert (version.status, version.tune.release_counter, Release.objects.count()) == (VersionStatus.IN_REVIEW, 0, 0)

    def test_hashes_that_were_not_looked_at_are_refused(self, version):
        self.refused(version, HashesDiffer, hashes=["0" * 64])

    def test_the_author_never_decides_even_as_an_admin(self, version):
        author = version.tune.tuner.user
        author.role, author.is_staff = "ADMIN", True
        author.save(update_fields=["role", "is_staff"])

        self.refused(version, OwnVersion, reviewer=author)

    def test_nor_does_who_uploaded_one_of_its_files(self, version):
        reviewer = UserFactory(admin=True, mfa=True)
        UploadFactory(pk=version.files.get().upload_id, owner_id=reviewer.pk, purpose="TUNE_FILE", used=True)

        self.refused(version, OwnVersion, reviewer=reviewer)

    def test_a_rider_never_decides(self, version):
        self.refused(version, DomainError, reviewer=UserFactory())

    def test_a_tuner_who_lost_the_second_factor_is_not_published(self, version):
        type(version.tune.tuner.user).objects.filter(pk=version.tune.tuner.user_id).update(mfa_enabled_at=None)

        self.refused(version, PublishBlocked)

    def test_a_file_that_storage_lost_is_not_published(self, version):
        storage.delete(version.files.get().storage_key)

        self.refused(version, TuneFileMissing)

    def test_counters_rise_by_one_for_each_release(self, version):
        self.publish(version)
        second = TuneVersionFactory(tune=version.tune, in_review=True, stored=True, version="9.0.0")
        self.publish(second)

        assert list(version.tune.versions.order_by("release_counter").values_list("version", "release_counter")) == [
            (version.version, 1),
            ("9.0.0", 2),
        ]
        version.tune.refresh_from_db()
        assert version.tune.latest_version_id == second.pk

    def test_a_published_one_is_not_published_again(self, version):
        self.publish(version)

        with pytest.raises(VersionIllegalMove):
            self.publish(version)


@pytest.mark.django_db(transaction=True)
class TestRaces:
    """Decisions at the same moment: one wins, the other learns so, and nothing is half done."""

    def acts(self, version, *names):
        reviewer = UserFactory(admin=True, mfa=True)
        hashes, at = list(version.files.values_list("sha256", flat=True)), clock.now()
        table = {
            "publish": lambda: review.publish_tune_version(
                version_id=version.pk, reviewer=reviewer, approved_sha256=hashes, note="", at=at
            ),
            "cancel": lambda: versions.cancel_review(author=version.tune.tuner.user, version_id=version.pk, at=at),
            "reject": lambda: review.reject_tune_version(
                version_id=version.pk, reviewer=reviewer, reason_code=ReviewReason.OTHER, note="", at=at
            ),
        }
        return [table[name] for name in names]

    def test_publishing_against_cancelling_has_one_winner(self):
        version = TuneVersionFactory(in_review=True, stored=True)

        assert race_all(self.acts(version, "publish", "cancel")) == ["invalid_transition", "ok"]

        version.refresh_from_db()
        assert (version.status == VersionStatus.PUBLISHED) == Release.objects.filter(version=version).exists()

    def test_two_reviewers_have_one_decision(self):
        version = TuneVersionFactory(in_review=True, stored=True)

        assert race_all(self.acts(version, "reject", "reject")) == ["invalid_transition", "ok"]
        assert AuditEvent.objects.filter(subject_id=version.pk, act="tune_version.rejected").count() == 1

    def test_control_without_the_lock_both_reviewers_decide(self):
        version = TuneVersionFactory(in_review=True, stored=True)

        assert race_all(self.acts(version, "reject", "reject"), row_locks=False) == ["ok", "ok"]
        assert AuditEvent.objects.filter(subject_id=version.pk, act="tune_version.rejected").count() == 2


@pytest.mark.django_db
class TestPostgresKeepsIt:
    def test_reviewed_bytes_never_change(self):
        version = TuneVersionFactory(published=True)
        file = version.files.get()

        with pytest.raises(IntegrityError, match="tunefile_immutable_once_inspected"), transaction.atomic():
            TuneFile.objects.filter(pk=file.pk).update(sha256="0" * 64, storage_key="")
        with pytest.raises(IntegrityError, match="tunefile_reviewed_stays"), transaction.atomic():
            TuneFile.objects.filter(pk=file.pk)._raw_delete("default")
        with pytest.raises(IntegrityError, match="tunefile_added_only_with_version"), transaction.atomic():
            TuneFile.objects.create(version=version, position=9, name="x", size_bytes=1, sha256="1" * 64, created_at=clock.now())
        with pytest.raises(IntegrityError, match="fitment_immutable"), transaction.atomic():
            Fitment.objects.filter(version=version).update(markets=["US"])
        with pytest.raises(IntegrityError, match="fitment_reviewed_stays"), transaction.atomic():
            Fitment.objects.filter(version=version)._raw_delete("default")

    @pytest.mark.parametrize(
        "change", [{"version": "9.9.9"}, {"emissions_class": "UNCHANGED"}, {"requirements": {}}, {"release_counter": 99}]
    )
    def test_a_published_version_keeps_what_was_signed(self, change):
        version = TuneVersionFactory(published=True)

        with pytest.raises(IntegrityError, match="tuneversion_immutable_once_published"), transaction.atomic():
            TuneVersion.objects.filter(pk=version.pk).update(**change)

    @pytest.mark.parametrize(
        ("trait", "change", "constraint"),
        [
            ("validated", {"status": "IN_REVIEW"}, "tuneversion_submitted_at_agrees"),
            ("in_review", {"status": "REJECTED"}, "tuneversion_decision_complete"),
            ("in_review", {"status": "PUBLISHED"}, "tuneversion_"),
            ("published", {"status": "ON_HOLD"}, "tuneversion_stopped_at_iff_stopped"),
            ("published", {"status": "WITHDRAWN"}, "tuneversion_withdrawn_at_iff_withdrawn"),
            ("validated", {"status": "INVALID"}, "tuneversion_inspected_iff_verdict"),
            ("validated", {"status": "LOST"}, "tuneversion_"),
            ("validated", {"version": "01.0.0"}, "tuneversion_number_is_semver"),
            ("validated", {"emissions_class": "CERTIFIED"}, "tuneversion_certified_has_number"),
        ],
    )
    def test_states_agree_with_their_timestamps(self, trait, change, constraint):
        version = TuneVersionFactory(**{trait: True})

        with pytest.raises(Exception, match=constraint), transaction.atomic():
            TuneVersion.objects.filter(pk=version.pk).update(**change)

    def test_a_key_names_its_bytes(self):
        version = TuneVersionFactory()

        with pytest.raises(IntegrityError, match="tunefile_key_is_its_hash"), transaction.atomic():
            TuneFile.objects.filter(version=version).update(storage_key="tunes/ab/abc")


@pytest.mark.django_db
class TestCost:
    @pytest.mark.parametrize("count", [1, 20])
    def test_a_history_takes_four_queries(self, django_assert_num_queries, count):
        tune = TuneFactory(published=True, version__version="1.0.0")
        for number in range(1, count):
            TuneVersionFactory(tune=tune, published=True, version=f"1.{number}.0")

        with django_assert_num_queries(4):  # tune, versions, files, fitments
            answer = ApiClient().get(f"marketplace/tunes/{tune.pk}/versions/")

        assert [row["version"] for row in answer.json()["results"]] == [f"1.{number}.0" for number in reversed(range(count))]

    def test_one_version_takes_three_queries_and_its_tuner_the_session_the_wait_and_the_place(self, django_assert_num_queries):
        version = TuneVersionFactory(published=True)
        client = client_for(version.tune.tuner.user)
        client.get("marketplace/favorites/")

        with django_assert_num_queries(3):
            ApiClient().get(f"marketplace/versions/{version.pk}/")
        with django_assert_num_queries(5):
            client.get(f"marketplace/versions/{version.pk}/")
        waiting = TuneVersionFactory(in_review=True, tune=version.tune)
        with django_assert_num_queries(6):  # its place in the queue
            client.get(f"marketplace/versions/{waiting.pk}/")


def test_deleting_a_tune_takes_its_versions_and_frees_nobody_elses(tune, client):
    version = TuneVersionFactory(tune=tune, published=True)

    assert client.delete(f"marketplace/tunes/{tune.pk}/").status_code == 204
    assert not Tune.objects.filter(pk=tune.pk).exists()
    assert not TuneVersion.objects.filter(pk=version.pk).exists()
