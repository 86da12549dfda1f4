"""`GET meta/`: what an app must know before it can start: versions, texts, enums with labels, limits."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.db.models import TextChoices
from rest_framework import serializers
from rest_framework.response import Response

from core.endpoints import Endpoint
from core.permissions import Public
from core.serializers import Output
from core.uploads.rules import OPEN_BYTES_PER_OWNER, OPEN_UPLOADS_PER_OWNER, RULES
from core.views import ApiView

_enums: dict[str, type[TextChoices]] = {}


def register_enums(*enums: type[TextChoices]) -> None:
    """Show an app's enums in `meta/`; call it in AppConfig.ready."""
    _enums.update({enum.__name__: enum for enum in enums})


@dataclass(frozen=True)
class AgreedText:
    """A text that a person agrees to. What they agreed to is stored as version and hash."""

    version: str
    text: str

    @property
    def sha256(self) -> str:
        """Hex, over the UTF-8 bytes."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@lru_cache
def agreed_text(kind: str) -> AgreedText:
    """The present `terms`, `attestation` or `no_read_back`: the newest file `<kind>.<version>.txt` of the texts."""
    newest = max(settings.TEXTS_DIR.glob(f"{kind}.*.txt"))
    return AgreedText(version=newest.name.split(".")[1], text=newest.read_text(encoding="utf-8").strip())


TEXT_KINDS = ("terms", "attestation", "no_read_back")


def _texts() -> dict[str, dict[str, str]]:
    texts: Iterable[tuple[str, AgreedText]] = ((kind, agreed_text(kind)) for kind in TEXT_KINDS)
    return {kind: {"version": text.version, "sha256": text.sha256, "text": text.text} for kind, text in texts}


@lru_cache
def _enum_values() -> dict[str, list[dict[str, str]]]:
    return {name: [{"value": value, "label": str(label)} for value, label in enum.choices] for name, enum in sorted(_enums.items())}


def _limits() -> dict[str, tuple[int, int | None]]:
    quotas = {"uploads_waiting": OPEN_UPLOADS_PER_OWNER, "upload_bytes_waiting": OPEN_BYTES_PER_OWNER}
    for purpose, rule in RULES.items():
        of_purpose = {"file_bytes": rule.max_bytes, "kept_files": rule.kept_files, "kept_bytes": rule.kept_bytes}
        quotas |= {f"upload_{name}_{purpose.lower()}": count for name, count in of_purpose.items()}
    return {**settings.LIMITS, **settings.APPROXIMATE_LIMITS, **{name: (count, None) for name, count in quotas.items()}}


class EnumValueOutput(Output):
    value = serializers.CharField()
    label = serializers.CharField()


class AgreedTextOutput(Output):
    version = serializers.CharField()
    sha256 = serializers.CharField(help_text="Hex SHA-256 of the text's UTF-8 bytes.")
    text = serializers.CharField()


class TextsOutput(Output):
    terms = AgreedTextOutput()
    attestation = AgreedTextOutput()
    no_read_back = AgreedTextOutput()


class LimitOutput(Output):
    count = serializers.IntegerField(help_text="How often; without a window how many at one time.")
    window_seconds = serializers.IntegerField(allow_null=True, help_text="In how many seconds; null: at any one time.")


class MetaOutput(Output):
    minimum_app_version = serializers.CharField()
    enums = serializers.DictField(
        child=EnumValueOutput(many=True), help_text="Treat a value that you do not know as unknown: new ones are not breaking."
    )
    texts = TextsOutput()
    limits = serializers.DictField(
        child=LimitOutput(),
        help_text="By name. Of uploads, for each purpose: `upload_file_bytes_…` of one file, `upload_kept_files_…` and"
        " `upload_kept_bytes_…` of all that one person keeps; `uploads_waiting` and `upload_bytes_waiting` of those that nothing uses yet.",
    )


class MetaView(ApiView):
    def get(self, request):
        """The least app version that is served, all enums with labels, the texts people agree to, and the limits."""
        return Response(
            {
                "minimum_app_version": settings.MINIMUM_APP_VERSION,
                "enums": _enum_values(),
                "texts": _texts(),
                "limits": {name: {"count": count, "window_seconds": seconds} for name, (count, seconds) in sorted(_limits().items())},
            }
        )


ENDPOINTS = [
    Endpoint("GET", "meta/", MetaView, "get_meta", "What an app needs to start", access=Public, response=MetaOutput, cache="public"),
]
