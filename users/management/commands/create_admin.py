"""`manage.py create_admin`: the first way into the admin."""

import getpass
import secrets
import sys
from typing import Any

import qrcode
from django.core.management.base import BaseCommand, CommandError, CommandParser

from core import clock, mfa
from core.exceptions import DomainError
from users import services
from users.normalise import normalise_email


class Command(BaseCommand):
    """Makes an admin, turns the second factor on and prints its secret once."""

    help = (
        "Make an admin with the second factor on. The TOTP secret, a QR code and the recovery codes are printed once. The password is "
        "asked for; with --password-stdin it is read from standard input, with --generate-password made and printed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The address and how the password comes."""
        parser.add_argument("--email", help="the address to sign in with")
        parser.add_argument("--name", help="the name that others see", default="")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
        how.add_argument("--generate-password", action="store_true", help="make a password and print it")
        parser.add_argument("--no-qr", action="store_true", help="leave the QR code out")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask for what is missing, one service call, print."""
        address = options["email"] or input("E-mail address: ")
        email = normalise_email(address)
        if email is None:
            raise CommandError(f"{address!r} is not an e-mail address.")
        password = self._password(options)
        try:
            user, secret, recovery_codes = services.create_admin(
                email=email, password=password, display_name=options["name"] or email.partition("@")[0], at=clock.now()
            )
        except DomainError as refusal:
            raise CommandError(" ".join([refusal.detail, *(error.detail for error in refusal.errors)])) from refusal
        uri = mfa.provisioning_uri(secret, account=email)
        self.stdout.write(f"{user.email} is an admin now. What follows is shown this once only.\n\n")
        if options["generate_password"]:
            self.stdout.write(f"Password:        {password}\n")
        self.stdout.write(f"TOTP secret:     {secret}\nTOTP link:       {uri}\n")
        if not options["no_qr"]:
            code = qrcode.QRCode(border=2)
            code.add_data(uri)
            code.print_ascii(out=self.stdout, invert=True)
        self.stdout.write("Recovery codes:  " + "\n                 ".join(recovery_codes) + "\n")

    def _password(self, options: dict[str, Any]) -> str:
        if options["generate_password"]:
            return secrets.token_urlsafe(18)
        if options["password_stdin"] or not sys.stdin.isatty():
            return sys.stdin.readline().rstrip("\n")
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise CommandError("The two passwords differ.")
        return password
