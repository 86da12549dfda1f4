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
    """Mail and push one notice."""
    services.deliver_notice(notice_id=notice_id, mail=mail, at=clock.now())


@every(hours=1, name="sweep_challenges")
@task(max_attempts=3)
def sweep_challenges() -> None:
    """Delete challenges that ended a day ago."""
    services.sweep_challenges(at=clock.now())
