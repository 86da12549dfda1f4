"""Cases: who may see and say what, whom they wait for, and what happens when nobody answers."""

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from core import clock
from core.testing.admin import admin_client, decide, list_of, page_of
from core.testing.http import client_for
from core.uploads.tests.factories import stored_upload
from marketplace.enums import CaseKind, CaseStatus
from marketplace.models import Case, CaseMessage, Refund
from marketplace.services import cases
from marketplace.tests.factories import CaseFactory, CaseMessageFactory, PurchaseFactory, RefundFactory, sold
from users.models import Notice, User
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db
CARD = "4242 4242 4242 4242"
CARDS = (f"Charge my card {CARD}", "5555-5555-5555-4444", "amex 378282246310005", "\uff14\uff12" * 8)


def staff_ids():
    """Every admin: those who reviewed the tune as well."""
    return list(User.objects.filter(role="ADMIN").values_list("pk", flat=True))


@pytest.fixture
def sides():
    """A sale: (rider's client, tuner's client, staff's client, purchase)."""
    purchase = PurchaseFactory(paid=True)
    staff = UserFactory(admin=True, mfa=True)
    return client_for(purchase.buyer), client_for(purchase.tuner.user), client_for(staff), purchase


def open_one(client, purchase, **changes):
    body = {"purchase": str(purchase.pk), "kind": "OTHER", "text": "It idles roughly since the flash.", **changes}
    return client.post("marketplace/cases/", body)


def say(client, case_id, text="With 98 octane it runs well.", **changes):
    return client.post(f"marketplace/cases/{case_id}/messages/", {"text": text, **changes})


def status_of(case_id):
    return Case.objects.get(pk=case_id).status


