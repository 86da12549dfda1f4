"""HTTP clients for tests: real tokens, JSON in and out."""

from typing import Any

from rest_framework.test import APIClient


class ApiClient(APIClient):
    """An API client below `/api/v1/`: `client.get("garage/vehicles/")`. JSON is the only format."""

    prefix = "/api/v1/"

    def generic(self, method, path, data="", content_type="application/json", secure=False, **extra):
        if not path.startswith(("/", "http")):
            path = self.prefix + path
        return super().generic(method, path, data, content_type, secure, **extra)

    def _encode_data(self, data, format=None, content_type=None):
        return super()._encode_data(data, format=format or (None if content_type else "json"), content_type=content_type)


def client_for(user: Any, *, device: Any = None, step_up: bool = False) -> ApiClient:
    """A client with a real access token of `user`, on a fresh session unless `device` is given."""
    from core import clock, tokens
    from users.tests.factories import UserDeviceFactory

    device = device or UserDeviceFactory(user=user)
    if step_up:
        type(device).objects.filter(pk=device.pk).update(stepped_up_at=clock.now(), stepped_up_with="PASSWORD")
    client = ApiClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.mint_access(device, at=clock.now())}")
    client.user, client.device = user, device
    return client
