#!/usr/bin/env python
"""Recall a version while 200 riders download it, and print who was served before, refused after and told when.

    make drill                     # or: python tools/drill.py --riders 200

It starts the whole system on ports and in a directory of its own, with the demo's people and its free MT-09 tune, and a
stand-in for Google's push service. Each rider asks for a download and a ticket over HTTP, again and again until refused.
Exit status 1 when anything was handed out after the recall's commit, when somebody who has the version was not told, or
when the status document took longer than a minute.
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.testing import fcm
from core.testing.system import System, running

TIMEOUT_SECONDS = 120
DOCUMENT_SECONDS = 60
TOLD_SECONDS = 240


@dataclass(frozen=True)
class Asked:
    """One request of a rider: when it left, when its answer came, and what that was."""

    sent_at: float
    answered_at: float
    status: int
    code: str
    has_ticket: bool
    grant: str | None


class Crowd:
    """Everybody asks at once, and again until refused."""

    def __init__(self, base_url: str, riders: list[dict[str, str]], version: str) -> None:
        self.base_url, self.riders, self.version = f"{base_url}/api/v1/", riders, version
        self.asked: list[Asked] = []
        self.links: list[Asked] = []
        self.line = threading.Barrier(len(riders) + 1)
        self.first_answers = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self._ride, args=(rider,)) for rider in riders]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()
        self.line.wait(60)

    def join(self) -> None:
        for thread in self.threads:
            thread.join()

    def _ride(self, rider: dict[str, str]) -> None:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {rider['token']}"
        self.line.wait(60)
        granted, is_first = None, True
        refusals = 0
        while refusals < 2:  # and once more: the second one is surely asked after the commit
            body = {"vehicle": rider["vehicle"], "version": self.version}
            answer = self._post(session, f"marketplace/purchases/{rider['purchase']}/downloads/", body)
            self.asked.append(answer)
            granted = answer.grant or granted
            if is_first:
                self.first_answers.release()
                is_first = False
            refusals += answer.status != 201
        if granted is not None:
            self.links.append(self._post(session, f"marketplace/downloads/{granted}/link/", {}))

    def _post(self, session: requests.Session, path: str, body: dict[str, Any]) -> Asked:
        sent_at = time.time()
        answer = session.post(self.base_url + path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())}, timeout=TIMEOUT_SECONDS)
        content = answer.json()
        is_good = answer.status_code in (200, 201)
        return Asked(
            sent_at,
            time.time(),
            answer.status_code,
            content.get("code", ""),
            is_good and content.get("ticket") is not None,
            content["id"] if is_good else None,
        )


def inside(system: System, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A process with the settings of the running system that does one act of `tools.drill_inside`."""
    code = f"from tools.drill_inside import main; main(*{arguments!r})"
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", code]
    settings = system.environment | environment
    return subprocess.Popen(command, cwd=ROOT, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str], line: str | None = None) -> dict[str, Any]:
    out, _ = process.communicate(line, timeout=1800)
    if process.returncode:
        raise SystemExit(f"drill: the inner process ended with {process.returncode}\n{out}")
    return json.loads(out.strip().splitlines()[-1])


def watch_status(base_url: str, version: str, since: float, seen: list[float]) -> None:
    """Note when the served status document has the stop of a version."""
    while time.time() < since + 3 * DOCUMENT_SECONDS:
        envelope = requests.get(f"{base_url}/api/v1/trust/status/", timeout=TIMEOUT_SECONDS).json()
        stopped = json.loads(base64.b64decode(envelope["payload"]))["stopped"]
        if any(entry.get("tune_version_id") == version for entry in stopped):
            seen.append(time.time())
            return
        time.sleep(0.25)


