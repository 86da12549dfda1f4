"""What a person tells about themselves."""

import uuid
from datetime import datetime
from enum import Enum
from typing import Any

from django.db import transaction

from core import storage
from core.exceptions import StaleRevision
from core.tasks import enqueue
from core.uploads.services import claim_upload
from users.models import User, UserProfile


class Avatar(Enum):
    """What may stand in place of an upload's id; None takes the picture away."""

    KEEP = "keep"


KEEP = Avatar.KEEP


def update_profile(
    *, user: User, changes: dict[str, Any], avatar_upload_id: uuid.UUID | Avatar | None = Avatar.KEEP, revision: int | None, at: datetime
) -> UserProfile:
    """Change bio, location, country, experience or picture. Called by the person. Locks the profile row. Idempotent but for the picture.

    Queues the deletion of a picture that is replaced.

    Raises: StaleRevision, InvalidInput (the upload is not a READY avatar of this person).
    """
    with transaction.atomic():
        profile = UserProfile.objects.select_for_update(no_key=True).get(user=user)
        if revision is not None and profile.revision != revision:
            raise StaleRevision(current=profile.revision)
        fields, replaced = ["revision", "updated_at"], ""
        for name, value in changes.items():
            setattr(profile, name, value)
            fields.append(name)
        if avatar_upload_id is None:
            replaced, profile.avatar_key = profile.avatar_key, ""
            fields.append("avatar_key")
        elif isinstance(avatar_upload_id, uuid.UUID):
            upload = claim_upload(upload_id=avatar_upload_id, owner_id=user.pk, purpose="AVATAR", at=at)
            replaced, profile.avatar_key = profile.avatar_key, upload.storage_key
            fields.append("avatar_key")
        profile.revision += 1
        profile.updated_at = at
        profile.save(update_fields=fields)
        if replaced:
            enqueue("core.uploads.tasks.delete_object", key=replaced, bucket=storage.PUBLIC)
    return profile
