"""Accepting a vehicle, on the wire."""

from core.serializers import CleanCharField, Input


class TransferAcceptInput(Input):
    code = CleanCharField(
        max_length=40, identifier=True, help_text="As the former owner was shown it; hyphens, spaces and case do not matter."
    )
