"""A process that is killed while it publishes or inspects: the version is published with valid documents, or nothing changed.

A real process, forked, is killed (SIGKILL) before its first statement, before its second, and so on to its last, and before
and after the commit. Between two statements it only reads storage and signs, which leaves nothing behind: so these are all the
states that the world outside can be left in, whichever line it was.
"""

import os
import signal
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

import pytest
from django.db import connection
from django_tasks_db.models import DBTaskResult as Task

from core import clock, storage
from core.models import AuditEvent
from core.testing.http import client_for
from garage.tests.factories import VehicleModelFactory
from marketplace.enums import TuneStatus, VersionStatus
from marketplace.models import FileXRay, Release, TuneVersion
from marketplace.services import inspection, review
from marketplace.services.versions import create_version
from marketplace.tests.factories import TuneFactory, TuneVersionFactory, image_bytes
from marketplace.tests.test_inspections import make_version, stock_upload
from marketplace.tests.test_versions import fitment, ready_upload
from marketplace.tests.trust import read_document
from users.models import Notice
from users.tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

MOST_STATEMENTS = 200
BEFORE_COMMIT, AFTER_COMMIT = "before the commit", "after the commit"


def run_and_kill(act: Callable[[], object], at: int | str) -> bool:
    """Run `act` in a process of its own that dies before statement number `at`, or around the commit; whether it lived."""
    child = os.fork()
    if child:
        _, ended = os.waitpid(child, 0)
        assert os.WIFSIGNALED(ended) or os.WEXITSTATUS(ended) == 0, "the child failed by itself"
        return not os.WIFSIGNALED(ended)
    inherited = connection.connection, dict(storage._clients)  # kept: to let go of the parent's sockets would close them
    try:
        connection.connection = None
        storage._clients.clear()
        _run(act, at)
        os._exit(0)
    except BaseException:  # pytest must not go on in two processes
        traceback.print_exc()
        os._exit(1)
    finally:
        del inherited


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _run(act: Callable[[], object], at: int | str) -> None:
    seen = 0

    def count(execute, sql, params, many, context):
        nonlocal seen
        seen += 1
        if seen == at:
            _die()
        return execute(sql, params, many, context)

    def commit():
        if at == BEFORE_COMMIT:
            _die()
        real()
        if at == AFTER_COMMIT:
            _die()

    real = connection._commit
    with ExitStack() as stack:
        stack.enter_context(connection.execute_wrapper(count))
        stack.enter_context(patch.object(connection, "_commit", commit))
        act()


def kill_everywhere(act: Callable[[], object], *, unchanged: Callable[[], None], done: Callable[[], None]) -> int:
    """Kill `act` before its commit and at each of its statements, with nothing changed each time, until it gets through.
    How many kills."""
    assert not run_and_kill(act, BEFORE_COMMIT)
    unchanged()
    for statement in range(1, MOST_STATEMENTS):
        if run_and_kill(act, statement):
            done()
            return statement
        unchanged()
    raise AssertionError("it never ended")


class Review:
    """A version in review, and a process that publishes it."""

    def __init__(self):
        self.version = TuneVersionFactory(tune=TuneFactory(), in_review=True, stored=True)
        self.reviewer = UserFactory(admin=True, mfa=True)
        self.sha256 = self.version.files.get().sha256
        self.tasks = Task.objects.count()

    def publish(self) -> None:
        review.publish_tune_version(
            version_id=self.version.pk, reviewer=self.reviewer, approved_sha256=[self.sha256], note="Clean.", at=clock.now()
        )

    def is_unchanged(self) -> None:
        version = TuneVersion.objects.select_related("tune").get(pk=self.version.pk)
        assert (version.status, version.release_counter, version.published_at) == (VersionStatus.IN_REVIEW, None, None)
        assert (version.tune.status, version.tune.release_counter, version.tune.listed) == (TuneStatus.DRAFT, 0, False)
        assert not Release.objects.exists() and not Notice.objects.exists()
        assert not AuditEvent.objects.filter(subject_id=version.pk).exists()
        assert Task.objects.count() == self.tasks

    def is_published(self) -> None:
        version = TuneVersion.objects.select_related("tune").get(pk=self.version.pk)
        assert (version.status, version.release_counter, version.tune.release_counter) == (VersionStatus.PUBLISHED, 1, 1)
        release = read_document(Release.objects.get(version=version).envelope, "release")
        assert (release["release_counter"], release["file"]["sha256"]) == (1, self.sha256)
        assert AuditEvent.objects.get(subject_id=version.pk).act == "tune_version.published"
        assert Task.objects.filter(task_path="marketplace.tasks.versions.tell_owners").count() == 1


