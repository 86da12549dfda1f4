"""Every sensitive act leaves its row: a walk over the endpoint table and over what staff may do in the admin."""

import re
import urllib.request
from datetime import timedelta

import pytest
from django.conf import settings
from django.core import mail
from django.urls import reverse

from core import clock, mfa
from core.admin_site import admin_urls, site
from core.ids import new_id
from core.models import AuditEvent
from core.tasks import enqueue
from core.tasks.models import DeadTask
from core.testing import matrix
from core.testing.admin import admin_client, decide
from core.testing.tasks import run_all
from garage.tests.factories import UnlistedNameFactory, VehicleFactory, VehicleModelFactory
from marketplace import payments
from marketplace.enums import DifferenceReason
from marketplace.models import WebhookEvent
from marketplace.services import flashes, stops
from marketplace.services.books import book_refund, book_refund_failed
from marketplace.services.differences import note_difference
from marketplace.tests.factories import (
    CaseAttachmentFactory,
    CaseFactory,
    DisputeFactory,
    LicenseFactory,
    RefundFactory,
    TuneFactory,
    TuneVersionFactory,
    sold,
)
from marketplace.tests.factories.trust import released_tune, released_version, ride_for
from revsync_backend.tests import recipes
from revsync_backend.urls import all_endpoints
from tuners.tests.factories import (
    ReviewAppealFactory,
    ReviewReportFactory,
    SuspensionAppealFactory,
    TunerApplicationFactory,
    TunerCertificationFactory,
    TunerProfileFactory,
    TunerReviewFactory,
)
from users.models import Notice, User
from users.services import log_in_staff
from users.tests.factories import PASSWORD, TOTP_SECRET, UserFactory

pytestmark = pytest.mark.django_db
ENDPOINTS = {endpoint.name: endpoint for endpoint in all_endpoints()}
ACT = re.compile(r"\A[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*\Z")

# What changes something and leaves no row, each with its reason. Whatever else is not a GET declares its act.
NOT_AUDITED = {
    "start_upload": "a file that nobody has used yet; what takes it is recorded",
    "renew_upload": "a file that nobody has used yet",
    "complete_upload": "a file that nobody has used yet",
    "register": "no account exists until the code comes, and a row would tell known addresses from unknown ones",
    "resend_challenge": "the same mail again",
    "request_password_reset": "a row would tell known addresses from unknown ones; the reset itself is recorded",
    "refresh_tokens": "every ten minutes on every phone; a token that comes back after use is recorded",
    "enrol_totp": "in force only when it is confirmed, which is recorded",
    "change_me": "a name that everybody sees; newer terms are recorded",
    "change_my_profile": "one's own words and picture",
    "change_my_device": "a name, or where pushes go",
    "change_notification_preferences": "mails about security and safety can't be turned off",
    "read_my_notice": "a mark of one's own",
    "change_tuner_application": "a draft; its submission is recorded",
    "change_own_tuner_profile": "words that everybody sees; rating, fees and state are not the tuner's to change",
    "follow_tuner": "a mark of one's own",
    "unfollow_tuner": "a mark of one's own",
    "add_vehicle": "one's own things; deleting and handing over are recorded",
    "update_vehicle": "one's own things",
    "add_mod": "one's own things",
    "update_mod": "one's own things",
    "delete_mod": "one's own things",
    "record_ecu_readout": "a row that is never changed and has its time and session's person itself",
    "decode_vin": "changes nothing",
    "sync_purchase": "asks the provider; what comes of it is recorded by the settlement",
    "receive_stripe_event": "asks the provider; what comes of it is recorded by the settlement",
    "check_installed": "changes nothing",
    "acknowledge_recall": "a row that is never changed and has its time and person itself",
    "add_favorite": "a mark of one's own",
    "remove_favorite": "a mark of one's own",
    "save_search": "a mark of one's own",
    "update_saved_search": "a mark of one's own",
    "delete_saved_search": "a mark of one's own",
    "update_tune": "words; another price is recorded",
    "update_tune_version": "a draft; its submission is recorded, and the files can't be changed",
}

# Acts that go with the one that the row declares
AND_ALSO = {
    "verify_email": {"session.started"},
    "change_password": {"session.ended"},
    "confirm_password_reset": {"session.ended"},
    "delete_me": {"session.ended"},
    "create_purchase": {"purchase.paid"},
    "create_refund": {"license.revoked"},
}

# What its person is told of at once, beside the row
TOLD = {
    "change_password", "confirm_password_reset", "request_email_change", "confirm_email_change",
    "confirm_totp", "disable_totp", "renew_recovery_codes", "open_payout_account",
}  # fmt: skip


