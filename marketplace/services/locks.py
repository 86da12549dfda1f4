"""In which order rows are locked: people, then the purchase, then its license, case, refunds and disputes."""

from uuid import UUID

from django.db import connection

from marketplace.exceptions import PurchaseNotFound
from marketplace.models import Purchase

# A deletion holds its person FOR UPDATE and then changes that person's rows. Whoever holds such a row and then tells the
# person, or writes in their name, reads the person: the two would wait for each other. So people come first.
_PEOPLE = """
SELECT person.id
  FROM marketplace_purchase purchase
  JOIN tuners_tunerprofile profile ON profile.id = purchase.tuner_id
  JOIN users_user person ON person.id IN (purchase.buyer_id, profile.user_id)
 WHERE purchase.id = %s
 ORDER BY person.id
   FOR KEY SHARE OF person
"""


def hold_users(*user_ids: UUID) -> None:
    """Keep these people from being deleted until the transaction ends. Stops nothing else."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM users_user WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE", [list(user_ids)])


def hold_people(purchase_id: UUID) -> None:
    """Keep buyer and tuner of a purchase from being deleted until the transaction ends. Stops nothing else."""
    with connection.cursor() as cursor:
        cursor.execute(_PEOPLE, [purchase_id])


def lock_purchase(purchase_id: UUID) -> Purchase:
    """A purchase with its tuner, locked for a change, its people held. Raises: PurchaseNotFound."""
    hold_people(purchase_id)
    purchase = Purchase.objects.select_for_update(no_key=True, of=("self",)).select_related("tuner").filter(pk=purchase_id).first()
    if purchase is None:
        raise PurchaseNotFound
    return purchase
