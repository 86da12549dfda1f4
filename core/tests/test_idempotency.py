import uuid
from datetime import UTC, datetime, timedelta

import pytest

from core import idempotency
from core.exceptions import IdempotencyInProgress, IdempotencyKeyReused
from core.models import IdempotencyRecord
from core.testing.races import race

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ACTOR = uuid.UUID(int=7)


def begin(*, body="a", actor=ACTOR, operation="create_thing", key="k1", at=NOW):
    return idempotency.begin(actor_id=actor, operation=operation, key=key, fingerprint=idempotency.fingerprint(body), at=at)


@pytest.mark.django_db
class TestClaim:
    def test_a_repeat_finds_what_the_first_made(self):
        made = uuid.uuid4()
        begin().complete(made)

        assert begin().replayed_resource_id == made

    def test_another_body_is_refused(self):
        begin().complete(uuid.uuid4())

        with pytest.raises(IdempotencyKeyReused):
            begin(body="b")

    @pytest.mark.parametrize("other", [{"actor": uuid.UUID(int=8)}, {"operation": "create_other"}, {"key": "k2"}])
    def test_another_actor_operation_or_key_is_another_claim(self, other):
        begin().complete(uuid.uuid4())

        assert begin(**other).replayed_resource_id is None

    def test_while_the_first_runs_a_repeat_waits_its_turn(self):
        begin()

        with pytest.raises(IdempotencyInProgress):
            begin(at=NOW + timedelta(seconds=59))

    def test_after_the_lease_a_repeat_takes_over_and_the_first_cannot_complete(self):
        first = begin()
        second = begin(at=NOW + timedelta(seconds=60))
        second.complete(uuid.uuid4())

        with pytest.raises(IdempotencyInProgress):
            first.complete(uuid.uuid4())

    def test_a_refusal_leaves_nothing(self):
        begin().abandon()

        assert not IdempotencyRecord.objects.exists()

    def test_after_24_hours_the_key_is_free(self):
        begin().complete(uuid.uuid4())

        assert begin(body="b", at=NOW + timedelta(hours=24)).replayed_resource_id is None

    def test_without_a_key_nothing_is_kept(self):
        begin(key=None).complete(uuid.uuid4())

        assert not IdempotencyRecord.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_twenty_parallel_claims_one_wins():
    assert race(begin, times=20).count("ok") == 1
