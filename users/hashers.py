"""How passwords are hashed."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class OwaspArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id with 19 MiB, two passes and one lane: a tenth of Django's default cost, and still what OWASP asks for."""

    time_cost = 2
    memory_cost = 19_456
    parallelism = 1
