from datetime import datetime, timedelta
from typing import Any

from rest_framework import serializers

from core import storage
from core.serializers import CleanCharField, Input, Output, PageQuery, UtcDateTimeField
from marketplace.enums import CaseAuthor, CaseKind, CaseStatus, RefundStatus
from marketplace.policies.cases import MAX_ATTACHMENTS

LINK_SECONDS = 60

# Input


class AttachmentsField(serializers.ListField):
    """Upload ids of READY files."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            child=serializers.UUIDField(),
            max_length=MAX_ATTACHMENTS,
            required=False,
            default=list,
            help_text="READY uploads of yours for CASE_FILE.",
            **kwargs,
        )

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        if len(set(values)) != len(values):
            raise serializers.ValidationError("An upload is attached once.", code="repeated")
        return values


KINDS_TO_OPEN = [choice for choice in CaseKind.choices if choice[0] != CaseKind.REFUND]


class CaseInput(Input):
    purchase = serializers.UUIDField(help_text="One that you bought or sold.")
    kind = serializers.ChoiceField(KINDS_TO_OPEN, help_text="A refund is asked for at its purchase.")
    text = CleanCharField(max_length=4_000, multiline=True)
    attachments = AttachmentsField()


class CaseMessageInput(Input):
    id = serializers.UUIDField(required=False, help_text="Made by the client, so that a message that is sent twice is one.")
    text = CleanCharField(max_length=4_000, multiline=True)
    attachments = AttachmentsField()


class CaseListQuery(PageQuery):
    status = serializers.ChoiceField(CaseStatus.choices, required=False)
    purchase = serializers.UUIDField(required=False, help_text="Cases about this purchase only.")


class RefundInput(Input):
    reason = CleanCharField(
        max_length=2_000, multiline=True, required=False, allow_blank=True, default="", help_text="The first message, if it becomes a case."
    )


# Output


class CaseAttachmentOutput(Output):
    id = serializers.UUIDField()
    name = serializers.CharField()
    content_type = serializers.CharField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    url = serializers.SerializerMethodField(help_text="Good for 60 seconds; each read of the case gives a fresh one.")
    url_expires_at = serializers.SerializerMethodField()

    def get_url(self, row: Any) -> str:
        return storage.presign_get(
            row.storage_key, expires_seconds=LINK_SECONDS, filename=row.name or "file", content_type=row.content_type
        )

    def get_url_expires_at(self, row: Any) -> datetime:
        return self.context["at"] + timedelta(seconds=LINK_SECONDS)


class CaseMessageOutput(Output):
    id = serializers.UUIDField()
    author = serializers.ChoiceField(CaseAuthor.choices)
    text = serializers.CharField(help_text="Empty when its author deleted the account.")
    attachments = CaseAttachmentOutput(many=True)
    created_at = UtcDateTimeField()


class CaseRowOutput(Output):
    id = serializers.UUIDField()
    purchase = serializers.UUIDField(source="purchase_id")
    purchase_number = serializers.CharField(source="purchase.number")
    tune_title = serializers.CharField(source="purchase.tune_title")
    kind = serializers.ChoiceField(CaseKind.choices)
    status = serializers.ChoiceField(CaseStatus.choices)
    flash = serializers.UUIDField(source="flash_id", allow_null=True, help_text="The failed flash that it is about.")
    due_at = UtcDateTimeField(allow_null=True, help_text="Until when whoever it waits for should answer; then staff take over.")
    escalated_at = UtcDateTimeField(allow_null=True)
    resolution = serializers.SerializerMethodField()
    resolution_reason = serializers.CharField()
    resolved_at = UtcDateTimeField(allow_null=True)
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()

    def get_resolution(self, row: Any) -> str | None:
        return row.resolution or None


class CaseOutput(CaseRowOutput):
    messages = CaseMessageOutput(many=True)


class RefundOutput(Output):
    id = serializers.UUIDField()
    purchase = serializers.UUIDField(source="purchase_id")
    status = serializers.ChoiceField(RefundStatus.choices)
    amount_minor = serializers.IntegerField(help_text="What was asked for, until staff decide.")
    currency = serializers.CharField()
    case = serializers.UUIDField(source="case_id", allow_null=True, help_text="Where staff decide; null for one that is given at once.")
    failure_code = serializers.SerializerMethodField(help_text="`declined` by staff, `withdrawn`, or why the money came back.")
    created_at = UtcDateTimeField()
    promised_at = UtcDateTimeField(source="reserved_at", allow_null=True, help_text="From when on it is certain.")
    ended_at = UtcDateTimeField(allow_null=True)
    repaid_at = UtcDateTimeField(allow_null=True, help_text="When one that came back was paid another way.")

    def get_failure_code(self, row: Any) -> str | None:
        return row.failure_code or None
