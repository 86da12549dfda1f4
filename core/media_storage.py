"""Django's default storage: the public bucket through django-storages. Written by the worker, read through `/media/…`."""

from typing import Any

from boto3.s3.transfer import TransferConfig
from django.conf import settings
from storages.backends.s3 import S3Storage

from core import storage


class PublicMediaStorage(S3Storage):
    """Pictures that anybody may see, under names that contain the hash of their bytes, so they never change."""

    def __init__(self) -> None:
        super().__init__(
            endpoint_url=settings.S3_ENDPOINT_URL or None,
            access_key=settings.S3_ACCESS_KEY_ID,
            secret_key=settings.S3_SECRET_ACCESS_KEY,
            region_name=settings.S3_REGION,
            bucket_name=settings.S3_BUCKET_PUBLIC,
            client_config=storage.client_config(),
            transfer_config=TransferConfig(use_threads=False),  # pictures are small; threads of its own would only cost memory
            file_overwrite=True,  # the same name is the same bytes; asking first would be a request more
            querystring_auth=False,
            default_acl=None,  # an ACL call would overwrite the object on Supabase
            object_parameters={"CacheControl": "public, max-age=31536000, immutable"},
        )

    @property
    def connection(self) -> Any:
        """The library's own resource, for each thread, on the session that the process shares."""
        with storage.client_lock:
            return super().connection

    def _create_session(self) -> Any:
        return storage.shared_session()

    def url(self, name: str, *args: object, **kwargs: object) -> str:
        """The address that clients get: never the store's own."""
        return storage.public_url(name)
