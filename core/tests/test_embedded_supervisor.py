"""`make run`, played for real: one system on ports and a data directory of its own."""

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import urllib.error
import urllib.request

import psutil
import pytest

from core.embedded import ports, processes
from core.testing.leaks import find_in_logs_of
from core.testing.process_tree import ROOT, System, is_gone


class Neighbour:
    """Another host: a network namespace with a cable of its own to this one. Where that is not allowed, loopback's second address."""

    def __init__(self) -> None:
        # A network for each process, so that runs side by side don't meet.
        net = f"10.{213 + os.getpid() // 16_384 % 8}.{os.getpid() // 64 % 256}"
        self.here, self.there = f"{net}.{os.getpid() % 64 * 4 + 1}", f"{net}.{os.getpid() % 64 * 4 + 2}"
        self.name = f"rs{os.getpid()}"
        cable = (f"rs{os.getpid()}a", f"rs{os.getpid()}b")
        self.is_real = shutil.which("ip") is not None and all(
            subprocess.run(["ip", *command.split()], capture_output=True, check=False).returncode == 0
            for command in (
                f"netns add {self.name}",
                f"link add {cable[0]} type veth peer name {cable[1]} netns {self.name}",
                f"addr add {self.here}/30 dev {cable[0]}",
                f"link set {cable[0]} up",
                f"-n {self.name} addr add {self.there}/30 dev {cable[1]}",
                f"-n {self.name} link set {cable[1]} up",
            )
        )
        self.address_of_this_host = self.here if self.is_real else "127.0.0.2"

    def open_ports(self, wanted: list[int]) -> set[int]:
        """Those of the ports that the neighbour can connect to."""
        program = (
            "import socket, sys\n"
            "for port in map(int, sys.argv[2:]):\n"
            "    try: socket.create_connection((sys.argv[1], port), timeout=2).close(); print(port)\n"
            "    except OSError: pass"
        )
        command = ["ip", "netns", "exec", self.name] if self.is_real else []
        command += [sys.executable, "-c", program, self.address_of_this_host, *map(str, wanted)]
        return {int(line) for line in subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()}

    def leave(self) -> None:
        if shutil.which("ip"):
            subprocess.run(
                ["ip", "netns", "del", self.name], capture_output=True, check=False
            )  # its end of the cable goes, and so does ours


def listening(members: list[psutil.Process]) -> dict[int, set[str]]:
    """Port → addresses on which any of these processes listens."""
    found: dict[int, set[str]] = {}
    for process in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found.setdefault(connection.laddr.port, set()).add(connection.laddr.ip)
    return found


@pytest.fixture(scope="module")
def neighbour():
    host = Neighbour()
    yield host
    host.leave()


@pytest.fixture(scope="module")
def system(tmp_path_factory, neighbour):
    running = System(tmp_path_factory.mktemp("system") / "data", public_host=neighbour.address_of_this_host)
    running.start_and_wait()
    yield running
    running.clean_up()


# The tests of this file tell one story about one system: with xdist they stay on one worker (`--dist loadgroup`).
pytestmark = [pytest.mark.xdist_group("supervisor"), pytest.mark.timeout(400)]


def test_one_ready_line_names_api_docs_and_admin(system):
    ready = [line for line in system.said().splitlines() if "ready in" in line]

    assert len(ready) == 1
    base = f"http://{system.public_host or '127.0.0.1'}:{system.port}"
    for part in (f"{base}/api/v1/", f"{base}/api/docs/", f"{base}/admin/", "demo.json", "mail"):
        assert part in ready[0]
    assert system.get("/readyz")[0] == 200
    assert system.get("/livez") == (200, '{"status": "alive"}')


def test_the_whole_system_at_rest_is_small(system):
    """Shared pages counted once (PSS), in millions of bytes."""
    sizes: dict[str, float] = {}
    for process in system.members():
        with contextlib.suppress(psutil.NoSuchProcess):
            part = " ".join(process.cmdline())[-60:]
            sizes[f"{process.pid} {part}"] = process.memory_full_info().pss / 1e6
    web = [size for part, size in sizes.items() if "--no-control-socket" in part]

    assert sum(sizes.values()) < 700, sizes
    assert len(web) == 2, "gunicorn and its one worker"
    assert max(web) < 115, sizes


def test_the_signer_has_the_keys_and_none_of_the_applications_secrets(system):
    signer = system.child("core.signing.signer")

    known = " ".join(f"{name}={value}" for name, value in signer.environ().items())
    for name, secret in json.loads((system.data / "secrets.json").read_text()).items():
        assert secret not in known, name
    assert stat.S_IMODE((system.data / "signing" / "keys").stat().st_mode) == 0o700
    assert "SIGNER_SOCKET=" in (system.data / "runtime.env").read_text()
    assert signer.memory_full_info().pss / 1e6 < 25


