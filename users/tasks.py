"""What the worker does for accounts: mails, notices, sweeping."""

from core import clock
from core.schedule import every
from core.tasks import task
from users import services


@task(max_attempts=8)
def send_challenge_mail(challenge_id: str) -> None:
    """Mail a challenge's code; it is derived here, so that no task row holds it."""
    services.send_challenge_mail(challenge_id=challenge_id, at=clock.now())


@task(max_attempts=8)
def send_address_changed_mail(challenge_id: str) -> None:
    """Tell the old address that it signs in no longer."""
    services.send_address_changed_mail(challenge_id=challenge_id)


@task(max_attempts=8)
def deliver_notice(notice_id: str, mail: bool = True) -> None:
    """Mail one notice, and push it to each phone."""
    services.deliver_notice(notice_id=notice_id, mail=mail, at=clock.now())


@task(max_attempts=8)
def push_notice(notice_id: str, device_id: str) -> None:
    """Push one notice to one phone."""
    services.push_notice(notice_id=notice_id, device_id=device_id, at=clock.now())


@every(minutes=1, name="collect_batches")
@task(max_attempts=3)
def collect_batches() -> None:
    """Collect the notices that have waited long enough to leave together."""
    services.collect_batches(at=clock.now())


@task(max_attempts=8)
def deliver_batch(batch_id: str) -> None:
    """Mail the notices that left together, and push them to each phone."""
    services.deliver_batch(batch_id=batch_id, at=clock.now())


@task(max_attempts=8)
def push_batch(batch_id: str, device_id: str) -> None:
    """Push the notices that left together to one phone."""
    services.push_batch(batch_id=batch_id, device_id=device_id, at=clock.now())


@task(max_attempts=20)
def delete_objects_of_account(deletion_id: str, is_last_pass: bool = False) -> None:
    """Delete what the person of a deleted account had stored."""
    services.delete_objects_of_account(deletion_id=deletion_id, is_last_pass=is_last_pass, at=clock.now())


@task(max_attempts=20)
def copy_deletion(deletion_id: str) -> None:
    """Leave the record of a deletion in storage."""
    services.copy_deletion(deletion_id=deletion_id, at=clock.now())


@task(max_attempts=20)
def mail_deletion_receipt(deletion_id: str) -> None:
    """Mail the receipt of a deletion, then forget the address."""
    services.mail_deletion_receipt(deletion_id=deletion_id, at=clock.now())


@task(max_attempts=5)
def make_export(export_id: str) -> None:
    """Make a copy of a person's data."""
    services.make_export(export_id=export_id, at=clock.now())


@every(minutes=15, name="sweep_exports")
@task(max_attempts=3)
def sweep_exports() -> None:
    """Delete copies of data whose day is over."""
    services.sweep_exports(at=clock.now())


@every(days=1, name="forget_farewells", offset_seconds=4 * 3600)
@task(max_attempts=3)
def forget_farewells() -> None:
    """Forget addresses of deleted accounts to which no receipt could be mailed."""
    services.forget_farewells(at=clock.now())


@every(hours=1, name="sweep_challenges")
@task(max_attempts=3)
def sweep_challenges() -> None:
    """Delete challenges that ended a day ago."""
    services.sweep_challenges(at=clock.now())
