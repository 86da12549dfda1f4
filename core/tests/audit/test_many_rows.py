"""A hundred thousand rows: memory stays flat, and how long it takes (`pytest -m long -s` prints it)."""

import time
import tracemalloc

import pytest
from django.db import connection

from core.audit.verification import verify
from core.models import AuditEvent

ROWS = 100_000
FILL = """
INSERT INTO core_auditevent (id, at, act, actor_id, subject_id, session_id, reason, facts)
SELECT gen_random_uuid(), now(), 'download.granted', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), '',
    jsonb_build_object('version_id', gen_random_uuid(), 'vehicle_id', gen_random_uuid(), 'number', number)
FROM generate_series(1, %s) AS number
"""


def timed(name, act):
    started, worked = time.perf_counter(), time.process_time()
    result = act()
    print(f"{name} {ROWS} rows: {time.perf_counter() - started:.1f} s, {time.process_time() - worked:.1f} s of this process's CPU")
    return result


@pytest.mark.long
@pytest.mark.timeout(900)
def test_verifying_takes_no_more_memory_for_more_rows(log):
    with connection.cursor() as cursor:
        for _ in range(ROWS // 5_000):
            cursor.execute(FILL, [5_000])
    timed("sealed", log.seal)
    timed("copied", log.copy)

    report = timed("verified", verify)
    tracemalloc.start()
    verify()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    print(f"peak while verifying: {peak_bytes / 1e6:.0f} MB")
    assert (report.intact, report.rows, report.tail_rows) == (True, ROWS, 0)
    assert AuditEvent.objects.count() == ROWS
    assert peak_bytes < 40_000_000