def test_secrets_and_settings_of_the_run_are_private_files(system):
    for name in ("secrets.json", "runtime.env"):
        assert stat.S_IMODE((system.data / name).stat().st_mode) == 0o600
    for name in ("mail", "logs", "signing", "s3", "postgres", "payments"):
        assert stat.S_IMODE((system.data / name).stat().st_mode) == 0o700
    command_lines = " ".join(" ".join(process.cmdline()) for process in system.members())
    for secret in json.loads((system.data / "secrets.json").read_text()).values():
        assert secret not in command_lines


def test_manage_py_works_beside_the_running_system(system):
    environment = {"PATH": os.environ["PATH"], "REVSYNC_DATA_DIR": str(system.data)}

    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--check"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_only_the_web_and_the_s3_port_can_be_reached_from_another_address(system, neighbour):
    runtime = dict(line.split("=", 1) for line in (system.data / "runtime.env").read_text().splitlines() if not line.startswith("#"))
    relay_port = int(runtime["S3_PUBLIC_ENDPOINT_URL"].rsplit(":", 1)[1])
    all_ports = listening(system.members())

    assert len(all_ports) >= 13, "web, relay, PostgreSQL, payments and the S3 server's ten"
    reachable = neighbour.open_ports(sorted(all_ports))
    assert reachable == {system.port, relay_port}
    assert {port for port, addresses in all_ports.items() if addresses != {"127.0.0.1"}} == reachable
    with pytest.raises(urllib.error.HTTPError) as caught:  # it is the S3 server, and it asks for a signature
        urllib.request.urlopen(f"http://{system.public_host}:{relay_port}/revsync-private/x", timeout=5)
    assert caught.value.code == 403


def test_a_second_copy_on_the_same_data_directory_is_refused_in_one_line(system):
    second = System(system.data).start()

    assert second.process.wait(60) == 1
    assert second.said().splitlines() == [
        f"revsync: another copy runs on {system.data} (process {system.process.pid}): stop it, or set REVSYNC_DATA_DIR and PORT"
    ]


def test_a_taken_port_is_refused_in_one_line(system, tmp_path):
    second = System(tmp_path / "other")
    second.port = system.port

    assert second.start().process.wait(60) == 1
    assert second.said().splitlines() == [f"revsync: port {system.port} is taken: choose another one with PORT=…"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("web", "gunicorn"),
        ("worker", "run_worker"),
        ("schedule", "run_schedule"),
        ("payments", "core.embedded.payments"),
        ("relay", "core.embedded.relay"),
        ("signer", "core.signing.signer"),
    ],
)
def test_a_child_that_dies_is_started_again_and_it_is_said(system, name, part):
    victim = system.child(part)
    victim.kill()

    system.wait_for(f"{name} was ended by SIGKILL; starting it again")
    system.wait_for(f"{name} was started again")
    system.wait_until(system.is_ready)
    assert system.child(part).pid != victim.pid


def test_a_killed_database_comes_back_on_its_port_and_the_system_recovers(system):
    before = (system.data / "runtime.env").read_text()
    system.child("/postgres -D").kill()

    system.wait_for("postgres was started again")

    system.wait_until(system.is_ready)
    assert (system.data / "runtime.env").read_text() == before


def test_a_killed_s3_server_comes_back_on_its_port_and_the_system_recovers(system):
    system.child("weed").kill()

    system.wait_for("s3 was started again")

    system.wait_until(system.is_ready)


def test_nothing_private_is_in_the_logs(system):
    """After all that dying and coming back, and with people at the door: the logs of web, worker, database and storage."""
    address = "anna.quandtberg@example.com"
    for path, body in (
        ("auth/register/", {"email": address, "password": "quiet-otter-lifts-9-anvils", "display_name": "Anna", "terms_version": "none"}),
        ("auth/login/", {"email": address, "password": "quiet-otter-lifts-9-anvils"}),
        ("auth/password/reset/", {"email": address}),
        ("auth/refresh/", {"refresh": "eyJhbGciOiJIUzI1NiIs.eyJzdWIiOiIwMTkzYTZmMiJ9.c2ln"}),
        (f"marketplace/tunes/?q={address}", None),
    ):
        request = urllib.request.Request(
            f"http://127.0.0.1:{system.port}/api/v1/{path}",
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json", "Authorization": "Bearer eyJhbGciOiJIUzI1NiIs.eyJzdWIiOiIwMTkzYTZmMiJ9.c2ln"},
        )
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()

    assert (system.data / "logs" / "web.log").stat().st_size > 0
    assert find_in_logs_of(system.data) == []


