"""Indexes on django-tasks-db's table that it has no need for: running tasks (take-over), dead ones, and those to sweep."""

from django.db import migrations

CREATE = """
CREATE INDEX task_running ON django_tasks_database_dbtaskresult (started_at) WHERE status = 'RUNNING';
CREATE INDEX task_dead ON django_tasks_database_dbtaskresult (finished_at DESC) WHERE status = 'FAILED';
CREATE INDEX task_done ON django_tasks_database_dbtaskresult (finished_at) WHERE status = 'SUCCESSFUL';
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0004_tasks"), ("django_tasks_database", "0021_conditional_partial_index_ordering")]

    operations = [migrations.RunSQL(CREATE, "DROP INDEX task_running, task_dead, task_done")]