class TestTalking:
    def test_all_three_sides_see_and_say(self, sides):
        rider, tuner, staff, purchase = sides
        opened = open_one(rider, purchase)
        case_id = opened.json()["id"]

        waits = [opened.json()["status"]]
        for client in (tuner, rider, staff):
            assert say(client, case_id).status_code == 201
            waits.append(status_of(case_id))

        assert opened.status_code == 201
        assert waits == ["OPEN", "WAITING_RIDER", "WAITING_TUNER", "WAITING_RIDER"]
        for client in (rider, tuner, staff):
            shown = client.get(f"marketplace/cases/{case_id}/").json()
            assert [message["author"] for message in shown["messages"]] == ["RIDER", "TUNER", "RIDER", "STAFF"]
            assert case_id in [row["id"] for row in client.get("marketplace/cases/").json()["results"]]

    def test_a_tuner_opens_one_about_a_sale_and_learns_nothing_of_the_buyer(self, sides):
        _, tuner, _, purchase = sides
        answer = open_one(tuner, purchase)

        assert answer.status_code == 201
        assert answer.json()["messages"][0]["author"] == "TUNER"
        for private in (purchase.buyer.email, purchase.buyer.display_name, str(purchase.buyer_id)):
            assert private not in answer.content.decode()

    def test_others_see_nothing(self, sides):
        rider, _, _, purchase = sides
        case_id = open_one(rider, purchase).json()["id"]
        stranger, other_tuner = client_for(UserFactory()), client_for(PurchaseFactory(paid=True).tuner.user)

        for client in (stranger, other_tuner):
            for answer in (
                client.get(f"marketplace/cases/{case_id}/"),
                say(client, case_id),
                open_one(client, purchase, kind="FLASH_FAILURE"),
            ):
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
            assert client.get("marketplace/cases/").json()["results"] == []

    def test_an_admin_without_a_second_factor_is_no_staff_here(self, sides):
        rider, _, _, purchase = sides
        case_id = open_one(rider, purchase).json()["id"]

        assert client_for(UserFactory(admin=True)).get(f"marketplace/cases/{case_id}/").status_code == 404

    def test_one_of_a_kind_is_open(self, sides):
        rider, tuner, _, purchase = sides
        first = open_one(rider, purchase).json()["id"]

        again = open_one(tuner, purchase)

        assert (again.status_code, again.json()["code"], again.json()["case"]) == (409, "case_already_open", first)
        assert open_one(rider, purchase, kind="FLASH_FAILURE").status_code == 201
        assert CaseMessage.objects.count() == 2

    def test_a_refund_case_is_opened_by_asking_for_a_refund(self, sides):
        rider, _, _, purchase = sides
        answer = open_one(rider, purchase, kind="REFUND")

        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/kind")

    def test_a_message_that_is_sent_twice_is_one(self, sides):
        rider, tuner, _, purchase = sides
        case_id, message_id = open_one(rider, purchase).json()["id"], str(uuid.uuid4())

        first, again = say(rider, case_id, id=message_id), say(rider, case_id, id=message_id)
        other, foreign = say(rider, case_id, "Another text.", id=message_id), say(tuner, case_id, id=message_id)

        assert (first.status_code, again.status_code, first.json()) == (201, 200, again.json())
        assert [(answer.status_code, answer.json()["code"]) for answer in (other, foreign)] == [(409, "id_taken")] * 2
        assert CaseMessage.objects.count() == 2

    def test_a_resolved_case_takes_no_message_but_answers_the_one_it_has(self, sides):
        rider, _, _, purchase = sides
        case_id, message_id = open_one(rider, purchase).json()["id"], str(uuid.uuid4())
        say(rider, case_id, id=message_id)
        with transaction.atomic():
            cases.resolve_case(cases.lock_case(case_id), resolution="SOLVED", reason="Solved.", actor_id=None, at=clock.now())

        assert say(rider, case_id, id=message_id).status_code == 200
        assert (say(rider, case_id).status_code, say(rider, case_id).json()["code"]) == (409, "case_resolved")
        assert open_one(rider, purchase).status_code == 201, "a new one may be opened"

    def test_who_did_not_write_is_told_once_and_not_what(self, sides):
        rider, tuner, _, purchase = sides
        case_id = open_one(rider, purchase, text="A private word.").json()["id"]
        say(tuner, case_id)

        told = [(notice.user_id, notice.type) for notice in Notice.objects.all()]
        assert sorted(told, key=str) == sorted([(purchase.tuner.user_id, "CASE"), (purchase.buyer_id, "CASE")], key=str)
        assert not Notice.objects.filter(body__contains="A private word").exists()

    def test_free_and_refunded_purchases_can_be_talked_about_unpaid_ones_not(self):
        for state, status in (({"free": True}, 201), ({"refunded": True}, 201), ({}, 409)):
            purchase = PurchaseFactory(**state)
            assert open_one(client_for(purchase.buyer), purchase).status_code == status

    @pytest.mark.parametrize("text", [*CARDS, "", " ", "a" * 4001, 7, None])
    def test_bad_text_is_refused_and_nothing_changes(self, sides, text, caplog, capfd):
        rider, _, _, purchase = sides
        case_id = open_one(rider, purchase).json()["id"]

        answers = [say(rider, case_id, text), open_one(rider, purchase, kind="FLASH_FAILURE", text=text)]

        for answer in answers:
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/text")
            if isinstance(text, str) and "4" in text:
                assert answer.json()["errors"][0]["code"] == "card_number"
                assert "4242" not in answer.content.decode()
        assert CaseMessage.objects.count() == 1
        logged = caplog.text + "".join(capfd.readouterr())
        assert not isinstance(text, str) or len(text.strip()) < 12 or text not in logged

    def test_a_card_number_is_refused_in_reviews_replies_descriptions_and_refund_reasons_too(self, sides):
        rider, tuner, _, purchase = sides
        text = f"Pay to {CARD}, please."
        answers = [
            rider.post(f"tuners/{purchase.tuner_id}/reviews/", {"tune": str(purchase.tune_id), "rating": 1, "text": text}),
            rider.post(f"marketplace/purchases/{purchase.pk}/refunds/", {"reason": text}, HTTP_IDEMPOTENCY_KEY="k"),
            rider.post(f"marketplace/purchases/{purchase.pk}/license/release/", {"reason": text}),
            tuner.patch(f"marketplace/tunes/{purchase.tune_id}/", {"description": text}),
            tuner.patch(f"marketplace/tunes/{purchase.tune_id}/", {"title": text}),
        ]

        assert [(answer.status_code, answer.json()["errors"][0]["code"]) for answer in answers] == [(400, "card_number")] * 5


class TestSomebodyLeft:
    """A case that waits for a person who deleted the account would wait for nobody: it is staff's from the start."""

    def leave(self, user):
        User.objects.filter(pk=user.pk).update(is_active=False, role="RIDER", deleted_at=clock.now())

    def test_a_case_about_a_sale_of_a_tuner_who_left_is_staffs_at_once(self, sides):
        rider, _, _, purchase = sides
        self.leave(purchase.tuner.user)

        answer = open_one(rider, purchase)

        case = Case.objects.get()
        assert (answer.status_code, answer.json()["status"]) == (201, "WAITING_STAFF")
        assert case.due_at - case.created_at == timedelta(hours=48)
        assert set(Notice.objects.filter(type="CASE").values_list("user_id", flat=True)) == set(staff_ids())

    def test_so_is_one_that_the_system_opens(self, sides):
        _, _, _, purchase = sides
        self.leave(purchase.tuner.user)

        case = cases.open_case(purchase_id=purchase.pk, kind=CaseKind.FLASH_FAILURE, text="A write failed.", at=clock.now())

        assert case.status == CaseStatus.WAITING_STAFF

    def test_an_answer_of_the_rider_goes_back_to_staff_and_never_to_who_left(self, sides):
        rider, _, staff, purchase = sides
        case_id = open_one(rider, purchase).json()["id"]
        self.leave(purchase.tuner.user)

        waits = []
        for client in (staff, rider):
            assert say(client, case_id).status_code == 201
            waits.append(status_of(case_id))
        cases.add_message(author=staff.user, case_id=uuid.UUID(case_id), text="Ask them.", wait_for="WAITING_TUNER", at=clock.now())

        assert [*waits, status_of(case_id)] == ["WAITING_RIDER", "WAITING_STAFF", "WAITING_STAFF"]

    def test_a_rider_who_left_is_not_waited_for(self, sides):
        _, tuner, _, purchase = sides
        self.leave(purchase.buyer)

        assert open_one(tuner, purchase).json()["status"] == "WAITING_STAFF"


