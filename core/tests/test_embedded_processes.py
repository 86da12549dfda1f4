"""Children that can't outlive their parent, and leftovers that are found by more than a number."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from core.embedded import ports, processes
from core.embedded.processes import ProcessBook, ProcessRecord

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
ROOT = Path(processes.__file__).resolve().parent.parent.parent


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_child_leads_its_own_session_so_that_ctrl_c_reaches_the_supervisor_alone(tmp_path):
    child = processes.spawn(SLEEPER, log=tmp_path / "log")

    assert processes.wait_until(lambda: os.getsid(child.pid) == child.pid, seconds=30)

    processes.stop_child(child)
    assert child.returncode == -signal.SIGTERM


def test_children_end_when_their_parent_is_killed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from core.embedded import processes\n"
        "child = processes.spawn([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)'], log=Path(sys.argv[1]))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", program, str(log)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    child_pid = int(parent.stdout.readline())
    assert processes.wait_until(lambda: log.exists() and log.read_text() == "1\n", seconds=30), "the child runs"

    parent.kill()
    parent.wait(30)

    assert processes.wait_until(lambda: is_gone(child_pid), seconds=30)


def test_a_stubborn_child_is_killed_after_its_grace(tmp_path):
    log = tmp_path / "log"
    child = processes.spawn(
        [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"], log=log
    )
    assert processes.wait_until(lambda: log.read_text() == "1\n", seconds=30)

    processes.stop_child(child, grace_seconds=0.2)

    assert child.returncode == -signal.SIGKILL


def test_leftovers_of_an_earlier_run_are_found_with_their_descendants(tmp_path):
    program = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True); time.sleep(60)"
    )
    left = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    grandchild = int(left.stdout.readline())
    ProcessBook(tmp_path / "book.json").enter("web", left.pid)

    found = ProcessBook(tmp_path / "book.json").leftovers()

    assert {(name, process.pid) for name, process in found} == {("web", left.pid), ("web", grandchild)}
    processes.stop([process for _, process in found], grace_seconds=2)
    left.wait(30)
    assert processes.wait_until(lambda: is_gone(grandchild), seconds=30)


def test_a_process_that_got_a_recorded_number_later_is_left_alone(tmp_path):
    stranger = subprocess.Popen(SLEEPER)
    try:
        assert ProcessRecord("web", stranger.pid, psutil.Process(stranger.pid).create_time() - 100).find() is None
    finally:
        stranger.kill()
        stranger.wait(30)


@pytest.mark.parametrize("content", ["", "not json", '[{"name": "x"}]', '{"a": 1}'])
def test_a_damaged_process_book_is_an_empty_one(tmp_path, content):
    (tmp_path / "book.json").write_text(content)

    assert ProcessBook(tmp_path / "book.json").leftovers() == []


def test_a_free_port_keeps_the_preferred_one_unless_it_is_taken():
    wanted = ports.free_port()
    assert ports.free_port(wanted) == wanted
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", wanted))
        squatter.listen()
        assert ports.free_port(wanted) != wanted


def test_the_relay_passes_bytes_both_ways_and_closes_when_either_side_does():
    upstream = socket.create_server(("127.0.0.1", 0))

    def echo() -> None:
        connection, _ = upstream.accept()
        with connection:
            while data := connection.recv(65_536):
                connection.sendall(data.upper())

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    port = ports.free_port()
    relay = subprocess.Popen(
        [sys.executable, "-m", "core.embedded.relay", "--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{upstream.getsockname()[1]}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        relay.stdout.readline()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"x" * 1_000_000)
            received = 0
            while received < 1_000_000:
                received += len(client.recv(65_536))
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
        thread.join(30)
        assert not thread.is_alive()
        relay.terminate()
        assert relay.wait(30) == 0
    finally:
        relay.kill()
        upstream.close()