def perform(endpoint, world):
    """Play the operation as the first role that may; the caller, the answer, and what was written to the log."""
    refused = []
    for role in dict.fromkeys((matrix.usual_role(endpoint), *matrix.ROLES)):
        if matrix.refusal_of(endpoint, role) is not None:
            continue
        with matrix.undone():
            caller = world.caller(role)
            call = recipes.recipe_for(endpoint.name)(world.kit(role), world)
            if call.refused is not None:
                continue
            matrix.ready(endpoint, caller)
            known = set(AuditEvent.objects.values_list("pk", flat=True))
            notices = set(Notice.objects.values_list("pk", flat=True))
            answer = matrix.send(caller, endpoint, call)
            if answer.status_code in {endpoint.status, endpoint.repeat_status}:
                events = list(AuditEvent.objects.exclude(pk__in=known).order_by("pk"))
                return caller, events, list(Notice.objects.exclude(pk__in=notices))
            refused.append(f"{role}: {matrix.summary(answer)}")
    pytest.fail(f"nobody succeeds: {refused}")


def assert_opaque(event, world):
    """No name, address or VIN of anybody stands in it."""
    said = f"{event.act} {event.facts} {event.reason}".lower()
    for kit in world.kits.values():
        for private in (kit.user.email, kit.user.display_name, kit.device.installation_id, kit.vehicle.vin):
            assert private.lower() not in said


@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_operation_records_what_it_declares(name, world):
    endpoint = ENDPOINTS[name]

    caller, events, _ = perform(endpoint, world)

    acts = {event.act for event in events}
    if not endpoint.audit:
        assert acts == set(), "declare it in the endpoint table"
        return
    assert endpoint.audit in acts
    assert acts - {endpoint.audit} <= AND_ALSO.get(name, set())
    for event in events:
        assert ACT.match(event.act)
        assert_opaque(event, world)
        if endpoint.access.__name__ != "Public":
            assert event.session_id == caller.device.pk, "from which session"
            assert event.actor_id in {caller.user.pk, None if event.act == "purchase.paid" else caller.user.pk}, "who"


def test_every_operation_that_changes_something_is_recorded_or_says_why_not():
    silent = {name for name, endpoint in ENDPOINTS.items() if endpoint.method != "GET" and not endpoint.audit}

    assert silent == NOT_AUDITED.keys()


@pytest.mark.parametrize("name", sorted(TOLD))
def test_a_change_of_the_account_is_told_to_its_person(name, world):
    endpoint = ENDPOINTS[name]

    caller, _, notices = perform(endpoint, world)

    assert [(notice.type, notice.category) for notice in notices if notice.user_id == caller.user.pk] == [("SECURITY", "SECURITY")]


def test_another_price_is_recorded(world):
    with matrix.undone():
        kit = world.kit("tuner")
        answer = world.caller("tuner").client().patch(f"marketplace/tunes/{kit.tune.pk}/", {"price_minor": 12_300})

        event = AuditEvent.objects.get(act="tune.price_changed")
        assert answer.status_code == 200
        assert (event.actor_id, event.session_id, event.facts["price_minor"]) == (kit.user.pk, kit.device.pk, 12_300)


# What staff decide


def _dead_task():
    enqueue("core.tasks.tests.sample_tasks.break_down")
    run_all(until=clock.now() + timedelta(days=30), raise_errors=False)
    return DeadTask.objects.first()


def _certified():
    application = TunerApplicationFactory(submitted=True)
    TunerCertificationFactory(owner=application.applicant, accepted=True)
    return application


def _in_review():
    return TuneVersionFactory(in_review=True, stored=True)


def _sold_version():
    return released_tune().versions.get()


def _second_version():
    return released_version(released_tune(), version="2.0.0")


def _held():
    version = _sold_version()
    stops.hold_version(actor=UserFactory(admin=True, mfa=True), version_id=version.pk, reason="Surging.", at=clock.now())
    return version


def _recalled():
    version, admin = _sold_version(), UserFactory(admin=True, mfa=True)
    stops.recall_version(actor=admin, version_id=version.pk, severity="stop_flash", reason="It bricks ECUs.", at=clock.now())
    return version


def _proposed():
    version = _recalled()
    stops.propose_unrecall(actor=UserFactory(admin=True, mfa=True), version_id=version.pk, reason="It was false.", at=clock.now())
    return version


def _with_unreported_tickets():
    ride = ride_for()
    ride.ticket()
    flashes.expire_tickets(at=ride.at + timedelta(hours=73))
    return ride.license


def _hashes(version):
    return {"approved_sha256": list(version.files.values_list("sha256", flat=True))}


