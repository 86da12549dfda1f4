"""An account for captured money that belongs to no purchase, what moves it, and what went back of such payments.

The new lists of accounts and causes contain the old ones, so old code goes on; what old code has parked is booked by the reconciler.
The new rules are added without a look at the rows and looked at afterwards, so that nobody waits meanwhile.
"""

import django.db.models.deletion
from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import migrations, models

import core.ids

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
    ("SUSPENSE", "Received for no purchase that we know"),
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
    ("PARKED", "A payment came that belongs to no purchase"),
    ("PARKED_REFUND", "It went back to its payer"),
    ("PARKED_BACK", "What went back to its payer came back"),
    ("PARKED_CLAIMED", "Its purchase was found"),
]
REASONS = [
    ("NOBODYS", "A payment that belongs to no purchase of ours"),
    ("NOT_REBUILT", "Lost here, and can't be written again"),
    ("SECOND_PAYMENT", "A second payment of one purchase"),
    ("NOT_AS_AGREED", "Amount, currency or purchase are not what was agreed"),
    ("UNKNOWN_THERE", "The provider does not know what we know"),
    ("OTHER_STATE", "The provider and we say different things of its state"),
]
KEPT = """
CREATE FUNCTION marketplace_guard_parkedreturn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (NEW.difference_id, NEW.provider_id, NEW.amount_minor, NEW.fee_minor) IS DISTINCT FROM
       (OLD.difference_id, OLD.provider_id, OLD.amount_minor, OLD.fee_minor) OR OLD.failed_at IS NOT NULL
    THEN
        RAISE EXCEPTION 'parkedreturn_is_final: the books point to it'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'parkedreturn_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER parkedreturn_guard BEFORE UPDATE OR DELETE ON marketplace_parkedreturn
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_parkedreturn();
"""
KEPT_BACK = """
DROP TRIGGER parkedreturn_guard ON marketplace_parkedreturn;
DROP FUNCTION marketplace_guard_parkedreturn();
"""


def known(model: str, field: str, values: list[tuple[str, str]]) -> list:
    """The list of choices with its constraint."""
    name = f"{model}_{field}_known"
    condition = models.Q((f"{field}__in", [value for value, _ in values]))
    return [
        migrations.AlterField(model, field, models.CharField(choices=values, max_length=14)),
        migrations.RemoveConstraint(model, name),
        AddConstraintNotValid(model, models.CheckConstraint(condition=condition, name=name)),
        ValidateConstraint(model, name),
    ]


class Migration(migrations.Migration):
    atomic = False  # looking at all rows of the ledger must not hold the lock that changed its rule

    dependencies = [("marketplace", "0023_known_payouts"), ("marketplace", "0028_fill_latest_version_at")]

    operations = [
        *known("ledgerentry", "account", ACCOUNTS),
        *known("ledgerset", "cause", CAUSES),
        migrations.AlterField(
            "ledgerset", "cause_id", models.UUIDField(help_text="The purchase, refund, dispute, payout, or parked payment.")
        ),
        migrations.AlterField("providerdifference", "reason", models.CharField(choices=REASONS, max_length=14)),
        migrations.CreateModel(
            name="ParkedReturn",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("provider_id", models.CharField(help_text="The provider's refund or dispute.", max_length=80)),
                ("amount_minor", models.BigIntegerField()),
                ("fee_minor", models.BigIntegerField(default=0)),
                ("fee_returned_minor", models.BigIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("failed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "difference",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="returns", to="marketplace.providerdifference"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("provider_id",), name="parkedreturn_provider_id_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount_minor__gte", 1),
                            ("fee_minor__gte", 0),
                            ("fee_returned_minor__gte", 0),
                            ("fee_returned_minor__lte", models.F("fee_minor")),
                        ),
                        name="parkedreturn_amounts_possible",
                    ),
                ],
            },
        ),
        migrations.RunSQL(KEPT, KEPT_BACK),
    ]
