"""The embedded PostgreSQL and S3 server: what they promise to the supervisor and to the tests."""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import psutil
import psycopg2
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from core.embedded import postgres as postgres_module
from core.embedded.postgres import ROLE, Postgres, binaries
from core.embedded.s3 import REGION, S3

ROOT = Path(postgres_module.__file__).resolve().parent.parent.parent


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Like a clone in /root: nobody but its owner may pass."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def postgres(directory):
    server = Postgres(
        directory / "postgres", directory / "postgres.log", "super-secret", "role-secret", durable=False, extra={"shared_buffers": "16MB"}
    )
    yield server
    server.stop()


@pytest.fixture
def s3(directory):
    server = S3(directory / "s3", directory / "s3.log", "an-access-key", "a-secret-key")
    yield server
    server.stop()


def query(server: Postgres, statement: str) -> list[tuple]:
    with contextlib.closing(psycopg2.connect(server.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def client_of(server: S3, secret: str = "a-secret-key"):
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=secret,
        region_name=REGION,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )


def listening_addresses(pid: int) -> set[str]:
    process = psutil.Process(pid)
    found = []
    for member in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a backend that just ended
            found += member.net_connections("inet")
    return {connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN}


def test_the_application_role_owns_its_database_and_is_no_superuser(postgres):
    postgres.start()

    assert query(postgres, "SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user") == [(ROLE, False)]
    for extension in ("pg_trgm", "unaccent", "citext", "btree_gist"):
        query(postgres, f"CREATE EXTENSION {extension}")
    assert query(postgres, "SHOW statement_timeout") == [("15s",)]
    assert listening_addresses(postgres.child.pid) == {"127.0.0.1"}
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(postgres.url.replace("role-secret", "guess"))


def test_root_starts_postgres_as_somebody_else_even_below_a_closed_directory(postgres):
    postgres.start()

    process = psutil.Process(postgres.child.pid)
    assert process.uids().effective != 0
    assert process.exe() == str(binaries() / "postgres")


def test_data_and_port_of_postgres_survive_a_restart(postgres):
    postgres.start()
    query(postgres, "CREATE TABLE kept (id int)")
    port = postgres.port
    postgres.stop()

    postgres.start()

    assert postgres.port == port
    assert query(postgres, "SELECT count(*) FROM kept") == [(0,)]


def test_postgres_recovers_when_its_parent_process_alone_was_killed(postgres):
    postgres.durable = True
    postgres.start()
    query(postgres, "CREATE TABLE kept (id int)")
    holder = psycopg2.connect(postgres.url)
    leftovers = psutil.Process(postgres.child.pid).children()
    assert leftovers
    postgres.child.kill()
    postgres.child.wait(30)

    postgres.start()

    assert query(postgres, "SELECT count(*) FROM kept") == [(0,)]
    assert not [process for process in leftovers if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    holder.close()


def test_postgres_starts_over_a_pid_file_that_names_a_foreign_process(postgres):
    postgres.start()
    postgres.stop()
    stale = postgres.directory / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{postgres.directory}\n1\n{postgres.port}\n\n127.0.0.1\n  1 2\nready   \n")

    postgres.start()

    assert query(postgres, "SELECT 1") == [(1,)]


def test_a_cluster_whose_making_was_interrupted_is_made_anew(postgres):
    program = (
        "import sys; from pathlib import Path; from core.embedded import processes; from core.embedded.postgres import Postgres\n"
        "spawn = processes.spawn\n"
        "def spawn_and_die(*arguments, **options):\n"
        "    child = spawn(*arguments, **options)\n"
        "    while not (Path(sys.argv[1]) / 'PG_VERSION').exists(): pass\n"
        "    import os; os.kill(os.getpid(), 9)\n"
        "processes.spawn = spawn_and_die\n"
        "Postgres(Path(sys.argv[1]), Path(sys.argv[1] + '.log'), 'super-secret', 'role-secret', durable=False).start()"
    )
    done = subprocess.run([sys.executable, "-c", program, str(postgres.directory)], cwd=ROOT, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert (postgres.directory / "PG_VERSION").exists(), "half of a cluster is there"

    postgres.start()

    assert query(postgres, "SELECT 1") == [(1,)]


def test_postgres_takes_another_port_when_its_own_is_taken(postgres):
    import socket

    postgres.start()
    postgres.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the server that was there may linger
        squatter.bind(("127.0.0.1", postgres.port))
        squatter.listen()
        taken = postgres.port

        postgres.start()

        assert postgres.port != taken
        assert query(postgres, "SELECT 1") == [(1,)]


def test_the_s3_server_takes_only_signed_requests_and_known_buckets(s3):
    s3.start()
    client = client_of(s3)

    client.put_object(Bucket="revsync-private", Key="a/b.bin", Body=b"bytes")

    assert client.get_object(Bucket="revsync-private", Key="a/b.bin", Range="bytes=1-2")["Body"].read() == b"yt"
    for refused, bucket in ((client_of(s3, "another-key"), "revsync-private"), (client, "no-such-bucket")):
        with pytest.raises(ClientError) as caught:
            refused.put_object(Bucket=bucket, Key="x", Body=b"x")
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404)
    anonymous = subprocess.run(
        [sys.executable, "-c", f"import urllib.request; urllib.request.urlopen('{s3.endpoint_url}/revsync-private/a/b.bin')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "403" in anonymous.stderr
    assert listening_addresses(s3.child.pid) == {"127.0.0.1"}


def test_files_survive_a_killed_s3_server_and_a_change_of_its_ports(s3):
    s3.start()
    client_of(s3).put_object(Bucket="revsync-private", Key="kept.bin", Body=b"k" * 300_000)
    s3.child.send_signal(signal.SIGKILL)
    s3.child.wait(30)

    s3.start()
    assert client_of(s3).get_object(Bucket="revsync-private", Key="kept.bin")["Body"].read() == b"k" * 300_000
    s3.stop()
    before, s3.first_port = s3.first_port, s3.first_port + 17
    s3._forget_old_addresses()

    s3.start()
    assert s3.first_port != before
    assert client_of(s3).get_object(Bucket="revsync-private", Key="kept.bin")["Body"].read() == b"k" * 300_000


def may_nobody_run_our_python() -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in Path(sys.executable).resolve().parents)


@pytest.mark.skipif(os.geteuid() != 0, reason="this run has no root rights to give up: every other test here shows the same")
@pytest.mark.skipif(not may_nobody_run_our_python(), reason="this Python lies where other users can't run it")
def test_both_servers_run_for_a_user_without_root_rights(tmp_path):
    program = (
        "import os, sys, pathlib; from core.embedded.postgres import Postgres; from core.embedded.s3 import S3\n"
        "assert os.geteuid() != 0\n"
        "base = pathlib.Path(sys.argv[1])\n"
        "p = Postgres(base / 'p', base / 'p.log', 'a', 'b', durable=False); p.start()\n"
        "s = S3(base / 's', base / 's.log', 'a', 'b'); s.start(); s.stop(); p.stop(); print('both ran')"
    )
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, pwd.getpwnam("nobody").pw_uid, -1)
    for parent in (home, *home.parents):
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)

    done = subprocess.run([sys.executable, "-c", program, str(home)], cwd=ROOT, user="nobody", capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "both ran", done.stderr