def _parked_event():
    at = clock.now()
    return WebhookEvent.objects.create(
        event_id="evt_parked", type="x", livemode=False, created_at_provider=at, received_at=at, status="PARKED", finished_at=at
    )


def _payment_of_nobody():
    """Captured at the provider, and no purchase of ours."""
    key = new_id().hex
    intent = payments.create_intent(key=key, amount_minor=500, currency="EUR", description="x", metadata={"purchase": key})
    with urllib.request.urlopen(f"{settings.STRIPE_API_BASE}/pay/{intent.id}", data=b"outcome=succeed", timeout=10):
        pass
    intent = payments.get_intent(intent.id)
    return note_difference(object_id=intent.id, intent=intent, reason=DifferenceReason.NOBODYS, ours="nothing", at=clock.now())


def _owed_refund():
    refund = RefundFactory(purchase=sold(), case=None, cause="REQUEST", reserved_at=clock.now(), status="FAILED", failure_code="x",
                           ended_at=clock.now())  # fmt: skip
    book_refund(purchase=refund.purchase, refund_id=refund.pk, amount_minor=refund.amount_minor, at=clock.now())
    book_refund_failed(purchase=refund.purchase, refund_id=refund.pk, amount_minor=refund.amount_minor, at=clock.now())
    return refund


# How each decision is reached: a row in the state that it needs, its act, and the fields that it asks for beside the reason.
DECISIONS = {
    ("core.DeadTask", "retry"): (_dead_task, "task.retried", {}),
    ("core.DeadTask", "dismiss"): (_dead_task, "task.dismissed", {}),
    ("users.User", "role"): (UserFactory, "user.role_changed", {"role": "ADMIN"}),
    ("users.User", "sessions"): (UserFactory, "user.sessions_ended", {}),
    ("users.User", "block"): (UserFactory, "user.blocked", {}),
    ("users.User", "unblock"): (lambda: UserFactory(blocked=True), "user.unblocked", {}),
    ("tuners.TunerApplication", "approve"): (_certified, "tuner_application.approved", {}),
    ("tuners.TunerApplication", "request-information"): (_certified, "tuner_application.information_requested", {}),
    ("tuners.TunerApplication", "reject"): (_certified, "tuner_application.rejected", {}),
    ("tuners.TunerCertification", "accept"): (TunerCertificationFactory, "tuner_certification.accepted", {}),
    ("tuners.TunerCertification", "refuse"): (TunerCertificationFactory, "tuner_certification.refused", {}),
    ("tuners.TunerProfile", "suspend"): (TunerProfileFactory, "tuner.suspended", {"cause": "CONDUCT"}),
    ("tuners.TunerProfile", "reinstate"): (lambda: TunerProfileFactory(suspended=True), "tuner.reinstated", {}),
    ("tuners.SuspensionAppeal", "accept"): (SuspensionAppealFactory, "tuner_appeal.accepted", {}),
    ("tuners.SuspensionAppeal", "reject"): (SuspensionAppealFactory, "tuner_appeal.rejected", {}),
    ("tuners.ReviewAppeal", "accept"): (ReviewAppealFactory, "review_appeal.accepted", {}),
    ("tuners.ReviewAppeal", "reject"): (ReviewAppealFactory, "review_appeal.rejected", {}),
    ("tuners.TunerReview", "hide"): (TunerReviewFactory, "review.hidden", {}),
    ("tuners.TunerReview", "restore"): (lambda: TunerReviewFactory(hidden=True), "review.restored", {}),
    ("tuners.ReviewReport", "uphold"): (ReviewReportFactory, "review.hidden", {}),
    ("tuners.ReviewReport", "dismiss"): (ReviewReportFactory, "review_report.dismissed", {}),
    ("garage.Vehicle", "rescue"): (lambda: VehicleFactory(with_stock=True), "rescue_link.made", {}),
    ("garage.UnlistedName", "merge"): (UnlistedNameFactory, "unlisted_name.merged", lambda _name: {"into": str(VehicleModelFactory())}),
    ("marketplace.TuneVersion", "publish"): (_in_review, "tune_version.published", _hashes),
    ("marketplace.TuneVersion", "request-changes"): (_in_review, "tune_version.changes_requested", {"cause": "DESCRIPTION_UNCLEAR"}),
    ("marketplace.TuneVersion", "reject"): (_in_review, "tune_version.rejected", {"cause": "DESCRIPTION_UNCLEAR"}),
    ("marketplace.TuneVersion", "hold"): (_sold_version, "tune_version.held", {"severity": "stop_flash"}),
    ("marketplace.TuneVersion", "release"): (_held, "tune_version.hold_released", {}),
    ("marketplace.TuneVersion", "recall"): (_sold_version, "tune_version.recalled", {"severity": "stop_flash"}),
    ("marketplace.TuneVersion", "floor"): (_second_version, "tune.floor_raised", {"severity": "restore_stock"}),
    ("marketplace.TuneVersion", "propose-unrecall"): (_recalled, "tune_version.unrecall_proposed", {}),
    ("marketplace.TuneVersion", "unrecall"): (_proposed, "tune_version.unrecalled", {}),
    ("marketplace.WebhookEvent", "retry"): (_parked_event, "webhook_event.retried", {}),
    ("marketplace.ProviderDifference", "refund"): (_payment_of_nobody, "difference.refunded", {}),
    ("marketplace.ProviderDifference", "dismiss"): (_payment_of_nobody, "difference.dismissed", {}),
    ("marketplace.Purchase", "open-case"): (sold, "case.opened", {"kind": "OTHER"}),
    ("marketplace.Case", "answer"): (CaseFactory, "case.answered", {"wait_for": "WAITING_RIDER"}),
    ("marketplace.Case", "decide"): (lambda: RefundFactory(purchase=sold()).case, "case.resolved", {"outcome": "FULL_REFUND"}),
    ("marketplace.Refund", "note-repayment"): (_owed_refund, "refund.repaid", {}),
    ("marketplace.Dispute", "submit-evidence"): (DisputeFactory, "dispute.evidence_submitted", {}),
    ("marketplace.Tune", "suspend"): (lambda: TuneFactory(published=True), "tune.suspended", {"cause": "MISLEADING"}),
    ("marketplace.License", "free"): (lambda: LicenseFactory(bound=True), "license.freed", {}),
    ("marketplace.License", "excuse-tickets"): (_with_unreported_tickets, "license.tickets_excused", {}),
    ("marketplace.Tune", "unsuspend"): (lambda: TuneFactory(suspended=True), "tune.unsuspended", {}),
}
TOLD_BY_STAFF = ("role", "sessions", "block", "unblock")


