"""Accounts for what buyers are owed and for what the platform loses, and a set whose entries are all of its own kind.

The new lists of accounts and causes contain the old ones, so old code goes on. At commit a set must have entries, all in its
currency and of its purchase: what sums to zero by purchase and currency can't be moved aside by a line that names another.
"""

from django.db import migrations, models

ACCOUNTS = [
    ("BUYER_CLEARING", "Buyers: money received (negative) or given back"),
    ("BUYER_OWED", "Owed to buyers whose refund came back"),
    ("TUNER", "Owed to the tuner"),
    ("PLATFORM_FEE", "The platform's fee"),
    ("TAX_PAYABLE", "Tax owed"),
    ("PROVIDER_FEE", "The payment provider's fee"),
    ("DISPUTES", "Held by banks in disputes"),
    ("PAYOUTS", "Paid out to tuners"),
    ("LOSSES", "Borne by the platform: lost beyond the shares of a sale"),
]
CAUSES = [
    ("SALE", "A purchase was paid"),
    ("PROVIDER_FEE", "The provider took its fee"),
    ("REFUND", "Money was given back"),
    ("REFUND_FAILED", "A refund came back: the buyer is owed"),
    ("OWED_PAID", "What a buyer was owed was paid another way"),
    ("DISPUTE_OPENED", "A bank took the money back for now"),
    ("DISPUTE_WON", "A dispute was won"),
    ("DISPUTE_LOST", "A dispute was lost"),
    ("PAYOUT", "Money was paid out"),
    ("PAYOUT_FAILED", "A payout came back"),
    ("ADJUSTMENT", "Staff corrected the books"),
]

WHOLE_SETS = """
CREATE FUNCTION marketplace_ledger_set_is_whole() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lines integer;
    strange integer;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE entry.currency <> NEW.currency OR entry.purchase_id IS DISTINCT FROM NEW.purchase_id)
      INTO lines, strange FROM marketplace_ledgerentry entry WHERE entry.set_id = NEW.id;
    IF lines < 2 OR strange > 0 THEN
        RAISE EXCEPTION 'ledger_set_is_whole: set % has % lines, % of them of another currency or purchase', NEW.id, lines, strange
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ledger_set_is_whole';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledgerset_is_whole AFTER INSERT ON marketplace_ledgerset
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION marketplace_ledger_set_is_whole();

CREATE FUNCTION marketplace_ledger_entry_is_of_its_set() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM marketplace_ledgerset booked
         WHERE booked.id = NEW.set_id AND booked.currency = NEW.currency AND booked.purchase_id IS NOT DISTINCT FROM NEW.purchase_id
           AND booked.at = NEW.at
    ) THEN
        RAISE EXCEPTION 'ledger_entry_is_of_its_set: entry % has another currency, purchase or time than its set', NEW.id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ledger_entry_is_of_its_set';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ledgerentry_is_of_its_set BEFORE INSERT ON marketplace_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION marketplace_ledger_entry_is_of_its_set();
"""
WHOLE_SETS_BACK = """
DROP TRIGGER ledgerentry_is_of_its_set ON marketplace_ledgerentry;
DROP FUNCTION marketplace_ledger_entry_is_of_its_set();
DROP TRIGGER ledgerset_is_whole ON marketplace_ledgerset;
DROP FUNCTION marketplace_ledger_set_is_whole();
"""


def known(model: str, field: str, values: list[tuple[str, str]]) -> list:
    """The list of choices with its constraint."""
    name = f"{model}_{field}_known"
    condition = models.Q((f"{field}__in", [value for value, _ in values]))
    return [
        migrations.AlterField(model, field, models.CharField(choices=values, max_length=14)),
        migrations.RemoveConstraint(model, name),
        migrations.AddConstraint(model, models.CheckConstraint(condition=condition, name=name)),
    ]


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0013_floors_and_revoked_keys")]

    operations = [
        *known("ledgerentry", "account", ACCOUNTS),
        *known("ledgerset", "cause", CAUSES),
        migrations.RunSQL(WHOLE_SETS, WHOLE_SETS_BACK),
    ]
