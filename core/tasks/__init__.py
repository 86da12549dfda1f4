"""Tasks in Postgres: rows written in the transaction that needs them, run by `manage.py run_worker`.

    @task(max_attempts=5)
    def send_receipt(purchase_id: str) -> None: ...          # in <app>/tasks.py; ids and plain JSON values only

    enqueue("marketplace.tasks.send_receipt", purchase_id=purchase.id)      # in a service, by dotted name

The queue is django-tasks with django-tasks-db; what that lacks is ours: retry with back-off, take-over of a dead
worker's task, a list of dead tasks with retry, and the request's id in the task's log lines. A task runs *at least*
once: it must be safe to run again. It is an entry point like a view: load, one service call.
"""

from core.tasks.definition import DurableTask, Postpone, enqueue, task

__all__ = ["DurableTask", "Postpone", "enqueue", "task"]
