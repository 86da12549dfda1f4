"""Every table of the marketplace, one module for each noun."""

from marketplace.models.browse import *  # noqa: F403
from marketplace.models.cases import *  # noqa: F403
from marketplace.models.downloads import *  # noqa: F403
from marketplace.models.flash_groups import *  # noqa: F403
from marketplace.models.payouts import *  # noqa: F403
from marketplace.models.purchasing import *  # noqa: F403
from marketplace.models.reconciling import *  # noqa: F403
from marketplace.models.refunds import *  # noqa: F403
from marketplace.models.releases import *  # noqa: F403
from marketplace.models.searches import *  # noqa: F403
from marketplace.models.tunes import *  # noqa: F403
from marketplace.models.versions import *  # noqa: F403
from marketplace.models.xrays import *  # noqa: F403
