"""Mails that development keeps in files can be forgotten."""

from pathlib import Path

from django.core.mail import EmailMessage

from core import mailbox


def test_forgets_the_mails_to_one_address_only(settings, tmp_path):
    settings.MAIL_DIR, settings.EMAIL_BACKEND = str(tmp_path), "core.mailbox.FileMailBackend"
    for address in ("anna@example.com", "anna@example.com", "joanna@example.com"):
        EmailMessage(subject="Hello", body="x", to=[address]).send()

    assert mailbox.forget("anna@example.com") == 2
    assert ["joanna@example.com" in path.read_text() for path in Path(tmp_path).glob("*.eml")] == [True]


def test_other_backends_keep_nothing_here(settings, tmp_path):
    settings.MAIL_DIR = str(tmp_path)
    (tmp_path / "other.eml").write_text("To: anna@example.com\n\nx")

    assert mailbox.forget("anna@example.com") == 0