def wait_until(found: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (is_found := found()) and time.monotonic() < deadline:
        time.sleep(1)
    return is_found


def drill(system: System, google: fcm.FcmServer, count: int) -> list[str]:
    """Run it and print it; what went wrong."""
    made = result_of(inside(system, "crowd", str(count), SIGNER_SOCKET=""))  # the signer signs no history
    version, riders = made["version"], made["riders"]
    print(f"{count} riders own {made['name']}, each with a bike and a phone", flush=True)
    recalling = inside(system, "recall", version)
    assert recalling.stdout is not None and recalling.stdin is not None
    while recalling.stdout.readline().strip() != "ready":
        pass
    crowd, seen = Crowd(system.base_url, riders, version), []
    crowd.start()
    for _ in range(count):  # everybody had one answer: now all of them are asking again
        crowd.first_answers.acquire(timeout=TIMEOUT_SECONDS)
    act = result_of(recalling, "now\n")
    watch_status(system.base_url, version, act["committed_at"], seen)
    crowd.join()
    acknowledge(system, riders[0], act["stop"])
    report: dict[str, Any] = {}

    def is_told() -> bool:
        report.update(result_of(inside(system, "report", version)))
        told = report["reached"]
        return report["is_told_to_all"] and told["mailed"] >= told["holders"] and len(pushed_to(google)) >= count

    wait_until(is_told, TOLD_SECONDS)
    return tell(crowd, act, seen, report, pushed_to(google), count)


def pushed_to(google: fcm.FcmServer) -> set[str]:
    """The phones that got an urgent push of a recall."""
    return {
        sent["message"]["token"]
        for sent in list(google.messages)
        if sent["message"]["data"]["type"] == "RECALL" and sent["message"]["android"]["priority"] == "HIGH"
    }


def acknowledge(system: System, rider: dict[str, str], stop: str) -> None:
    headers = {"Authorization": f"Bearer {rider['token']}"}
    url = f"{system.base_url}/api/v1/marketplace/recalls/{stop}/acknowledge/"
    requests.post(url, headers=headers, timeout=TIMEOUT_SECONDS).raise_for_status()


def tell(crowd: Crowd, act: dict, seen: list[float], report: dict, pushed: set[str], count: int) -> list[str]:
    """Print the table; return what went wrong."""
    committed = act["committed_at"]
    before = [asked for asked in crowd.asked if asked.answered_at <= act["asked_at"]]
    after = [asked for asked in crowd.asked if asked.sent_at > committed]
    flying = [asked for asked in crowd.asked if asked not in before and asked not in after]

    def row(when: str, asked: list[Asked]) -> str:
        good = [each for each in asked if each.status in (200, 201)]
        codes = sorted({each.code for each in asked if each.status not in (200, 201)})
        tickets, refused = sum(each.has_ticket for each in good), f"{len(asked) - len(good)} {', '.join(codes)}".strip()
        return f"| {when} | {len(asked)} | {len(good)} | {tickets} | {refused} |"

    def lag(name: str) -> str:
        moments = report["moments"][name]
        return f"{len(moments)}, {moments[0] - committed:.1f} s to {moments[-1] - committed:.1f} s" if moments else "nobody"

    document = f"{seen[0] - committed:.1f} s" if seen else "never"
    reached = report["reached"]
    print(f"\nThe act took {(committed - act['asked_at']) * 1000:.0f} ms under {count} concurrent requests.\n")
    print("| asked | requests | served | with a ticket | refused |\n| --- | --- | --- | --- | --- |")
    print(row("and answered before the act", before))
    print(row("while it was being made", flying))
    print(row("after its commit", after))
    print(row("after its commit, for a fresh link", crowd.links))
    print("\n| after the commit | |\n| --- | --- |")
    print(f"| in the status document | {document} |")
    print(f"| told in the app (riders and tuner) | {lag('created_at')} |")
    print(f"| mailed | {lag('mailed_at')} |")
    print(f"| pushed to, at high priority | {len(pushed)} of {count} phones |")
    print(f"| have it, told, acknowledged | {reached['holders']}, {reached['told']}, {reached['acknowledged']} |")
    print(f"| downloads and tickets at the commit | {act['grants']}, {act['tickets']} |")
    print(f"| downloads and tickets in the end | {report['grants']}, {report['tickets']} |")
    checks = {
        "everybody was answered": len({asked.code for asked in crowd.asked if asked.status >= 500}) == 0,
        "every rider was served before": len(before) >= count and all(asked.status == 201 for asked in before),
        "everybody asked after the commit": len(after) >= count,
        "nobody was served after the commit": not [each for each in [*after, *crowd.links] if each.status in (200, 201)],
        "no download was given after the commit": act["grants"] == report["grants"],
        "no ticket was given after the commit": act["tickets"] == report["tickets"] and report["late_tickets"] == 0,
        "some had tickets": act["tickets"] > 0,
        "everybody who has it was told": report["untold"] == [] and reached["told"] == reached["holders"] >= count,
        "everybody who has it was mailed": reached["mailed"] == reached["holders"],
        "every phone was pushed to": len(pushed) == count,
        "an acknowledgement was kept": reached["acknowledged"] >= 1,
        "the status document came within a minute": bool(seen) and seen[0] - committed <= DOCUMENT_SECONDS,
    }
    print()
    for name, is_so in checks.items():
        print(f"{'ok   ' if is_so else 'WRONG'} {name}")
    return [name for name, is_so in checks.items() if not is_so]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--riders", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="revsync-drill-") as name, fcm.serving() as google:
        directory = Path(name)
        key = directory / "push-key.json"
        key.write_text(json.dumps(google.account()))
        extra = {"REVSYNC_DEMO": "0", "FCM_SERVICE_ACCOUNT_FILE": str(key), "FCM_API_BASE": google.url}
        print("starting a system of its own …", flush=True)
        with running(directory, extra=extra) as system:
            wrong = drill(system, google, options.riders)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
