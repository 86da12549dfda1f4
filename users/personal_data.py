"""What accounts and the platform's own tables hold about a person. `core` names people by bare ids, so its rows stand here."""

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Q
from django_tasks_db.models import DBTaskResult

from core.storage import PRIVATE, PUBLIC
from core.uploads.enums import UploadState
from core.uploads.models import Upload
from core.uploads.rules import RULES
from users.models import DataExport, User, UserDevice, UserProfile
from users.privacy import BOOKS_ARE_KEPT_FOR, AtDeletion, Blocker, Excuse, Holding, Provider, StoredFile, Trace

DELETED_NAME = "Deleted rider"
AUDIT_IS_KEPT_FOR = timedelta(days=3653)


def address_of_deleted(user_id: uuid.UUID) -> str:
    """What stands in the unique column of a deleted account's address: it can't receive mail, and nobody can register it."""
    return f"deleted-{user_id.hex}@deleted.invalid"


def _blockers(user_id: uuid.UUID) -> Iterator[Blocker]:
    admins = set(User.objects.admins().values_list("pk", flat=True))
    if admins == {user_id}:
        yield Blocker("last_active_admin", "You are the last active admin: make another one first.")


def _files(user_id: uuid.UUID) -> Iterator[StoredFile]:
    for upload in Upload.objects.filter(owner_id=user_id).exclude(state=UploadState.REFUSED).order_by("pk").iterator(chunk_size=500):
        ready = upload.state == UploadState.READY
        bucket = RULES[upload.purpose].bucket if ready else PRIVATE
        yield StoredFile("uploads", str(upload.pk), upload.name, upload.storage_key, bucket, is_exported=ready)
    for key in UserProfile.objects.filter(user_id=user_id).exclude(avatar_key="").values_list("avatar_key", flat=True):
        yield StoredFile("profile", str(user_id), "avatar.webp", key, PUBLIC)
    for export in DataExport.objects.filter(user_id=user_id).exclude(storage_key=""):
        yield StoredFile("exports", str(export.pk), "export.zip", export.storage_key, is_exported=False)


def _needed_keys(keys: set[str]) -> set[str]:
    avatars = UserProfile.objects.filter(avatar_key__in=keys).values_list("avatar_key", flat=True)
    return {*avatars, *Upload.objects.filter(storage_key__in=keys).values_list("storage_key", flat=True)}


def _traces(user_id: uuid.UUID) -> Iterator[Trace]:
    yield from (Trace("address", email) for email in User.objects.filter(pk=user_id).values_list("email", flat=True))
    push_tokens = UserDevice.objects.filter(user_id=user_id).values_list("push_token", flat=True)  # one phone's, so one person's
    yield from (Trace("address of a phone", push_token) for push_token in push_tokens)


def _find_traces() -> Iterator[tuple[datetime, Trace]]:
    for made_at, email in User.objects.values_list("created_at", "email").iterator(chunk_size=2000):
        yield made_at, Trace("address", email)
    push_tokens = UserDevice.objects.exclude(push_token="").values_list("signed_in_at", "push_token")
    for made_at, push_token in push_tokens.iterator(chunk_size=2000):
        yield made_at, Trace("address of a phone", push_token)


def _forget_in_tasks(user_id: uuid.UUID, *, at: datetime) -> None:
    """A failed task keeps its trace, in which a mail server may have quoted the address."""
    person = User.objects.get(pk=user_id)
    quoted = Q(traceback__contains=person.email) | Q(traceback__contains=person.display_name)
    DBTaskResult.objects.filter(quoted).update(traceback="")


