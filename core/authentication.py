"""Who is calling: the access token names a session row, and the row decides.

One indexed query reads the session and its person together, so a revoked device, a changed role or a blocked account
bites on the next request. The first use of a rotated token is noted on the row: from then on its parent is no longer
answered (see `users.services.sessions`).
"""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connection
from rest_framework.authentication import BaseAuthentication

from core import audit, clock, tokens
from core.peer import peer_address, storable_address
from core.tokens import Claims, TokenInvalid

SEEN_EVERY = timedelta(minutes=5)  # how often `last_seen_at` is written for a busy session


@lru_cache(maxsize=1)
def _statement() -> tuple[type, type, list[str], list[str], str]:
    """The models, their columns and the one query; hand-written because every signed-in request pays for it."""
    session_model = apps.get_model(settings.SESSION_MODEL)
    user_model = session_model._meta.get_field("user").related_model
    session_fields, user_fields = ([field.attname for field in model._meta.concrete_fields] for model in (session_model, user_model))
    quote = connection.ops.quote_name
    columns = [f"session.{quote(field.column)}" for field in session_model._meta.concrete_fields]
    columns += [f"person.{quote(field.column)}" for field in user_model._meta.concrete_fields]
    sql = (
        f"SELECT {', '.join(columns)} FROM {quote(session_model._meta.db_table)} session "
        f"JOIN {quote(user_model._meta.db_table)} person ON person.{quote(user_model._meta.pk.column)} = session.user_id "
        "WHERE session.id = %s AND session.user_id = %s"
    )
    return session_model, user_model, session_fields, user_fields, sql


def find_session(claims: Claims) -> Any | None:
    """The session row of a verified token with its `user` filled in, in one query; None when there is none."""
    session_model, user_model, session_fields, user_fields, sql = _statement()
    with connection.cursor() as cursor:
        cursor.execute(sql, [claims.session_id, claims.subject_id])
        row = cursor.fetchone()
    if row is None:
        return None
    session = session_model.from_db(connection.alias, session_fields, row[: len(session_fields)])
    session.user = user_model.from_db(connection.alias, user_fields, row[len(session_fields) :])
    return session


def authenticate_token(token: str, *, at: datetime, peer: str) -> tuple[Any, Any]:
    """The person and session of an access token; notes the session's use.

    Raises: TokenInvalid for any token that does not authenticate now.
    """
    claims = tokens.read(token, token_type=tokens.ACCESS, at=at)
    session = find_session(claims)
    if session is None or not session.user.is_active or not session.is_live(at):
        raise TokenInvalid
    if not session.login_generation <= claims.generation <= session.generation:
        raise TokenInvalid
    first_use = claims.generation == session.generation and session.current_used_at is None
    if first_use or at - session.last_seen_at >= SEEN_EVERY:
        note = {"last_seen_at": at, "last_ip": storable_address(peer)}
        if first_use:
            note["current_used_at"] = at
        type(session).objects.filter(pk=session.pk, generation=session.generation, revoked_at=None).update(**note)
        session.__dict__.update(note)
    return session.user, session


class SessionTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`; `request.auth` is the session row."""

    def authenticate(self, request):
        """(person, session), or None without the header. Raises: TokenInvalid."""
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise TokenInvalid("Send the access token as a bearer token.")
        user, session = authenticate_token(token.strip(), at=clock.now(), peer=peer_address(request))
        audit.act_from_session(session.pk)  # forgotten when the request ends
        return user, session

    def authenticate_header(self, request):
        """What a 401 asks for."""
        return 'Bearer realm="revsync"'
