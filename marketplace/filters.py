"""What cold lists are narrowed by. Lists that many read write their conditions into their statement."""

import django_filters

from marketplace.models import Payout


class PayoutFilter(django_filters.FilterSet):
    """What `GET marketplace/payouts/` can be narrowed by; values arrive validated."""

    class Meta:
        model = Payout
        fields = ("currency", "status")