def test_a_publication_happens_wholly_or_not_at_all():
    of = Review()

    kills = kill_everywhere(of.publish, unchanged=of.is_unchanged, done=of.is_published)

    assert kills > 10


def test_a_publication_that_was_committed_stands():
    of = Review()

    assert not run_and_kill(of.publish, AFTER_COMMIT)

    of.is_published()
    with pytest.raises(review.VersionIllegalMove):
        of.publish()  # whoever repeats it is told that it is done


def test_an_inspection_happens_wholly_or_not_at_all():
    VehicleModelFactory()
    tune = TuneFactory(tuner__makes=[])
    upload, stock = ready_upload(tune.tuner.user, image_bytes("killed")), stock_upload(tune.tuner.user)
    file = {**fitment_input(), "upload_id": upload.pk, "stock_image": stock.pk}
    facts = {"version": "1.0.0", "emissions_class": "UNCHANGED", "requirements": None}
    version = create_version(author=tune.tuner.user, tune_id=tune.pk, facts=facts, files=[file], at=clock.now())

    def unchanged() -> None:
        version.refresh_from_db()
        assert version.status == VersionStatus.VALIDATING
        assert version.files.get().storage_key == ""
        assert not FileXRay.objects.exists() and not Notice.objects.exists()

    def done() -> None:
        version.refresh_from_db()
        assert version.status == VersionStatus.VALIDATED
        held = version.files.get()
        assert storage.hash_object(held.storage_key) == (held.sha256, held.size_bytes)
        assert FileXRay.objects.count() == Notice.objects.count() == 1

    def inspect() -> None:
        inspection.inspect_version(version_id=version.pk, at=clock.now())

    assert kill_everywhere(inspect, unchanged=unchanged, done=done) > 8
    inspect()  # the worker's second try finds it done
    done()


def fitment_input() -> dict:
    return {"fitments": [fitment()], "calibration_id_after": "RSC-210-T1"}


def test_bytes_that_are_stored_already_are_not_written_again():
    """A failed write must not take away what another version has published under the same hash."""
    VehicleModelFactory()
    tune = TuneFactory(tuner__makes=[])
    client = client_for(tune.tuner.user)
    first = make_version(client, tune, {"upload_id": str(ready_upload(tune.tuner.user, image_bytes("same")).pk), **fitment_input()})
    key = first.files.get().storage_key
    before = storage.head(key)

    with patch.object(storage, "put_file", side_effect=AssertionError("written again")):
        upload = ready_upload(tune.tuner.user, image_bytes("same"))
        second = make_version(client, tune, {"upload_id": str(upload.pk), **fitment_input()}, version="2.0.0")

    assert second.status == VersionStatus.VALIDATED
    assert second.files.get().storage_key == key
    assert storage.head(key) == before


def test_wrong_bytes_under_the_right_name_are_put_right():
    VehicleModelFactory()
    tune = TuneFactory(tuner__makes=[])
    data = image_bytes("squatted")
    upload = ready_upload(tune.tuner.user, data)
    key = inspection.content_key(upload.sha256)
    storage.put_bytes(key, b"somebody else's", "application/octet-stream")

    make_version(client_for(tune.tuner.user), tune, {"upload_id": str(upload.pk), **fitment_input()})

    assert storage.read(key, max_bytes=1 << 23) == data
