"""The platform's own tables: audit, uploads, tasks, limits. Read, and nothing but read, except for dead tasks."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.cache import cache
from django.db.models import QuerySet
from django.http import HttpRequest
from django_tasks_db.models import DBTaskResult

from core import clock
from core.admin_base import Decision, ReadOnlyAdmin, mark, size
from core.admin_site import Queue, site
from core.audit import admin as audit_admin  # noqa: F401  (registers the audit log)
from core.models import IdempotencyRecord, LimitCounter
from core.tasks.models import DeadTask, ScheduleEntry, TaskWorker
from core.tasks.selectors import get_queue_summary
from core.tasks.services import dismiss_dead_task, retry_dead_task
from core.tasks.worker import DEAD_AFTER_SECONDS
from core.uploads import scanner
from core.uploads.enums import UploadState
from core.uploads.models import Upload

UPLOAD_KINDS = {UploadState.READY: "good", UploadState.REFUSED: "bad", UploadState.CHECKING: "warn"}
TASK_KINDS = {"SUCCESSFUL": "good", "FAILED": "bad", "RUNNING": "warn"}


@admin.register(Upload, site=site)
class UploadAdmin(ReadOnlyAdmin):
    icon, rank = "upload_file", 20
    list_display = ("created_at", "purpose", "coloured_state", "name", "readable_size", "owner_id", "used_at")
    linked = {"owner_id": settings.AUTH_USER_MODEL}
    list_filter = ("state", "purpose")
    search_fields = ("name",)
    ordering = ("-created_at", "-pk")

    @admin.display(description="State", ordering="state")
    def coloured_state(self, upload: Upload) -> Any:
        return mark(upload.get_state_display(), UPLOAD_KINDS.get(upload.state, "neutral"))

    @admin.display(description="Size", ordering="size_bytes")
    def readable_size(self, upload: Upload) -> str:
        return size(upload.size_bytes)


class _TaskAdmin(ReadOnlyAdmin):
    list_display = ("enqueued_at", "task_path", "coloured_status", "attempt_count", "run_after", "finished_at")
    search_fields = ("task_path", "exception_class_path")
    ordering = ("-enqueued_at", "-pk")

    @admin.display(description="Status", ordering="status")
    def coloured_status(self, task: DBTaskResult) -> Any:
        return mark(task.get_status_display(), TASK_KINDS.get(task.status, "neutral"))

    @admin.display(description="Attempts")
    def attempt_count(self, task: DBTaskResult) -> int:
        return len(task.worker_ids)


@admin.register(DBTaskResult, site=site)
class TaskAdmin(_TaskAdmin):
    icon, rank, plural, group = "task", 40, "All tasks", "core"
    list_filter = ("status",)


@admin.register(DeadTask, site=site)
class DeadTaskAdmin(_TaskAdmin):
    icon, rank = "running_with_errors", 30
    list_display = ("finished_at", "task_path", "attempt_count", "exception_class_path")
    ordering = ("-finished_at", "-pk")
    decisions = (
        Decision(
            name="retry",
            label="Run it again",
            explanation="The task is queued again with all its attempts. Find out first why it failed: the traceback is below.",
            act=lambda task, *, actor, reason, at: retry_dead_task(task_id=task.pk, actor_id=actor.pk, reason=reason, at=at),
            done="The task is queued again.",
        ),
        Decision(
            name="dismiss",
            label="Dismiss",
            explanation="The task is deleted, because nobody needs what it was to do any more.",
            act=lambda task, *, actor, reason, at: dismiss_dead_task(task_id=task.pk, actor_id=actor.pk, reason=reason, at=at),
            done="The task is gone.",
            danger=True,
        ),
    )


@admin.register(TaskWorker, site=site)
class TaskWorkerAdmin(ReadOnlyAdmin):
    icon, rank = "precision_manufacturing", 50
    list_display = ("host", "pid", "state", "started_at", "heartbeat_at")
    ordering = ("-heartbeat_at", "pk")

    @admin.display(description="State")
    def state(self, worker: TaskWorker) -> Any:
        silent_seconds = (clock.now() - worker.heartbeat_at).total_seconds()
        return mark("Silent", "bad") if silent_seconds > DEAD_AFTER_SECONDS else mark("Alive", "good")


@admin.register(ScheduleEntry, site=site)
class ScheduleEntryAdmin(ReadOnlyAdmin):
    icon, rank = "schedule", 60
    list_display = ("name", "slot_at", "task_id")
    search_fields = ("name",)
    ordering = ("name",)


@admin.register(LimitCounter, site=site)
class LimitCounterAdmin(ReadOnlyAdmin):
    """Whose count it is, is a keyed hash: it can't be read back."""

    icon, rank = "speed", 70
    list_display = ("name", "count", "allowed", "window_ends_at")
    search_fields = ("name",)
    ordering = ("-window_ends_at", "pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("key_hash")

    @admin.display(description="Allowed")
    def allowed(self, counter: LimitCounter) -> int | str:
        return settings.LIMITS.get(counter.name, ("–",))[0]


@admin.register(IdempotencyRecord, site=site)
class IdempotencyRecordAdmin(ReadOnlyAdmin):
    icon, rank = "fingerprint", 80
    list_display = ("operation", "actor_id", "resource_id", "expires_at")
    linked = {"actor_id": settings.AUTH_USER_MODEL}
    search_fields = ("operation",)
    concealed = ("key",)
    ordering = ("-expires_at", "-pk")


def _scanner_trouble() -> str | None:
    """Asked once a minute: the scanner may be slow, and this page is looked at often."""
    return cache.get_or_set("admin:scanner", lambda: scanner.find_trouble(at=clock.now()) or "", timeout=60) or None


def _queue_stands_still() -> str | None:
    summary = get_queue_summary()
    if summary.live_workers == 0:
        return f"No worker is alive; {summary.due} tasks are due."
    if summary.oldest_due_seconds > 300:
        return f"The oldest due task has waited for {int(summary.oldest_due_seconds // 60)} minutes."
    return None


site.add_queue(
    Queue(
        title="Dead tasks",
        model=DeadTask,
        icon="running_with_errors",
        hint="Tasks that failed as often as they may.",
        rank=80,
    )
)
site.add_warning(_scanner_trouble)
site.add_warning(_queue_stands_still)
