"""The shape of a signed document in an answer."""

from rest_framework import serializers

from core.serializers import Output


class SignatureOutput(Output):
    keyid = serializers.CharField()
    sig = serializers.CharField(help_text="Base64.")


class EnvelopeOutput(Output):
    """A DSSE envelope: verify the signatures over the payload's bytes, then parse those very bytes."""

    payloadType = serializers.CharField()
    payload = serializers.CharField(help_text="Base64 of the canonical JSON.")
    signatures = SignatureOutput(many=True)
