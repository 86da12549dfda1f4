"""Chromium without a window, driven over a pair of pipes by its own protocol: enough to open pages and see what went wrong.

The protocol is JSON with a NUL after each message (`--remote-debugging-pipe`), so that a library would bring nothing but itself.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 30
# The browser reads descriptor 3 and writes descriptor 4, whatever the pipes' numbers were here.
WITH_PIPES = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, pipe in zip((3, 4), pipes):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The program, when there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Trouble:
    """What a page did that it should not: dialogs, broken rules of its policy, errors, by kind and text."""

    told: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(f"{kind}: {text}" for kind, text in self.told)


class Browser:
    """One browser with one page; a context manager. `open` answers the trouble that a page made until it stood still."""

    def __init__(self, directory: Path) -> None:
        program = find_chromium()
        if program is None:
            raise RuntimeError("there is no Chromium on this machine")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        options = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={directory}", "--no-first-run", "--disable-gpu"]
        options += ["--disable-extensions", "--disable-dev-shm-usage", "--disable-background-networking", "--window-size=1280,900"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        self._process = subprocess.Popen(
            [sys.executable, "-c", WITH_PIPES, str(to_browser), str(from_browser), program, *options, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._buffer, self._session = 0, b"", ""
        self._trouble, self._loaded = Trouble(), 0
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and answer its result. Raises: RuntimeError (it refused), TimeoutError."""
        number = self._post(method, parameters)
        ends_at = time.monotonic() + SECONDS
        while True:
            message = self._next(ends_at)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def _post(self, method: str, parameters: dict[str, Any]) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._number

    def _next(self, ends_at: float) -> dict[str, Any]:
        """The next message; what a page does is noted on the way."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, ends_at - time.monotonic()))
            part = os.read(self._read, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("the browser says nothing more")
            self._buffer += part
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(raw)
        if "method" in message:
            self._note(message["method"], message["params"])
        return message

    def _note(self, event: str, facts: dict[str, Any]) -> None:
        told = self._trouble.told
        match event:
            case "Page.loadEventFired":
                self._loaded += 1
            case "Page.javascriptDialogOpening":
                told.append(("dialog", facts["message"][:200]))
                self._post("Page.handleJavaScriptDialog", {"accept": False})
            case "Runtime.exceptionThrown":
                details = facts["exceptionDetails"]
                told.append(("exception", str(details.get("exception", {}).get("description", details["text"]))[:300]))
            case "Runtime.consoleAPICalled" if facts["type"] in {"error", "assert"}:
                told.append(("console", " ".join(str(part.get("value", part.get("description", ""))) for part in facts["args"])[:300]))
            case "Log.entryAdded" if facts["entry"]["level"] == "error":
                told.append((facts["entry"]["source"], f"{facts['entry']['text'][:300]} {facts['entry'].get('url', '')}"))
            case "Audits.issueAdded" if facts["issue"]["code"] == "ContentSecurityPolicyIssue":
                issue = facts["issue"]["details"]["contentSecurityPolicyIssueDetails"]
                told.append(("policy", f"{issue['violatedDirective']} {issue.get('blockedURL', '')}"))

    def set_cookie(self, name: str, value: str, url: str) -> None:
        self.send("Network.setCookie", name=name, value=value, url=url)

    def open(self, url: str) -> Trouble:
        """Load a page, and let what it starts by itself run for a moment."""
        self._trouble, before = Trouble(), self._loaded
        failed = self.send("Page.navigate", url=url).get("errorText")
        if failed:
            raise RuntimeError(f"{url}: {failed}")
        ends_at = time.monotonic() + SECONDS
        while self._loaded == before:
            self._next(ends_at)
        self.evaluate("new Promise(done => setTimeout(done, 50))")
        return self._trouble

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise's when it is kept."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def picture(self) -> bytes:
        """What the page looks like now, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
