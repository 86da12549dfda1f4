"""Every enum of the marketplace, one module for each noun."""

from marketplace.enums.cases import *  # noqa: F403
from marketplace.enums.payouts import *  # noqa: F403
from marketplace.enums.purchasing import *  # noqa: F403
from marketplace.enums.reconciling import *  # noqa: F403
from marketplace.enums.reviews import *  # noqa: F403
from marketplace.enums.searches import *  # noqa: F403
from marketplace.enums.trust import *  # noqa: F403
from marketplace.enums.tunes import *  # noqa: F403
