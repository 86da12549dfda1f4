from rest_framework import serializers

from core.serializers import CleanCharField, Input, Output, PageQuery, StrictIntegerField, UtcDateTimeField
from core.signing.serializers import EnvelopeOutput
from marketplace.enums import (
    DownloadKind,
    DownloadOutcome,
    FlashOutcome,
    LicenseState,
    StopKind,
    StopSeverity,
)

SHA256 = r"\A[0-9a-f]{64}\Z"

# Input


class DownloadInput(Input):
    vehicle = serializers.UUIDField(help_text="One of your own vehicles: the one to flash.")
    version = serializers.UUIDField(required=False, help_text="A version of the tune. Without it: the newest published file that fits.")
    device_key = serializers.RegexField(
        r"\A[A-Za-z0-9_-]{16,64}\Z", required=False, default="", help_text="Thumbprint of a key of this phone: the ticket then names it."
    )


class TestTicketInput(Input):
    vehicle = serializers.UUIDField(help_text="One of your own vehicles: the one to flash.")
    device_key = serializers.RegexField(
        r"\A[A-Za-z0-9_-]{16,64}\Z", required=False, default="", help_text="Thumbprint of a key of this phone: the ticket then names it."
    )


class EcuStateInput(Input):
    hardware_number = CleanCharField(max_length=64, identifier=True)
    calibration_id = CleanCharField(max_length=64, identifier=True)
    image_size_bytes = StrictIntegerField(min_value=1, max_value=64 * 1024 * 1024, required=False, allow_null=True)


class FlashInput(Input):
    id = serializers.UUIDField(help_text="Made by the client, so that a report that is sent twice is one.")
    ticket_id = serializers.UUIDField(help_text="`ticket_id` of the ticket that was used.")
    outcome = serializers.ChoiceField(FlashOutcome.choices)
    ecu_before = EcuStateInput(required=False, allow_null=True, default=None)
    ecu_after = EcuStateInput(required=False, allow_null=True, default=None)
    app_version = CleanCharField(max_length=32)
    flashed_at = serializers.DateTimeField(help_text="By the phone's clock; may lie days back.")


class InstalledCheckInput(Input):
    sha256 = serializers.ListField(child=serializers.RegexField(SHA256), min_length=1, max_length=100, help_text="Hashes of files.")


class FlashListQuery(PageQuery):
    vehicle = serializers.UUIDField(required=False, help_text="Flashes of this vehicle only.")


# Output


class GrantedFitmentOutput(Output):
    make = serializers.CharField()
    model = serializers.CharField()
    year_from = serializers.IntegerField()
    year_to = serializers.IntegerField()
    markets = serializers.ListField(child=serializers.CharField())
    hardware_numbers = serializers.ListField(child=serializers.CharField())
    calibration_ids = serializers.ListField(child=serializers.CharField())
    image_size_bytes = serializers.IntegerField()


class GrantedFileOutput(Output):
    id = serializers.UUIDField()
    name = serializers.CharField()
    format = serializers.CharField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    calibration_id_after = serializers.CharField(allow_null=True)
    fitments = GrantedFitmentOutput(many=True)


class GrantOutput(Output):
    id = serializers.UUIDField()
    version = serializers.UUIDField()
    file = GrantedFileOutput()
    url = serializers.CharField(help_text="Good for at most 60 seconds, once or with ranges. Send no Authorization header with it.")
    url_expires_at = UtcDateTimeField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    release = EnvelopeOutput()
    ticket = EnvelopeOutput(allow_null=True, help_text="Null until a flash would be safe: see `ticket_blockers`.")
    ticket_blockers = serializers.ListField(child=serializers.CharField())


class TestTicketOutput(GrantOutput):
    """A tuner's own file with its test release and ticket. `id` is the ticket's."""


class DownloadOutput(Output):
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(DownloadKind.choices)
    outcome = serializers.ChoiceField(DownloadOutcome.choices)
    code = serializers.CharField(allow_null=True, help_text="Why it was refused.")
    grant = serializers.UUIDField(allow_null=True, help_text="The grant that a LINK renews.")
    vehicle = serializers.UUIDField(allow_null=True)
    version = serializers.UUIDField(allow_null=True)
    version_number = serializers.CharField(allow_null=True)
    file = serializers.UUIDField(allow_null=True)
    ticket_id = serializers.UUIDField(allow_null=True)
    ticket_expires_at = UtcDateTimeField(allow_null=True)
    ticket_blockers = serializers.ListField(child=serializers.CharField())
    app_version = serializers.CharField()
    created_at = UtcDateTimeField()


class EcuStateOutput(Output):
    hardware_number = serializers.CharField()
    calibration_id = serializers.CharField()
    image_size_bytes = serializers.IntegerField(allow_null=True, required=False)


class FlashOutput(Output):
    id = serializers.UUIDField()
    ticket_id = serializers.UUIDField()
    vehicle = serializers.UUIDField(source="vehicle_id")
    version = serializers.UUIDField(source="version_id")
    outcome = serializers.ChoiceField(FlashOutcome.choices)
    ecu_before = EcuStateOutput(allow_null=True)
    ecu_after = EcuStateOutput(allow_null=True)
    app_version = serializers.CharField()
    flashed_at = UtcDateTimeField()
    received_at = UtcDateTimeField()
    license_state = serializers.ChoiceField(LicenseState.choices, allow_blank=True, help_text="After this report; blank for a test ticket.")


class RecallOutput(Output):
    id = serializers.UUIDField()
    version = serializers.UUIDField()
    state = serializers.ChoiceField(StopKind.choices)
    severity = serializers.ChoiceField(StopSeverity.choices)
    reason = serializers.CharField()
    replacement = serializers.UUIDField(allow_null=True)
    since = UtcDateTimeField()
    acknowledged_at = UtcDateTimeField(allow_null=True)


class InstalledResultOutput(Output):
    sha256 = serializers.CharField()
    state = serializers.CharField(help_text="`current`, `withdrawn`, `on_hold`, `recalled`, or `unknown`: not a file of ours.")
    tune = serializers.UUIDField(allow_null=True)
    version = serializers.UUIDField(allow_null=True)
    recall = RecallOutput(allow_null=True)


class InstalledCheckOutput(Output):
    results = InstalledResultOutput(many=True)
