"""The form of the admin's sign-in page: e-mail, password and a code of the second factor, judged together."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest
from unfold.widgets import BASE_INPUT_CLASSES

from core import admin_session, audit, clock
from core.exceptions import RateLimited
from core.ids import new_id
from core.peer import peer_address
from users.exceptions import InvalidCredentials
from users.models import User
from users.normalise import normalise_email
from users.services import log_in_staff

REFUSED = "E-mail, password or code is not right, or this account has no access."


class AdminLoginForm(AuthenticationForm):
    """Signs an admin in. What was wrong is not told."""

    username = forms.EmailField(
        max_length=254, label="E-mail", widget=forms.EmailInput(attrs={"autofocus": True, "autocomplete": "username"})
    )
    password = forms.CharField(
        max_length=128, strip=False, label="Password", widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )
    code = forms.CharField(
        max_length=20,
        label="Code",
        help_text="Six digits of your authenticator, or a recovery code.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "autocapitalize": "characters", "spellcheck": "false"}),
    )
    retry_after_seconds: int | None = None

    def __init__(self, request: HttpRequest | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        for declared in self.fields.values():
            declared.widget.attrs["class"] = " ".join(BASE_INPUT_CLASSES)

    def clean(self) -> dict[str, Any]:
        """One service call with all three."""
        given = self.cleaned_data
        if self.errors or self.request is None:
            raise forms.ValidationError(REFUSED, code="refused")
        try:
            session_id = new_id()
            audit.act_from_session(session_id)
            self.user_cache: User | None = log_in_staff(
                email=normalise_email(given["username"]) or "",
                password=given["password"],
                code=given["code"],
                peer=peer_address(self.request),
                at=clock.now(),
            )
        except InvalidCredentials as refusal:
            raise forms.ValidationError(REFUSED, code="refused") from refusal
        except RateLimited as refusal:
            self.retry_after_seconds = refusal.retry_after_seconds
            minutes = -(-refusal.retry_after_seconds // 60)
            raise forms.ValidationError(f"Too many tries. Wait {minutes} min.", code="rate_limited") from refusal
        admin_session.keep(self.request, session_id)
        return given
