"""Every list of the admin with rows in it, and a row's own page from each; and the dead tasks, which staff may retry."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django_tasks_db.models import DBTaskResult

from core import clock, limits
from core.admin_site import admin_urls, site
from core.ids import new_id
from core.models import AuditEvent, AuditHeadCopy, AuditSeal, IdempotencyRecord
from core.tasks import enqueue
from core.tasks.models import DeadTask, ScheduleEntry, TaskWorker
from core.testing.admin import admin_client, decide, list_of, page_of
from core.testing.tasks import run_all
from core.uploads.tests.factories import UploadFactory
from garage.models import VehicleTransfer
from garage.tests.factories import (
    MakeAliasFactory,
    ModelAliasFactory,
    NoReadBackConsentFactory,
    RescueLinkFactory,
    UnlistedNameFactory,
    VehicleFactory,
    VehicleGenerationFactory,
    VehicleModFactory,
)
from marketplace.models import (
    AppVersionBlock,
    CounterFloor,
    LedgerSet,
    ProviderDifference,
    ProviderWatch,
    RevokedKey,
    StoredFileCheck,
    WebhookEvent,
)
from marketplace.services import status, stops
from marketplace.tests.factories import (
    CaseAttachmentFactory,
    DisputeFactory,
    FavoriteFactory,
    FileXRayFactory,
    PaymentAttemptFactory,
    PayoutFactory,
    RefundFactory,
    TuneVersionFactory,
)
from marketplace.tests.factories.trust import ride_for
from tuners import services as tuner_services
from tuners.tests.factories import (
    ReviewAppealFactory,
    ReviewReportFactory,
    SuspensionAppealFactory,
    TunerApplicationFactory,
    TunerCertificationFactory,
    TunerFollowFactory,
    TunerReviewFactory,
)
from users.enums import ChallengeKind, NoticeCategory
from users.models import AccountDeletion, Challenge, DataExport, NotificationPreference, RecoveryCode
from users.tests.factories import NoticeFactory, UserDeviceFactory, UserFactory

HOSTILE = "<script>alert('row')</script>"
BREAKS = "core.tasks.tests.sample_tasks.break_down"


@pytest.fixture
def world():
    make_rows()


def make_rows():
    """At least one row of every table that the admin shows, as real as factories and services make it."""
    at = clock.now()
    rider = UserFactory(mfa=True, display_name=HOSTILE)
    UserDeviceFactory(user=rider, name=HOSTILE)
    NoticeFactory(user=rider, title=HOSTILE)
    NotificationPreference.objects.create(user=rider, category=NoticeCategory.SOCIAL, mail=False)
    RecoveryCode.objects.create(user=rider, code_hash=b"x" * 32)
    Challenge.objects.create(kind=ChallengeKind.REGISTER, address_hash=b"y" * 32, expires_at=at + timedelta(minutes=15))

    vehicle = VehicleFactory(owner=rider, with_stock=True)
    VehicleModFactory(vehicle=vehicle, part=HOSTILE)
    NoReadBackConsentFactory(vehicle=vehicle, given_by=rider)
    VehicleTransfer.objects.create(
        vehicle=vehicle, offered_by=rider, code_hash=b"z" * 32, tries_left=5, offered_at=at, expires_at=at + timedelta(days=7)
    )
    MakeAliasFactory()
    ModelAliasFactory()
    VehicleGenerationFactory()
    UnlistedNameFactory()

    TunerApplicationFactory(submitted=True, business_name=HOSTILE)
    TunerCertificationFactory(issuer=HOSTILE)
    review = TunerReviewFactory(text=HOSTILE)
    tuner_services.edit_review(author=review.buyer, review_id=review.pk, rating=1, at=at)
    ReviewReportFactory(text=HOSTILE)
    ReviewAppealFactory(text=HOSTILE)
    TunerFollowFactory()
    SuspensionAppealFactory(text=HOSTILE)

    ride = ride_for()
    ride.report(ride.ticket())
    FavoriteFactory(tune=ride.tune)
    PaymentAttemptFactory()
    stop = stops.hold_version(actor=UserFactory(admin=True, mfa=True), version_id=ride.version.pk, reason=HOSTILE, at=at)
    stops.acknowledge_stop(rider=ride.buyer, stop_id=stop.stops.get().pk, at=at)
    FileXRayFactory(file=TuneVersionFactory().files.get())
    status.publish_status(at=at)
    CounterFloor.objects.create(tune_id=ride.tune.pk, least_counter=2, since=at)
    RevokedKey.objects.create(keyid="ab" * 32, role="ticket", reason=HOSTILE, revoked_at=at)
    AppVersionBlock.objects.create(app_version="1.2.3", reason=HOSTILE, blocked_at=at)
    StoredFileCheck.objects.get_or_create(storage_key="tunes/ab/cd", defaults={"etag": "e", "modified_at": at, "checked_at": at})
    ProviderWatch.objects.create(watched_at=at, walked_at=at)
    ProviderDifference.objects.create(object_id="pi_1", reason="NOBODYS", ours=HOSTILE, found_at=at, seen_at=at)
    WebhookEvent.objects.create(event_id="evt_1", type="payment_intent.succeeded", livemode=False, created_at_provider=at, received_at=at)

    CaseAttachmentFactory(message__text=HOSTILE, name=HOSTILE)
    RefundFactory()
    PayoutFactory(paid=True)
    DisputeFactory(reason=HOSTILE, evidence={"messages": [{"text": HOSTILE}]}, evidence_text=HOSTILE)

    AuditSeal.objects.create(number=1, previous_hash=b"p", hash=b"h", sealed_at=at, row_count=1, entries=b"e" * 56)
    AuditHeadCopy.objects.create(last_number=1, first_number=1, hash=b"h", key="audit/1", copied_at=at)
    DataExport.objects.create(user=rider)
    AccountDeletion.objects.create(user_id=new_id(), deleted_at=at, receipt={}, hash_key_id="k", trace_hashes=[])
    RescueLinkFactory(vehicle=vehicle)

    UploadFactory(name=HOSTILE)
    IdempotencyRecord.objects.create(
        actor_id=rider.pk, operation="add_vehicle", key="k", fingerprint=b"f", lease_id=new_id(), lease_expires_at=at, expires_at=at
    )
    limits.hit("purchases_account", rider.pk, at=at)
    TaskWorker.objects.create(host="host", pid=1, started_at=at, heartbeat_at=at)
    ScheduleEntry.objects.update_or_create(name="publish_status", defaults={"slot_at": at})
    dead_task()


def dead_task():
    """A task of ours that has failed as often as it may."""
    enqueue(BREAKS)
    run_all(until=clock.now() + timedelta(days=30), raise_errors=False)
    return DeadTask.objects.filter(task_path=BREAKS).first()


@pytest.mark.django_db
def test_what_a_decision_asks_for_can_be_seen(world):
    """A field without the theme's own widget has neither border nor background."""
    admin_urls()
    plain = []
    for model, admin in site._registry.items():
        row = model._default_manager.first()
        for decision in admin.decisions if row is not None else ():
            fields = admin._decision_form(decision, row, None).fields.items()
            plain += [(model._meta.label, decision.name, name) for name, field in fields if "unfold" not in type(field.widget).__module__]
    assert not plain


