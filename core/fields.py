"""Model fields that several apps need."""

from django.db import models

from core import crypto


class EncryptedTextField(models.BinaryField):
    """Text encrypted at rest. It can't be searched: keep `core.crypto.keyed_hash` of it beside it to match by."""

    description = "Text, encrypted at rest"
    _pyi_private_set_type: str  # for the type checker: code reads and writes text
    _pyi_private_get_type: str

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("editable", False)
        super().__init__(*args, **kwargs)

    def _check_str_default_value(self):
        return []  # unlike BinaryField's, the default of this one is text

    def get_db_prep_value(self, value, connection, prepared=False):
        if isinstance(value, str):
            value = crypto.encrypt(value)
        return super().get_db_prep_value(value, connection, prepared)

    def from_db_value(self, value, expression, connection):
        return None if value is None else crypto.decrypt(bytes(value))

    def to_python(self, value):
        return value
