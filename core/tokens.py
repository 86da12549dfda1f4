"""Signed tokens: the codec, and what a session's two tokens say.

SimpleJWT's backend signs and verifies; which tokens live is decided by the session row alone (`core.authentication`,
`users.services`). One algorithm, HS256; the keys are `JWT_SIGNING_KEYS`, of which the first signs and all verify, so
that a key is changed without a failing request. Nothing of a refused token is logged, and no header can make us fetch
a key.
"""

import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import jwt
from django.conf import settings
from rest_framework_simplejwt.backends import TokenBackend

from core.exceptions import DomainError

ALGORITHM = "HS256"
ACCESS, REFRESH, MFA = "access", "refresh", "mfa"
MFA_GENERATION = 0  # no session's: those count from one

_HEADER = {"alg", "typ", "kid"}
_CLAIMS = {"iss", "aud", "typ", "sub", "sid", "gen", "jti", "iat", "exp"}
_LONGEST = 2048  # ours have about 500 characters
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # base64 decoders skip what is not of their alphabet
_LARGEST_NUMBER = 1 << 40  # beyond every time and generation of ours
_CLOCK_SKEW_SECONDS = 30
_SAME_ANSWER_FOR = timedelta(seconds=60)


class TokenInvalid(DomainError):
    """Any token that is not accepted, whatever the reason: the answer never says which."""

    message = "The token is not valid. Refresh it; when that fails too, sign in again."


@dataclass(frozen=True)
class Claims:
    """What a verified token says. Whether its session still lives is another question."""

    subject_id: uuid.UUID
    session_id: uuid.UUID
    generation: int


class _Codec(TokenBackend):
    """SimpleJWT's backend for one key, with the key's id in the header and the clock left to the caller."""

    def __init__(self, kid: str, key: str) -> None:
        super().__init__(ALGORITHM, signing_key=key, audience=settings.JWT_AUDIENCE, issuer=settings.JWT_ISSUER)
        self.kid = kid
        # An access token comes with every request of its ten minutes. What it says and that the key signed it stays true, and
        # was a tenth of a short request's cost; what can change is asked each time. What is refused is not remembered.
        self.decode_again = lru_cache(maxsize=1024)(self.decode)

    def encode(self, payload: dict[str, Any]) -> str:
        claims = {"iss": self.issuer, "aud": self.audience, **payload}
        return jwt.encode(claims, self.prepared_signing_key, algorithm=self.algorithm, headers={"kid": self.kid})

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        return jwt.decode(
            token,
            self.get_verifying_key(token),
            algorithms=[self.algorithm],
            audience=self.audience,
            issuer=self.issuer,
            options={"require": sorted(_CLAIMS), "strict_aud": True, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )


@lru_cache(maxsize=4)
def _codecs(keys: tuple[tuple[str, str], ...], _issuer: str, _audience: str) -> dict[str, _Codec]:
    return {kid: _Codec(kid, key) for kid, key in keys}


def _live_codecs() -> dict[str, _Codec]:
    return _codecs(tuple(settings.JWT_SIGNING_KEYS.items()), settings.JWT_ISSUER, settings.JWT_AUDIENCE)


def mint(
    token_type: str,
    *,
    subject_id: uuid.UUID,
    session_id: uuid.UUID,
    generation: int,
    token_id: str,
    issued_at: datetime,
    expires_at: datetime,
) -> str:
    """Sign one token with the newest key. The same arguments make the same token."""
    codec = next(iter(_live_codecs().values()))
    return codec.encode(
        {
            "typ": token_type,
            "sub": str(subject_id),
            "sid": str(session_id),
            "gen": generation,
            "jti": token_id,
            "iat": int(issued_at.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
    )


@lru_cache(maxsize=64)
def _header_of(segment: str) -> dict[str, Any]:
    """The header of a token, whose text is the same in every token of a key. Which key to try is all that it is asked for."""
    return jwt.get_unverified_header(f"{segment}.e30.")


def read(token: Any, *, token_type: str, at: datetime) -> Claims:
    """Verify signature, form, type, issuer, audience and times.

    Raises: TokenInvalid, for whatever is wrong with it.
    """
    try:
        if not isinstance(token, str) or len(token) > _LONGEST or not _FORM.fullmatch(token):
            raise TokenInvalid
        header = _header_of(token.partition(".")[0])
        if set(header) != _HEADER or header["alg"] != ALGORITHM or header["typ"] != "JWT":
            raise TokenInvalid
        codec = _live_codecs()[header["kid"]]
        claims = codec.decode_again(token) if token_type == ACCESS else codec.decode(token)
        if set(claims) != _CLAIMS or claims["typ"] != token_type:
            raise TokenInvalid
        numbers = claims["iat"], claims["exp"], claims["gen"]
        if any(type(value) is not int or not 0 <= value < _LARGEST_NUMBER for value in numbers):
            raise TokenInvalid
        seconds = at.timestamp()
        if not claims["iat"] - _CLOCK_SKEW_SECONDS <= seconds < claims["exp"]:
            raise TokenInvalid
        return Claims(subject_id=uuid.UUID(claims["sub"]), session_id=uuid.UUID(claims["sid"]), generation=claims["gen"])
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as problem:
        raise TokenInvalid from problem


def _token_id(*parts: object) -> str:
    """An id that follows from what the token is, so that the token can be made again."""
    key = next(iter(settings.JWT_SIGNING_KEYS.values())).encode()
    return hmac.new(key, "|".join(map(str, parts)).encode(), hashlib.sha256).hexdigest()[:32]


def mint_refresh(session: Any) -> str:
    """The live refresh token of a session row: all of it follows from the row."""
    return mint(
        REFRESH,
        subject_id=session.user_id,
        session_id=session.pk,
        generation=session.generation,
        token_id=_token_id(REFRESH, session.pk, session.generation),
        issued_at=session.rotated_at,
        expires_at=session.expires_at,
    )


def mint_access(session: Any, *, at: datetime) -> str:
    """An access token of a session row, for ten minutes and never beyond the session's own end.

    Within a minute of the rotation it is dated by the rotation: parallel refreshes answer the same bytes.
    """
    issued_at = session.rotated_at if timedelta(0) <= at - session.rotated_at < _SAME_ANSWER_FOR else at
    return mint(
        ACCESS,
        subject_id=session.user_id,
        session_id=session.pk,
        generation=session.generation,
        token_id=_token_id(ACCESS, session.pk, session.generation, int(issued_at.timestamp())),
        issued_at=issued_at,
        expires_at=min(issued_at + settings.ACCESS_TOKEN_LIFETIME, session.expires_at),
    )


def mint_mfa(*, user_id: uuid.UUID, challenge_id: uuid.UUID, at: datetime, expires_at: datetime) -> str:
    """What a log-in answers while the second factor is missing: good for that challenge only."""
    return mint(
        MFA,
        subject_id=user_id,
        session_id=challenge_id,
        generation=MFA_GENERATION,
        token_id=_token_id(MFA, challenge_id),
        issued_at=at,
        expires_at=expires_at,
    )