class TestFiles:
    def test_a_file_is_seen_by_those_of_the_case(self, sides):
        rider, tuner, _, purchase = sides
        upload = stored_upload(
            content=b"%PDF-", owner_id=purchase.buyer_id, purpose="CASE_FILE", ready=True, name="log.pdf", content_type="application/pdf"
        )
        case_id = open_one(rider, purchase, attachments=[str(upload.pk)]).json()["id"]

        shown = tuner.get(f"marketplace/cases/{case_id}/").json()["messages"][0]["attachments"][0]

        assert (shown["name"], shown["content_type"], shown["sha256"]) == ("log.pdf", "application/pdf", upload.sha256)
        assert "X-Amz-Expires=60" in shown["url"] and "attachment" in shown["url"]

    def test_somebody_elses_a_used_one_another_purpose_and_too_many_are_refused(self, sides):
        rider, _, _, purchase = sides
        own = {"owner_id": purchase.buyer_id, "ready": True}
        uploads = {
            "upload_not_found": stored_upload(content=b"1", owner_id=uuid.uuid4(), purpose="CASE_FILE", ready=True),
            "upload_used": stored_upload(content=b"2", purpose="CASE_FILE", owner_id=purchase.buyer_id, used=True),
            "upload_wrong_purpose": stored_upload(content=b"3", purpose="AVATAR", **own),
        }
        for code, upload in uploads.items():
            answer = open_one(rider, purchase, attachments=[str(upload.pk)])
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, code)
            assert answer.json()["errors"][0]["pointer"] == "/attachments/0"
        many = open_one(rider, purchase, attachments=[str(uuid.uuid4()) for _ in range(6)])
        twice = open_one(rider, purchase, attachments=[str(uuid.UUID(int=5))] * 2)

        assert (many.status_code, twice.status_code) == (400, 400)
        assert not Case.objects.exists()


class TestTheSystem:
    def test_it_opens_one_once_for_each_cause_and_writes_into_the_open_one(self):
        purchase = PurchaseFactory(paid=True)
        how = {"purchase_id": purchase.pk, "kind": CaseKind.FLASH_FAILURE, "at": clock.now()}

        first = cases.open_case(text="The first failed.", dedupe_key="flash:1", flash_id=uuid.uuid4(), **how)
        again = cases.open_case(text="The first failed.", dedupe_key="flash:1", **how)
        second = cases.open_case(text="The second failed.", dedupe_key="flash:2", **how)

        assert first.pk == again.pk == second.pk
        assert [message.author for message in CaseMessage.objects.all()] == ["SYSTEM"] * 2
        assert Notice.objects.filter(user=purchase.buyer).count() == 2


