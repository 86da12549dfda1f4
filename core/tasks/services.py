"""What a person may do to the queue."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from core import audit
from core.exceptions import InvalidTransition, NotFound
from core.tasks.models import DBTaskResult


class TaskNotFound(NotFound):
    message = "There is no such task."


class TaskNotDead(InvalidTransition):
    message = "Only a dead task can be retried or dismissed."


def retry_dead_task(*, task_id: UUID, actor_id: UUID, reason: str, at: datetime) -> None:
    """Queue a dead task again with all its attempts.

    Called by staff. Locks the task's row. Not idempotent: a second call finds it queued. Raises TaskNotFound, TaskNotDead.
    """
    with transaction.atomic():
        task = _lock_dead_task(task_id)
        task.status, task.run_after, task.worker_ids, task.finished_at = "READY", Now(), [], None
        task.save(update_fields=["status", "run_after", "worker_ids", "finished_at"])
        audit.record(act="task.retried", actor_id=actor_id, subject_id=task_id, at=at, reason=reason, task=task.task_path)


def dismiss_dead_task(*, task_id: UUID, actor_id: UUID, reason: str, at: datetime) -> None:
    """Delete a dead task that nobody needs any more.

    Called by staff. Locks the task's row. Raises TaskNotFound, TaskNotDead.
    """
    with transaction.atomic():
        task = _lock_dead_task(task_id)
        audit.record(act="task.dismissed", actor_id=actor_id, subject_id=task_id, at=at, reason=reason, task=task.task_path)
        task.delete()


def _lock_dead_task(task_id: UUID) -> DBTaskResult:
    task = DBTaskResult.objects.select_for_update(no_key=True).filter(pk=task_id).first()
    if task is None:
        raise TaskNotFound
    if task.status != "FAILED":
        raise TaskNotDead
    return task