ACCOUNTS = Provider(
    name="accounts",
    blockers=_blockers,
    files=_files,
    needed_keys=_needed_keys,
    traces=_traces,
    find_traces=_find_traces,
    holdings=(
        Holding(
            "users.UserDevice", of="user_id", section="devices", why="One row is one session: it decides whether a token still counts.",
            at_deletion=AtDeletion.DELETED, withheld="generation login_generation current_used_at",
        ),
        Holding(
            "users.Challenge", of="user_id", section="challenges", why="A code by mail proves that an address is the person's.",
            kept_for="a day after its end", at_deletion=AtDeletion.DELETED, withheld="address_hash pending tries",
        ),
        Holding(
            "users.TotpDevice", of="user_id", section="authenticators", why="The second factor.",
            at_deletion=AtDeletion.DELETED, withheld="secret last_step",
        ),
        Holding(
            "users.RecoveryCode", of="user_id", section="recovery_codes", why="The way back in without the authenticator.",
            at_deletion=AtDeletion.DELETED, withheld="code_hash",
        ),
        Holding(
            "users.Notice", of="user_id", section="notices", why="What the person was told.", at_deletion=AtDeletion.DELETED,
            withheld="dedupe_key by_mail batch_due_at batch_id",
        ),
        Holding(
            "users.NotificationPreference", of="user_id", section="notification_preferences", why="How the person wants to be told.",
            at_deletion=AtDeletion.DELETED,
        ),
        Holding(
            "users.DataExport", of="user_id", section="exports", why="Copies of their data that the person asked for.",
            kept_for="the file 24 hours, the row 30 days", at_deletion=AtDeletion.DELETED, withheld="storage_key",
        ),
        Holding(
            "users.UserProfile", of="user_id", section="profile", why="What the person tells about themselves; the country decides"
            " regional blocks and tax.",
            at_deletion=AtDeletion.BLANKED, blank={"bio": "", "location": "", "country": "", "experience_level": "", "avatar_key": ""},
            stays="user", because="the empty row belongs to the account's", ends="it names nobody",
        ),
        Holding(
            "users.User", of="pk", section="account", why="Signing in, and being told what matters for safety.",
            at_deletion=AtDeletion.BLANKED,
            # `services.deletion` writes the rest of the row: address, name and password can't be one value for everybody
            blank={
                "display_name": DELETED_NAME, "is_active": False, "blocked_at": None, "blocked_reason": "", "mfa_enabled_at": None,
                "last_login": None,
            },
            stays="email password terms_version",
            because="purchases and reviews point to the row, which keeps an opaque id, a stand-in for the address that names nobody, "
            "no password, and which terms were agreed to",
            until=BOOKS_ARE_KEPT_FOR, withheld="password session_epoch",
        ),
    ),
    excuses=(
        Excuse("users.User_groups", "*", "Rights of staff in the admin; not used."),
        Excuse("users.User_user_permissions", "*", "Rights of staff in the admin; not used."),
        Excuse("users.AccountDeletion", "*", "What is left of a deleted account: an opaque id and keyed hashes. The address for the "
               "receipt is encrypted and goes as soon as the mail has left."),
        Excuse("admin.LogEntry", "*", "The theme's log of staff's clicks, by opaque id; rows are read-only, acts stand in the audit log."),
        Excuse("auth.Permission", "*", "Names of rights."),
        Excuse("auth.Group", "*", "Names of rights."),
        Excuse("auth.Group_permissions", "*", "Names of rights."),
        Excuse("contenttypes.ContentType", "*", "Names of tables."),
        Excuse("sessions.Session", "*", "Cookies of the admin: the opaque id of a member of staff, signed, deleted when they expire."),
    ),
)

PLATFORM = Provider(
    name="platform",
    prepare=_forget_in_tasks,
    holdings=(
        Holding(
            "core.Upload", of="owner_id", section="uploads", why="Which files were promised, sent and checked.",
            kept_for="unused ones 24 hours, used ones as long as the account", at_deletion=AtDeletion.DELETED, withheld="storage_key",
        ),
        Holding(
            "core.IdempotencyRecord", of="actor_id", section="idempotency_keys", why="A repeated request must not act twice.",
            kept_for="24 hours", at_deletion=AtDeletion.DELETED, withheld="fingerprint lease_id lease_expires_at",
        ),
        Holding(
            "core.AuditEvent", of="actor_id", section="acts", why="Money, access, moderation and administration must be provable.",
            kept_for="ten years", at_deletion=AtDeletion.KEPT, stays="act actor_id subject_id session_id reason facts",
            because="the log is append-only and names people by opaque ids only", until=AUDIT_IS_KEPT_FOR,
        ),
        Holding(
            "core.AuditEvent", of="subject_id", section="acts_on_me", why="What was done to the account, by whomever.",
            kept_for="ten years", at_deletion=AtDeletion.KEPT, stays="act actor_id subject_id session_id reason facts",
            because="the log is append-only and names people by opaque ids only", until=AUDIT_IS_KEPT_FOR, withheld="actor_id session_id",
        ),
    ),
    excuses=(
        Excuse("core.AuditEvent", "position", "A number given by the database."),
        Excuse("core.AuditSeal", "*", "Hashes over rows of the audit log."),
        Excuse("core.AuditHeadCopy", "*", "Hashes over rows of the audit log."),
        Excuse("core.LimitCounter", "*", "Counts under keyed hashes; they end with their window, a day at most. They outlive an account, "
               "or deleting it would reset the limits on mails to its address."),
        Excuse("core.TaskWorker", "*", "A worker process and its machine."),
        Excuse("core.ScheduleEntry", "*", "The schedule's own memory."),
        Excuse("django_tasks_database.DBTaskResult", "*", "A task's arguments are ids and storage keys only. A trace that quotes an "
               "address or a name is blanked when its person's account is deleted; what succeeded goes after three days."),
    ),
)
