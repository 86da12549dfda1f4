"""The app's client of our public API: a token, repeated calls after a lost answer, and refusals as exceptions."""

import time
from collections.abc import Callable
from typing import Any

import requests

from vbench.phone import Phone

LARGEST_WAIT_SECONDS = 5.0


class ApiRefused(Exception):
    """The API said no; `code` says why."""

    def __init__(self, call: str, status: int, problem: dict[str, Any]) -> None:
        self.status, self.code, self.problem = status, str(problem.get("code", "")), problem
        super().__init__(f"{call}: {status} {self.code} {problem.get('detail', '')} {problem.get('errors', '')}")


class Offline(Exception):
    """No answer, however often it was tried. What was asked may have been done."""


class Api:
    """One phone at the API. Every call may be repeated: the caller gives a key, or an id of its own, where that takes one."""

    def __init__(self, base_url: str, phone: Phone, *, proxy: str | None = None, tries: int = 4, pause_seconds: float = 0.2) -> None:
        self.base_url, self.phone, self.tries, self.pause_seconds = base_url.rstrip("/"), phone, tries, pause_seconds
        self.calls = 0
        self._http = requests.Session()
        self._http.trust_env = False
        if proxy:
            self._http.proxies = {"http": proxy, "https": proxy}

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None, **params: Any) -> Any:
        """The parsed answer of a call below /api/v1/. Raises ApiRefused and Offline."""
        try:
            return self._call(method, path, body, key, params)
        except ApiRefused as refusal:
            if refusal.code != "token_invalid" or self.phone["refresh"] is None:
                raise
            self._refresh()
            return self._call(method, path, body, key, params)

    def _refresh(self) -> None:
        """New tokens, kept before they are used. If that answer gets lost, the old one gives the same again."""
        tokens = self._call("POST", "auth/refresh/", {"refresh": self.phone["refresh"]}, None, {}, signed_in=False)
        self.phone.keep(access=tokens["access"], refresh=tokens["refresh"])

    def _call(self, method: str, path: str, body: Any, key: str | None, params: dict[str, Any], *, signed_in: bool = True) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        if signed_in and self.phone["access"]:
            headers["Authorization"] = f"Bearer {self.phone['access']}"
        url = f"{self.base_url}/api/v1/{path}"
        answer = self._repeat(lambda: self._http.request(method, url, json=body, params=params, headers=headers, timeout=30))
        try:
            parsed = answer.json() if answer.content else None
        except ValueError as error:
            raise Offline(f"{method} {path}: {answer.status_code}, and no JSON") from error
        if answer.status_code >= 400:
            raise ApiRefused(f"{method} {path}", answer.status_code, parsed if isinstance(parsed, dict) else {})
        return parsed

    def put_file(self, link: dict[str, Any], data: bytes) -> None:
        """Send a file to the storage. Raises Offline."""
        answer = self._repeat(lambda: self._http.put(link["url"], data=data, headers=link["headers"], timeout=60))
        if answer.status_code != 200:
            raise Offline(f"the storage answered {answer.status_code}")

    def get_file(self, url: str, *, have: bytes, largest: int) -> bytes:
        """The file behind a link from where `have` ends, never more than one byte beyond `largest`: a longer one is refused later.

        What came before a line broke is returned as well: the caller asks for the rest with a fresh link. Raises Offline.
        """
        data = bytearray(have)
        headers = {"Range": f"bytes={len(have)}-"} if have else {}
        try:
            with self._http.get(url, headers=headers, stream=True, timeout=30) as answer:
                self.calls += 1
                if answer.status_code not in (200, 206):
                    raise Offline(f"the storage answered {answer.status_code}")
                if answer.status_code == 200:
                    data.clear()
                for chunk in answer.iter_content(65_536):
                    data += chunk
                    if len(data) > largest:
                        break
        except requests.RequestException as error:
            if len(data) == len(have):
                raise Offline(type(error).__name__) from error
        return bytes(data[: largest + 1])

    def _repeat(self, ask: Callable[[], requests.Response]) -> requests.Response:
        trouble = ""
        for attempt in range(self.tries):
            if attempt:
                time.sleep(self.pause_seconds * 2 ** (attempt - 1))
            try:
                answer = ask()
            except requests.RequestException as error:
                trouble = type(error).__name__
                continue
            self.calls += 1
            if answer.status_code not in (429, 502, 503, 504):
                return answer
            trouble = str(answer.status_code)
            time.sleep(min(LARGEST_WAIT_SECONDS, float(answer.headers.get("Retry-After", "0")) or self.pause_seconds))
        raise Offline(f"no answer after {self.tries} tries: {trouble}")
