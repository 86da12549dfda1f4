"""The settings of people, with limits out of the load's reach and the points of `tools.faults.inside`."""

from revsync_backend.settings import *  # noqa: F403
from revsync_backend.settings import INSTALLED_APPS
from tools.schemathesis_settings import APPROXIMATE_LIMITS, LIMITS

__all__ = ["APPROXIMATE_LIMITS", "INSTALLED_APPS", "LIMITS"]

INSTALLED_APPS = [*INSTALLED_APPS, "tools.faults.inside.Inside"]