def test_every_decision_of_the_admin_is_walked():
    admin_urls()
    there = {(model._meta.label, decision.name) for model, admin in site._registry.items() for decision in getattr(admin, "decisions", ())}

    assert there == DECISIONS.keys()


@pytest.mark.parametrize(("label", "name"), DECISIONS)
def test_a_decision_records_who_what_why_and_from_where(label, name, world):
    make, act, fields = DECISIONS[label, name]
    row, admin = make(), UserFactory(admin=True, mfa=True)
    known = set(AuditEvent.objects.values_list("pk", flat=True))
    given = fields(row) if callable(fields) else fields

    answer = decide(admin_client(admin), row, name, reason="Seen and judged.", **given)

    assert answer.status_code == 302, answer.context_data["form"].errors
    events = AuditEvent.objects.exclude(pk__in=known)
    (event,) = [event for event in events if event.act == act]
    assert (event.actor_id, event.reason) == (admin.pk, "Seen and judged.")
    assert all(event.session_id is not None for event in events)


def test_signing_in_to_the_admin_is_told_to_its_person():
    admin = UserFactory(admin=True, mfa=True)

    log_in_staff(email=admin.email, password=PASSWORD, code=mfa.code_of(TOTP_SECRET, at=clock.now()), peer="203.0.113.9", at=clock.now())

    assert Notice.objects.get(user=admin).title == "You signed in to the admin"


@pytest.mark.parametrize("name", TOLD_BY_STAFF)
def test_what_staff_do_to_an_account_is_told_to_its_person(name):
    make, _, fields = DECISIONS["users.User", name]
    person: User = make()

    decide(admin_client(), person, name, reason="Seen and judged.", **fields)
    run_all()

    notice = Notice.objects.get(user=person)
    assert notice.category == "SECURITY" and "Seen and judged." in notice.body
    assert [message.to for message in mail.outbox] == [[person.email]]


@pytest.mark.parametrize(
    ("url", "make", "act"),
    [
        ("admin:marketplace_tunefile_open", lambda: _in_review().files.get(), "tune_file.opened"),
        ("admin:tuners_tunercertification_file", TunerCertificationFactory, "tuner_certification.opened"),
        ("admin:marketplace_case_file", CaseAttachmentFactory, "case_file.opened"),
    ],
)
def test_each_opening_of_a_private_file_is_recorded(url, make, act):
    row, admin = make(), UserFactory(admin=True, mfa=True)

    assert admin_client(admin).get(reverse(url, args=[row.pk])).status_code == 302

    event = AuditEvent.objects.get(act=act)
    assert (event.actor_id, event.subject_id) == (admin.pk, row.pk) and event.session_id is not None
