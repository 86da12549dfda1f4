"""What CI checks on Debian's own PostgreSQL 15 and PgBouncer.

All migrations run on PostgreSQL 15, leave nothing to do and nothing open to other roles, and every screen is read by its index there
as it is on PostgreSQL 18. Then the whole system runs on that server through PgBouncer in transaction mode, as production runs behind a
pooler, and a rider's journey is played on it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg2

from core.embedded import ports, processes
from core.embedded.postgres import ROLE, Postgres
from core.testing import services, system

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
PGBOUNCER = """
[databases]
revsync = host=127.0.0.1 port={server_port} dbname=revsync
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
max_client_conn = 100
# Fewer server connections than clients: whatever relied on its session would meet another one.
default_pool_size = 3
"""


def run(*command: str, env: dict[str, str] | None = None, timeout: float = 240) -> str:
    """A command that must succeed; its output."""
    done = subprocess.run(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def manage(*arguments: str) -> str:
    return run(sys.executable, "manage.py", *arguments)


def check_migrations() -> None:
    began = time.monotonic()
    applied = len(re.findall(r"Applying .*OK", manage("migrate", "--noinput")))
    manage("migrate", "--check")
    manage("makemigrations", "--check", "--dry-run")
    manage("check", "--database", "default", "--fail-level", "WARNING")
    print(f"PostgreSQL 15: {applied} migrations applied in {time.monotonic() - began:.0f} s, nothing left to do, nothing open", flush=True)


def check_plans(server: Postgres) -> None:
    """The suite's tests of plans, on this server: Postgres chooses differently from one major version to the next."""
    began = time.monotonic()
    nobody = dict.fromkeys(("S3_ENDPOINT_URL", "S3_PUBLIC_ENDPOINT_URL"), "http://127.0.0.1:9")  # links are signed, nothing is stored
    keys = {"S3_REGION": "us-east-1", "S3_ACCESS_KEY_ID": "test", "S3_SECRET_ACCESS_KEY": "test"}
    buckets = dict(zip(("S3_BUCKET_PRIVATE", "S3_BUCKET_PUBLIC"), services.BUCKETS, strict=True))
    env = {**os.environ, services.OWNER: str(os.getpid()), "DATABASE_URL": server.url, **nobody, **keys, **buckets}
    told = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "revsync_backend/tests/test_plans.py", env=env)
    print(f"PostgreSQL 15: plans, {told.strip().splitlines()[-1]}, {time.monotonic() - began:.0f} s in all", flush=True)


def start_pgbouncer(directory: Path, server: Postgres) -> tuple[str, subprocess.Popen[bytes]]:
    """A pooler in transaction mode before `server`; its URL for our role."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        sys.exit("pgbouncer is missing: apt-get install pgbouncer")
    port = ports.free_port()
    users = directory / "users.txt"
    users.write_text(f'"{ROLE}" "{server.role_password}"\n')
    config = directory / "pgbouncer.ini"
    config.write_text(PGBOUNCER.format(server_port=server.port, port=port, users=users))
    rights = {"user": "nobody"} if os.geteuid() == 0 else {}
    child = processes.spawn([program, str(config)], log=directory / "pgbouncer.log", **rights)
    url = f"postgres://{ROLE}:{server.role_password}@127.0.0.1:{port}/revsync"

    def answers() -> bool:
        try:
            psycopg2.connect(url, connect_timeout=3).close()
        except psycopg2.OperationalError:
            return False
        return True

    if not processes.wait_until(answers, seconds=10, alive=lambda: child.poll() is None):
        sys.exit(f"pgbouncer did not start:\n{(directory / 'pgbouncer.log').read_text()}")
    return url, child


def play_journey(directory: Path, pooled_url: str, direct_url: str) -> None:
    """The whole system on the pooled database, and a rider's journey on it."""
    servers = {"DATABASE_URL": pooled_url, "MIGRATION_DATABASE_URL": direct_url}
    try:
        with system.running(directory, extra=servers) as running:
            print(f"PgBouncer in transaction mode: ready in {running.ready_seconds:.0f} s", flush=True)
            began = time.monotonic()
            command = ("tools/demo_journey.py", "--base-url", running.base_url, "--data-dir", str(running.data))
            told = run(sys.executable, *command, env=running.environment)
            print(f"{told}\nPgBouncer in transaction mode: the journey took {time.monotonic() - began:.0f} s", flush=True)
    except system.NotReady as trouble:
        sys.exit(f"the system did not become ready behind the pooler:\n{trouble}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Check migrations and plans on PostgreSQL 15, and the system behind PgBouncer.")
    parser.add_argument("--only-migrations", action="store_true")
    options = parser.parse_args()
    if not (PROGRAMS / "initdb").exists():
        sys.exit("PostgreSQL 15 is missing: apt-get install postgresql-15")
    with tempfile.TemporaryDirectory(prefix="revsync-debian-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # the pooler's unprivileged user reads its configuration here; nothing in it is worth hiding
        servers = []
        for database in ("migrations", "journey"):
            server = Postgres(
                directory / database,
                directory / f"{database}.log",
                "superuser",
                "role",
                durable=database == "journey",
                extra={"shared_preload_libraries": ""},
                programs=PROGRAMS,
                major_version=15,
            )
            servers.append(server)
        pooler = None
        try:
            servers[0].start()
            (directory / "settings").mkdir()
            services.set_environment(directory / "settings", {"DATABASE_URL": servers[0].url})
            check_migrations()
            if not options.only_migrations:
                check_plans(servers[0])
            servers[0].stop()
            if not options.only_migrations:
                servers[1].durable = True
                servers[1].start()
                url, pooler = start_pgbouncer(directory, servers[1])
                play_journey(directory, url, servers[1].url)
        finally:
            if pooler:
                processes.stop_child(pooler)
            for server in servers:
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
