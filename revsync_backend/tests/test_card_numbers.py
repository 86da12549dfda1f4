"""No field of any request takes the number of a payment card, but identifiers that somebody else gave, listed here with the reason."""

from collections.abc import Iterator

import pytest
from rest_framework import serializers

from core.admin_base import ReasonForm
from core.serializers import CleanCharField
from revsync_backend.urls import all_endpoints

CARD = "4242424242424242"
TYPED = (
    CARD,
    "378282246310005",
    "My card 5555 5555 5555 4444",
    f"https://tuner.example/{CARD}",
    f"{CARD}@example.com",
)

REASONS = {
    "given by the vehicle's or the ECU's maker, who may use any digits": [
        "EcuReadoutInput.calibration_id",
        "EcuReadoutInput.hardware_number",
        "EcuReadoutInput.serial",
        "EcuStateInput.calibration_id",
        "EcuStateInput.hardware_number",
        "FitmentInput.calibration_ids",
        "FitmentInput.hardware_numbers",
        "InspectionInput.calibration_id_after",
        "InspectionInput.hardware_number",
        "SavedSearchQueryInput.calibration_id",
        "SavedSearchQueryInput.hardware_number",
        "VehicleChangesInput.frame_number",
        "VehicleChangesInput.vin",
        "VehicleInput.frame_number",
        "VehicleInput.vin",
        "VersionFileInput.calibration_id_after",
        "VinInput.vin",
    ],
    "given by an authority or an association, who may use any digits": [
        "CertificationInput.number",
        "VersionInput.certification_number",
        "VersionPatchInput.certification_number",
    ],
    "an address: mail goes there, and a code from there confirms it": ["AddressInput.email", "LoginInput.email", "RegisterInput.email"],
    "a secret or a code: kept as a hash, or not at all": [
        "LoginInput.password",
        "MfaVerifyInput.code",
        "MfaVerifyInput.mfa_token",
        "PasswordChangeInput.current_password",
        "PasswordChangeInput.new_password",
        "PasswordResetConfirmInput.new_password",
        "RefreshInput.refresh",
        "RegisterInput.password",
        "RescueInput.token",
        "StepUpInput.code",
        "StepUpInput.password",
        "TransferAcceptInput.code",
    ],
    "compared with words of ours; what is none of them is refused and kept nowhere": [
        "AttestationInput.text_version",
        "NoReadBackInput.text_version",
        "UploadInput.content_type",
    ],
    "made by an app or a phone: nobody types it": [
        "DeviceChangeInput.push_token",
        "DeviceInput.app_version",
        "DeviceInput.installation_id",
        "DeviceInput.push_token",
        "DownloadInput.device_key",
        "TestTicketInput.device_key",
    ],
}
MAY = {name: reason for reason, names in REASONS.items() for name in names}


def fields_of(serializer: serializers.Serializer) -> Iterator[tuple[str, serializers.Field]]:
    """Every field that takes text, nested ones too, by the name of the serializer that has it."""
    for name, field in serializer.fields.items():
        if not field.read_only:
            yield from _leaves(f"{type(serializer).__name__}.{name}", field)


def _leaves(name: str, field: serializers.Field) -> Iterator[tuple[str, serializers.Field]]:
    if isinstance(field, serializers.ListSerializer | serializers.ListField):
        yield from _leaves(name, field.child)
    elif isinstance(field, serializers.Serializer):
        yield from fields_of(field)
    elif isinstance(field, serializers.CharField | serializers.JSONField | serializers.DictField):
        yield name, field


def takes_a_card_number(field: serializers.Field) -> bool:
    """Whether the field lets one of them through, however it is typed."""
    for text in TYPED:
        try:
            field.run_validation(text)
        except serializers.ValidationError:
            continue
        return True
    return isinstance(field, serializers.JSONField | serializers.DictField)


REQUESTS = {endpoint.request for endpoint in all_endpoints() if endpoint.request is not None}
TEXTS = dict(sorted({name: field for request in REQUESTS for name, field in fields_of(request())}.items()))


def test_every_text_of_every_request_refuses_card_numbers_or_is_listed():
    assert len(TEXTS) > 60
    assert {name for name, field in TEXTS.items() if takes_a_card_number(field)} == set(MAY)


@pytest.mark.parametrize("name", sorted(name for name, field in TEXTS.items() if isinstance(field, CleanCharField) and name not in MAY))
def test_it_says_what_is_wrong(name):
    field = TEXTS[name]
    if field.max_length < len(CARD):
        return
    with pytest.raises(serializers.ValidationError) as refused:
        field.run_validation(CARD)
    assert refused.value.get_codes() == ["card_number"]
    assert CARD not in str(refused.value)


def test_a_new_field_is_asked():
    class Strange(serializers.Serializer):
        motto = serializers.CharField()
        notes = serializers.ListField(child=CleanCharField(max_length=100))
        names = serializers.DictField(child=CleanCharField(max_length=100))

    found = dict(fields_of(Strange()))
    assert {name: takes_a_card_number(field) for name, field in found.items()} == {
        "Strange.motto": True,
        "Strange.notes": False,
        "Strange.names": True,
    }


@pytest.mark.parametrize(("reason", "fits"), [("Looked at twice.", True), (f"Paid with {CARD}", False)])
def test_what_staff_write_refuses_them_too(reason, fits):
    form = ReasonForm({"reason": reason})
    assert form.is_valid() is fits
    assert fits or form.errors.as_data()["reason"][0].code == "card_number"
