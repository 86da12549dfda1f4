"""Every refusal of the marketplace, one module for each noun."""

from marketplace.exceptions.cases import *  # noqa: F403
from marketplace.exceptions.payouts import *  # noqa: F403
from marketplace.exceptions.purchasing import *  # noqa: F403
from marketplace.exceptions.searches import *  # noqa: F403
from marketplace.exceptions.trust import *  # noqa: F403
from marketplace.exceptions.tunes import *  # noqa: F403
