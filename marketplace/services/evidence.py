"""Letting a reviewer look at the very bytes."""

from datetime import datetime
from uuid import UUID

from core import audit, storage
from marketplace.exceptions import VersionNotFound
from marketplace.models import TuneFile
from marketplace.policies import trust as policies
from users.models import User


def open_tune_file(*, file_id: UUID, actor: User, at: datetime) -> str:
    """A link to a version's file that is good for a minute; who asked for it is audited.

    Called by an admin. No network. Raises: VersionNotFound (no such file, or its bytes were not kept yet), PermissionRefused.
    """
    policies.ensure_is_staff(actor)
    file = TuneFile.objects.filter(pk=file_id).exclude(storage_key="").first()
    if file is None:
        raise VersionNotFound
    audit.record(act="tune_file.opened", actor_id=actor.pk, subject_id=file.pk, at=at, sha256=file.sha256)
    return storage.presign_get(file.storage_key, expires_seconds=60, filename=file.name)
