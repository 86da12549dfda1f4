"""Idempotency keys as of https://docs.stripe.com/api/idempotent_requests."""

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from core.embedded.payments.store import Store, Transaction
from core.embedded.payments.wire import ApiError, ApiRequest, ApiResponse

LIFETIME_SECONDS = 24 * 3600
MAX_KEY_LENGTH = 255
BOOT = secrets.token_hex(8)  # a key left "in progress" by an earlier boot had no effect: effect and answer commit together


def run(store: Store, request: ApiRequest, act: Callable[[Transaction], Any], *, delay_seconds: float = 0) -> ApiResponse:
    """Run `act` at most once for a key: its effect and its saved answer are one transaction.

    The same key with the same path and parameters replays the saved status and body, an error of execution too; with
    others it is 400 `idempotency_error`; while the first is running it is 409 `idempotency_key_in_use`. A failed
    validation is not saved. After 24 hours the key is forgotten. `delay_seconds` makes a slow call: it holds its key.
    """
    if request.key is None:
        time.sleep(delay_seconds)
        with store.transaction() as tx:
            return _execute(tx, act)
    if not request.key or len(request.key) > MAX_KEY_LENGTH:
        raise ApiError(400, f"Idempotency keys have 1 to {MAX_KEY_LENGTH} characters.", kind="idempotency_error")
    replay = claim(store, request)
    if replay is not None:
        return replay
    try:
        time.sleep(delay_seconds)
        with store.transaction() as tx:
            response = _execute(tx, act)
            tx.db.execute(
                "UPDATE idempotency_keys SET status = ?, body = ? WHERE key = ?",
                (response.status, json.dumps(response.body), _scoped(request)),
            )
    except BaseException:
        release(store, _scoped(request))
        raise
    return response


def claim(store: Store, request: ApiRequest) -> ApiResponse | None:
    """Take the key for this call, or return the saved answer; raises the conflicts."""
    fingerprint = hashlib.sha256(json.dumps([request.path, request.params], sort_keys=True).encode()).hexdigest()
    with store.transaction() as tx:
        row = tx.db.execute(
            "SELECT fingerprint, path, boot, created, status, body FROM idempotency_keys WHERE key = ?", (_scoped(request),)
        ).fetchone()
        if row is not None and (time.time() - row[3] > LIFETIME_SECONDS or (row[4] is None and row[2] != BOOT)):
            tx.db.execute("DELETE FROM idempotency_keys WHERE key = ?", (_scoped(request),))
            row = None
        if row is None:
            tx.db.execute(
                "INSERT INTO idempotency_keys (key, fingerprint, path, boot, created) VALUES (?, ?, ?, ?, ?)",
                (_scoped(request), fingerprint, request.path, BOOT, time.time()),
            )
            return None
    saved_fingerprint, path, _, _, status, body = row
    if saved_fingerprint != fingerprint:
        what = (
            "the same parameters they were first used with"
            if path == request.path
            else f"the same endpoint they were first used for ({path})"
        )
        raise ApiError(
            400,
            f"Keys for idempotent requests can only be used with {what}. "
            f"Try using a key other than '{request.key}' if you meant to execute a different request.",
            kind="idempotency_error",
        )
    if status is None:
        raise ApiError(
            409,
            f"There is currently another in-progress request using this Idempotent Key: {request.key}",
            kind="idempotency_error",
            code="idempotency_key_in_use",
        )
    return ApiResponse(status, json.loads(body), {"Idempotent-Replayed": "true"})


def save_failure(store: Store, request: ApiRequest, response: ApiResponse) -> None:
    """Keep an answer under the key without any effect: the saved 500 that a provider may replay for a day."""
    if request.key and claim(store, request) is None:
        with store.transaction() as tx:
            tx.db.execute(
                "UPDATE idempotency_keys SET status = ?, body = ? WHERE key = ?",
                (response.status, json.dumps(response.body), _scoped(request)),
            )


def _scoped(request: ApiRequest) -> str:
    """Each connected account has keys of its own."""
    return f"{request.account} {request.key}" if request.account else str(request.key)


def release(store: Store, key: str) -> None:
    """Forget a key whose call had no effect."""
    with store.transaction() as tx:
        tx.db.execute("DELETE FROM idempotency_keys WHERE key = ? AND status IS NULL", (key,))


def _execute(tx: Transaction, act: Callable[[Transaction], Any]) -> ApiResponse:
    try:
        return ApiResponse(200, act(tx))
    except ApiError as error:
        if not error.saved:
            raise
        return ApiResponse(error.status, error.body)