@pytest.mark.django_db
def test_every_list_and_a_page_of_each_open_with_rows(world):
    admin_urls()
    client = admin_client()
    empty = []
    for model in site._registry:
        row = model._default_manager.first()
        if row is None:
            empty.append(model._meta.label)
            continue
        assert HOSTILE not in list_of(client, model)
        assert HOSTILE not in page_of(client, row)

    assert set(empty) <= {LedgerSet._meta.label, "marketplace.LedgerEntry"}


@pytest.mark.django_db
class TestDeadTasks:
    def test_are_retried_with_a_reason(self):
        client, task = admin_client(), dead_task()

        assert decide(client, task, "retry").status_code == 200
        assert decide(client, task, "retry", reason="The store is back.").status_code == 302

        assert DBTaskResult.objects.get(pk=task.pk).status == "READY"
        assert AuditEvent.objects.get(act="task.retried").reason == "The store is back."

    def test_or_dismissed(self):
        client, task = admin_client(), dead_task()

        answer = decide(client, task, "dismiss", reason="Nobody needs it.")

        assert answer.headers["Location"] == reverse("admin:core_deadtask_changelist")
        assert not DBTaskResult.objects.filter(pk=task.pk).exists()

    def test_show_their_traceback(self):
        assert "Traceback" in page_of(admin_client(), dead_task())
