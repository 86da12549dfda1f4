"""The daily look at every stored file, in pieces that a worker's death leaves nothing out of."""

from datetime import timedelta

import pytest

from core import clock, storage
from core.testing.tasks import run_all
from marketplace.enums import VersionStatus
from marketplace.models import StoredFileCheck, TuneFile
from marketplace.services import stored_files
from marketplace.tests.factories import released_tune

pytestmark = pytest.mark.django_db
TASK = "marketplace.tasks.trust.check_stored_files"
FILES = 5


@pytest.fixture
def files(monkeypatch):
    """The files of five releases in the order in which they are looked at, two in a task."""
    monkeypatch.setattr(stored_files, "FILES_A_TASK", 2)
    stored_files.forget()
    tunes = [released_tune() for _ in range(FILES)]
    run_all()
    StoredFileCheck.objects.all().delete()
    return list(TuneFile.objects.filter(version__tune__in=tunes).order_by("pk"))


@pytest.fixture
def hashed(monkeypatch):
    """The keys of what is hashed, in turn; whose key is in `deadly` kills the worker."""
    keys, real = [], storage.hash_object

    def hash_object(key):
        if key in hash_object.deadly:
            raise KeyboardInterrupt
        keys.append(key)
        return real(key)

    hash_object.deadly = set()
    monkeypatch.setattr(storage, "hash_object", hash_object)
    return keys, hash_object.deadly


def keys_of(files):
    return [file.storage_key for file in files]


def test_a_round_hashes_each_file_once_in_several_tasks(files, hashed):
    stored_files.check_stored(at=clock.now())

    assert hashed[0] == keys_of(files[:2])
    assert run_all() == [TASK] * 2
    assert hashed[0] == keys_of(files)
    assert set(StoredFileCheck.objects.values_list("pk", flat=True)) == set(keys_of(files))


def test_a_task_ends_when_its_time_is_up_and_never_before_its_first_file(files, hashed, monkeypatch):
    monkeypatch.setattr(stored_files, "SECONDS_A_TASK", 0.0)

    stored_files.check_stored(at=clock.now())

    assert run_all() == [TASK] * (FILES - 1)
    assert hashed[0] == keys_of(files)


def test_killed_in_the_middle_it_goes_on_behind_what_was_hashed(files, hashed):
    keys, deadly = hashed
    deadly.add(files[3].storage_key)
    stored_files.check_stored(at=clock.now())
    with pytest.raises(KeyboardInterrupt):
        run_all()
    killed_after = list(keys)
    deadly.clear()

    stored_files.check_stored(after=files[1].pk, at=clock.now())  # as the worker that takes the task over does
    run_all()

    assert killed_after == keys_of(files[:3])
    assert keys == keys_of(files)


def test_run_twice_by_two_workers_nothing_is_hashed_twice(files, hashed):
    for _ in range(2):
        stored_files.check_stored(at=clock.now())
    run_all()

    assert hashed[0] == keys_of(files)


def test_the_next_day_everything_is_hashed_again_and_one_that_changed_keeps_no_other_waiting(files, hashed):
    stored_files.check_stored(at=clock.now())
    run_all()
    storage.put_bytes(files[0].storage_key, b"x" * files[0].size_bytes, "application/octet-stream")
    StoredFileCheck.objects.update(checked_at=clock.now() - timedelta(days=1))
    hashed[0].clear()

    wrong = stored_files.check_stored(at=clock.now())
    run_all()

    assert wrong == 1
    assert hashed[0] == keys_of(files)
    assert {file.version.status for file in TuneFile.objects.filter(pk__in=[file.pk for file in files[1:]])} == {VersionStatus.PUBLISHED}
    assert TuneFile.objects.get(pk=files[0].pk).version.status == VersionStatus.ON_HOLD