def test_the_next_start_recovers_after_everything_was_killed_and_stops_cleanly(system):
    killed = system.kill_everything()
    assert (system.data / "runtime.env").exists(), "nobody could tidy up"
    system.public_host = ""

    assert system.start_and_wait() < system.allowance(40)
    assert not [process for process in killed if not is_gone(process)]
    members = system.members()
    assert {address for addresses in listening(members).values() for address in addresses} == {"127.0.0.1"}
    assert system.stop() < system.allowance(15)
    assert system.process.returncode == 0
    assert not [process for process in members if not is_gone(process)]
    assert not (system.data / "runtime.env").exists()
    assert not re.search(r"failed|Traceback", system.said())
    if system.allowance(1) < 2:  # on a machine that is this busy a child may need longer than its grace
        assert "was killed" not in system.said()


@pytest.mark.long
def test_a_child_that_dies_again_and_again_ends_the_whole(system):
    environment = {"PATH": os.environ["PATH"], "PORT": str(ports.free_port()), "REVSYNC_DATA_DIR": str(system.data), "REVSYNC_DEMO": "0"}
    program = (
        "import sys; from core.embedded import supervisor\n"
        "supervisor.web_command = lambda host, port: [sys.executable, '-c', 'raise SystemExit(7)']\n"
        "sys.exit(supervisor.main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170, check=False
    )

    assert done.returncode == 1
    assert "web ended with status 7; starting it again in 0.2 s" in done.stdout
    assert "web ended with status 7 for the 6th time in 60 s, stopping everything" in done.stdout


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_first_start_that_is_killed_while_it_loads_the_demo_data_is_made_good_by_the_next(tmp_path):
    first = System(tmp_path / "data", demo=True)
    try:
        first.start().wait_for("loading the demo data")
        log = tmp_path / "data" / "logs" / "demo.log"
        first.wait_until(lambda: log.exists() and log.read_text().count("demo: ") >= 4, seconds=600)
        assert "demo_data" in {part["name"] for part in first.ask("GET", "/readyz").json()["failing"]}
        first.kill_everything()
        assert not (tmp_path / "data" / "demo.json").exists()

        first.start().wait_for("ready in", 900)

        accounts = json.loads((tmp_path / "data" / "demo.json").read_text())
        assert {account["role"] for account in accounts} == {"RIDER", "TUNER", "CREATOR", "ADMIN"}
        assert {account["about"] for account in accounts} == {"", "applicant", "suspended"}
        for role in ("RIDER", "TUNER", "CREATOR", "ADMIN"):
            assert next(account for account in accounts if account["role"] == role)["about"] == "", "the first is in good standing"
        assert all(set(account) == {"role", "email", "password", "totp_secret", "about"} for account in accounts)
        assert all(account["totp_secret"] for account in accounts if account["role"] != "RIDER")
        assert stat.S_IMODE((tmp_path / "data" / "demo.json").stat().st_mode) == 0o600
        assert list((tmp_path / "data" / "demo" / "stock").glob("*.bin"))
        first.manage("verify_invariants", "--objects")
        assert first.stop() < first.allowance(15)
    finally:
        first.clean_up()


@pytest.mark.parametrize("port", ["0", "eighty", "70000"])
def test_a_port_that_is_none_is_refused_in_one_line(port, tmp_path):
    environment = {"PATH": os.environ["PATH"], "PORT": port, "REVSYNC_DATA_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-m", "core.embedded.supervisor"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (1, f"revsync: PORT is '{port}': a number from 1 to 65535 is wanted\n")


def test_sigterm_during_the_start_stops_it_cleanly(system, tmp_path):
    starting = System(tmp_path / "data").start()
    assert processes.wait_until(lambda: (tmp_path / "data" / "processes.json").exists(), seconds=60)
    members = starting.members()

    assert starting.stop() < system.allowance(15)

    assert starting.process.returncode == 0, starting.said()
    assert not [process for process in members if not is_gone(process)]


def test_the_supervisor_ends_when_make_is_killed(tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(ports.free_port()),
        "REVSYNC_DATA_DIR": str(tmp_path / "data"),
        "REVSYNC_DEMO": "0",
    }
    program = (
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-m', 'core.embedded.supervisor', '--end-with-parent']).pid, flush=True)\n"
        "import time; time.sleep(60)"
    )
    make = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    started = psutil.Process(int(make.stdout.readline()))
    assert processes.wait_until(lambda: (tmp_path / "data" / "processes.json").exists(), seconds=60)
    members = [started, *started.children(recursive=True)]

    make.kill()
    make.wait(60)

    _, living = psutil.wait_procs(members, timeout=60)
    assert not living
