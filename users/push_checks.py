"""What `manage.py doctor` says of pushes."""

from collections.abc import Iterator

from django.conf import settings

from core import doctor
from core.exceptions import ServiceUnavailable
from users import fcm
from users.push import PushRefused

SET_IT = "set FCM_SERVICE_ACCOUNT_FILE to the JSON key of a service account with the role of a Cloud Messaging sender"


def check_push() -> Iterator[doctor.Finding]:
    """Whether pushes are sent, and whether Google gives us an access token for them. No message is sent."""
    if settings.PUSH_BACKEND != "users.fcm.FcmPush":
        yield (
            doctor.warn("off: nobody is woken by a recall, they read it in the app and by mail", SET_IT)
            if settings.IS_PRODUCTION
            else doctor.ok("off, as is usual in development")
        )
        return
    try:
        account = fcm.read_service_account()
        fcm.get_access_token(account)
    except fcm.CredentialsUnusable as error:
        yield doctor.wrong(str(error), SET_IT)
    except PushRefused as error:
        yield doctor.wrong(f"Google refuses the service account: {error}", "make a new key for it, or give it its role again")
    except ServiceUnavailable:
        yield doctor.warn("Google does not answer: pushes wait", "look at the network, or at Google's status page")
    else:
        yield doctor.ok(f"FCM project {account.project_id}, an access token was given")
