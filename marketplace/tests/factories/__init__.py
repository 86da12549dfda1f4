"""Factories of the marketplace, one module for each noun."""

from marketplace.tests.factories.cases import *  # noqa: F403
from marketplace.tests.factories.payouts import *  # noqa: F403
from marketplace.tests.factories.purchasing import *  # noqa: F403
from marketplace.tests.factories.searches import *  # noqa: F403
from marketplace.tests.factories.trust import *  # noqa: F403
from marketplace.tests.factories.tunes import *  # noqa: F403
