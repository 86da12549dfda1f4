"""How long signing every release anew takes after a rotation: `python -m benchmarks.resigning [--releases 10000] [--signer]`.

On servers of its own. Prints wall time and the processor time of this process, of the database and of the signer.
`--signer`: through a signer process over its socket, as in production; without it: with key files.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from core.testing.services import Services

COPY = """
INSERT INTO {table} ({all})
SELECT {all} FROM (
    SELECT (jsonb_populate_record(NULL::{table}, to_jsonb(original) || change)).*
      FROM {table} AS original, jsonb_array_elements(%s::jsonb) AS change
     WHERE original.id = %s) AS copies
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--releases", type=int, default=10_000)
    parser.add_argument("--signer", action="store_true")
    options = parser.parse_args(arguments)
    services = Services()
    try:
        services.start()
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        with _signer(services.directory / "signer", wanted=options.signer) as signer:
            _fill(options.releases)
            print(measure(services, signer))
    finally:
        services.stop()
    return 0


@contextmanager
def _signer(directory: Path, *, wanted: bool) -> Iterator[Any]:
    if not wanted:
        yield None
        return
    from django.conf import settings

    from core.testing.signer import SignerProcess

    process = SignerProcess(directory, "--for-demo-data").start()
    settings.SIGNING_KEYS_DIR, settings.SIGNER_SOCKET = directory, process.socket
    try:
        yield process
    finally:
        process.close()


def _fill(count: int) -> None:
    """One published version that was really made, and copies of it, each with a release that is really signed."""
    import json

    from django.db import connection

    from core import signing
    from core.ids import new_id
    from marketplace.models import Release
    from marketplace.tests.factories import released_tune

    first = released_tune().versions.get()
    file, release = first.files.get(), first.releases.get()
    payload = signing.payload_of(release.envelope)
    versions, files, releases = [], [], []
    for number in range(2, count + 1):
        version_id, file_id, name = new_id(), new_id(), f"1.{number // 100}.{number % 100}"
        versions.append({"id": str(version_id), "version": name, "release_counter": number})
        files.append({"id": str(file_id), "version_id": str(version_id)})
        own = payload | {"tune_version_id": version_id, "tune_file_id": file_id, "release_counter": number, "version": name}
        envelope = signing.sign(signing.Role.RELEASE, signing.PayloadType.RELEASE, own)
        releases.append(
            Release(
                version_id=version_id,
                file_id=file_id,
                channel="public",
                release_counter=number,
                payload_sha256=signing.payload_sha256(envelope),
                keyid=signing.keyid_of(envelope),
                envelope=envelope,
                issued_at=release.issued_at,
            )
        )
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica; SET statement_timeout = 0")
        for table, changes, original in (("marketplace_tuneversion", versions, first), ("marketplace_tunefile", files, file)):
            cursor.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND is_generated = 'NEVER'", [table]
            )
            names = ", ".join(f'"{name}"' for (name,) in cursor.fetchall())
            cursor.execute(COPY.format(table=table, all=names), [json.dumps(changes), original.pk])
        cursor.execute("SET session_replication_role = DEFAULT")
    Release.objects.bulk_create(releases, batch_size=1000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def measure(services: Services, signer: Any) -> str:
    """One line with the figures."""
    from core import clock, signing
    from marketplace.services import signing_keys

    database = psutil.Process(services.postgres.child.pid) if services.postgres.child else None
    _rotate(signer)
    before = _spent(database), _spent(psutil.Process(signer.process.pid) if signer else None)
    began, cpu = time.monotonic(), time.process_time()
    *_, progress = signing_keys.resign_releases(at=clock.now())
    wall, own = time.monotonic() - began, time.process_time() - cpu
    after = _spent(database), _spent(psutil.Process(signer.process.pid) if signer else None)
    assert progress.done == progress.total and not progress.refused, progress
    *_, seen = signing_keys.verify_served(signing.root_envelope(1))
    assert not seen.refused
    how = f", the signer {after[1] - before[1]:.1f} s" if signer else ""
    return (
        f"{progress.done:,} releases signed anew in {wall:.1f} s; processor time: here {own:.1f} s, "
        f"the database {after[0] - before[0]:.1f} s{how}; {os.cpu_count()} cores"
    )


def _rotate(signer: Any) -> None:
    from django.conf import settings

    from core import clock, signing
    from marketplace.services import signing_keys

    socket, settings.SIGNER_SOCKET = settings.SIGNER_SOCKET, ""  # by the key files, as `rotate_signing_key` in development
    signing_keys.rotate_with_local_keys(signing.Role.RELEASE, keep_old=True, at=clock.now())
    settings.SIGNER_SOCKET = socket


def _spent(process: psutil.Process | None) -> float:
    """Processor seconds of a process and its children that live."""
    if process is None:
        return 0.0
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        times = each.cpu_times()
        total += times.user + times.system
    return total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
