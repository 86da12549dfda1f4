"""The worker processes that are alive, the schedule's memory, and a view of the tasks that gave up."""

from django.db import models
from django_tasks.base import TaskResultStatus
from django_tasks_db.models import DBTaskResult

from core.ids import new_id


class TaskWorker(models.Model):
    """One worker process. It beats while it lives; a RUNNING task whose worker no longer beats is taken over.

    Deleted by the worker when it stops, or a day after its last beat.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"worker {self.pid} on {self.host}"


class ScheduleEntry(models.Model):
    """What the schedule remembers of one periodic task: the last slot of time that some scheduler took.

    `task_id` is the task queued for it (no foreign key: finished tasks are swept). Rows are made when a scheduler first
    sees the entry and stay.
    """

    name = models.CharField(primary_key=True, max_length=80)
    slot_at = models.DateTimeField(null=True)
    task_id = models.UUIDField(null=True)

    class Meta:
        verbose_name_plural = "schedule entries"

    def __str__(self) -> str:
        return self.name


class DeadTaskManager(models.Manager):
    def get_queryset(self) -> models.QuerySet:
        return super().get_queryset().filter(status=TaskResultStatus.FAILED)


class DeadTask(DBTaskResult):
    """A task that failed as often as it may, or was never a task of ours: it waits for a person's retry."""

    objects = DeadTaskManager()

    class Meta:
        proxy = True
        ordering = ["-finished_at"]

    def __str__(self) -> str:
        return f"{self.task_path} ({self.id})"

    @property
    def attempts(self) -> int:
        return len(self.worker_ids)