class TestChasing:
    @pytest.mark.parametrize(
        ("status", "awaited"), [("OPEN", "tuner"), ("WAITING_TUNER", "tuner"), ("WAITING_RIDER", "rider"), ("WAITING_STAFF", "staff")]
    )
    def test_who_must_answer_is_reminded_once(self, sides, status, awaited):
        rider, tuner, staff, purchase = sides
        case = CaseFactory(purchase=purchase, status=status)
        who = {"rider": rider.user, "tuner": tuner.user, "staff": staff.user}[awaited]
        at = case.due_at if status == "WAITING_STAFF" else case.due_at - timedelta(hours=24)

        chased = [cases.chase_cases(at=at + step) for step in (-timedelta(minutes=1), timedelta(0), timedelta(minutes=10))]

        assert chased == [0, 1, 0]
        told = [notice.user_id for notice in Notice.objects.all()]
        assert sorted(told) == sorted(staff_ids() if awaited == "staff" else [who.pk])

    @pytest.mark.parametrize("status", ["OPEN", "WAITING_TUNER", "WAITING_RIDER"])
    def test_what_nobody_answered_goes_to_staff_and_stays_there(self, sides, status):
        rider, tuner, _staff, purchase = sides
        case = CaseFactory(purchase=purchase, status=status)

        assert [cases.chase_cases(at=case.due_at), cases.chase_cases(at=case.due_at)] == [1, 0]

        late = Case.objects.get()
        assert (late.status, late.escalated_at, late.due_at) == ("WAITING_STAFF", case.due_at, case.due_at + timedelta(hours=48))
        assert {notice.user_id for notice in Notice.objects.all()} == {rider.user.pk, tuner.user.pk, *staff_ids()}
        say(rider, case.pk)
        say(tuner, case.pk)
        assert status_of(case.pk) == CaseStatus.WAITING_STAFF

    def test_what_staff_let_lie_stands_in_nobodys_way(self, monkeypatch):
        monkeypatch.setattr(cases, "CHASED_AT_ONCE", 1)
        lying, late = CaseFactory(status=CaseStatus.WAITING_STAFF), CaseFactory(status=CaseStatus.WAITING_TUNER)
        Case.objects.filter(pk=late.pk).update(due_at=lying.due_at + timedelta(minutes=1))
        at = lying.due_at + timedelta(minutes=2)

        assert [cases.chase_cases(at=at) for _ in range(3)] == [1, 1, 0]

        assert status_of(late.pk) == CaseStatus.WAITING_STAFF

    def test_a_tuners_word_on_a_refund_goes_to_staff(self):
        wish = RefundFactory()
        say(client_for(wish.purchase.tuner.user), wish.case_id)

        assert status_of(wish.case_id) == CaseStatus.WAITING_STAFF


class TestStaff:
    def test_they_answer_and_decide_in_the_admin(self):
        wish = RefundFactory(purchase=sold())
        client = admin_client()

        assert wish.purchase.number in list_of(client, Case)
        assert "It idles roughly since the flash." in page_of(client, wish.case)
        decide(client, wish.case, "answer", reason="Which fuel do you use?", wait_for="WAITING_RIDER")
        asked = status_of(wish.case_id)
        decide(client, wish.case, "decide", reason="It never ran.", outcome="PARTIAL_REFUND", amount_minor=4900)

        assert asked == CaseStatus.WAITING_RIDER
        assert (status_of(wish.case_id), Refund.objects.get().amount_minor) == (CaseStatus.RESOLVED, 4900)

    def test_a_file_is_opened_by_a_short_link_and_that_is_audited(self, sides):
        from core.models import AuditEvent

        rider, _, _, purchase = sides
        upload = stored_upload(content=b"x", owner_id=purchase.buyer_id, purpose="CASE_FILE", ready=True, content_type="image/png")
        case_id = open_one(rider, purchase, attachments=[str(upload.pk)]).json()["id"]
        attachment = CaseMessage.objects.get(case_id=case_id).attachments.get()

        answer = admin_client().get(f"/admin/marketplace/case/{attachment.pk}/file/")

        assert answer.status_code == 302 and "X-Amz-Expires=60" in answer["Location"]
        assert AuditEvent.objects.filter(act="case_file.opened", subject_id=attachment.pk).count() == 1


class TestRows:
    def test_what_was_said_is_only_blanked(self):
        message = CaseMessageFactory()
        with pytest.raises(IntegrityError, match="casemessage_is_final"), transaction.atomic():
            CaseMessage.objects.filter(pk=message.pk).update(text="Something else.")
        with pytest.raises(IntegrityError, match="casemessage_is_never_deleted"), transaction.atomic():
            message.delete()
        assert CaseMessage.objects.filter(pk=message.pk).update(text="") == 1

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("case_resolved_iff_decided", {"status": "RESOLVED"}),
            ("case_resolved_iff_decided", {"due_at": None}),
            ("case_status_known", {"status": "LOST"}),
        ],
    )
    def test_states_agree(self, name, change):
        case = CaseFactory()
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            Case.objects.filter(pk=case.pk).update(**change)

    def test_a_decision_is_final(self):
        case = CaseFactory(resolved=True)
        with pytest.raises(IntegrityError, match="case_decision_is_final"), transaction.atomic():
            Case.objects.filter(pk=case.pk).update(status="OPEN", due_at=clock.now(), resolution="", resolved_at=None)


class TestQueries:
    def test_a_list_and_a_case_take_the_same_queries_however_long(self, sides):
        rider, _, _, purchase = sides
        case_id = open_one(rider, purchase).json()["id"]
        paths = ("marketplace/cases/", f"marketplace/cases/{case_id}/")

        def count(path):
            with CaptureQueriesContext(connection) as queries:
                assert rider.get(path).status_code == 200
            return len(queries)

        few = [count(path) for path in paths]
        for _ in range(20):
            CaseFactory(purchase=purchase, resolved=True)
            CaseMessageFactory(case_id=case_id, case=Case.objects.get(pk=case_id))
        assert [count(path) for path in paths] == few == [2, 4]
