"""Payout accounts, payouts and the ledger entries that each pays, and what Postgres itself keeps true of them.

Rows are never deleted, and what a payout is for never changes. At commit the lines of a payout are entries of its tuner in
its currency that sum up to its amount, and the books say the same. Nobody who deleted their account is NEW.
"""

import core.ids
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


GUARDS = """
SET LOCAL lock_timeout = '5s';

CREATE FUNCTION marketplace_guard_payout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'payout_is_never_deleted: the books point to it'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'payout_is_never_deleted';
    END IF;
    IF (NEW.tuner_id, NEW.account_id, NEW.currency, NEW.amount_minor, NEW.created_at)
       IS DISTINCT FROM (OLD.tuner_id, OLD.account_id, OLD.currency, OLD.amount_minor, OLD.created_at)
       OR OLD.transfer_id IS NOT NULL AND NEW.transfer_id IS DISTINCT FROM OLD.transfer_id
       OR OLD.bank_payout_id IS NOT NULL AND NEW.bank_payout_id IS DISTINCT FROM OLD.bank_payout_id
       OR OLD.status = 'FAILED' AND NEW.status <> 'FAILED'
       OR OLD.status = 'PAID' AND NEW.status = 'PENDING'
    THEN
        RAISE EXCEPTION 'payout_is_final: what a payout is for, and what became of it, never changes'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'payout_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payout_guard BEFORE UPDATE OR DELETE ON marketplace_payout
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_payout();
CREATE TRIGGER payout_refuse_deleted BEFORE INSERT ON marketplace_payout
    FOR EACH ROW EXECUTE FUNCTION marketplace_refuse_deleted_tuner();

CREATE FUNCTION marketplace_guard_payoutaccount() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'payoutaccount_is_never_deleted: payouts point to it'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'payoutaccount_is_never_deleted';
    END IF;
    IF NEW.tuner_id <> OLD.tuner_id OR OLD.account_id IS NOT NULL AND NEW.account_id IS DISTINCT FROM OLD.account_id THEN
        RAISE EXCEPTION 'payoutaccount_is_final: whose an account is never changes'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'payoutaccount_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payoutaccount_guard BEFORE UPDATE OR DELETE ON marketplace_payoutaccount
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_payoutaccount();
CREATE TRIGGER payoutaccount_refuse_deleted BEFORE INSERT ON marketplace_payoutaccount
    FOR EACH ROW EXECUTE FUNCTION marketplace_refuse_deleted_tuner();

CREATE FUNCTION marketplace_guard_payoutline() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (NEW.payout_id, NEW.entry_id) IS DISTINCT FROM (OLD.payout_id, OLD.entry_id) OR OLD.released_at IS NOT NULL THEN
        RAISE EXCEPTION 'payoutline_is_final: a payout pays what it was made for'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'payoutline_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payoutline_guard BEFORE UPDATE OR DELETE ON marketplace_payoutline
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_payoutline();

CREATE FUNCTION marketplace_payout_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_lines bigint;
    strange integer;
    booked bigint;
BEGIN
    SELECT coalesce(sum(entry.amount_minor), 0), count(*) FILTER (WHERE entry.account <> 'TUNER' OR entry.tuner_id <> NEW.tuner_id
           OR entry.currency <> NEW.currency)
      INTO of_lines, strange
      FROM marketplace_payoutline line JOIN marketplace_ledgerentry entry ON entry.id = line.entry_id WHERE line.payout_id = NEW.id;
    SELECT sum(-entry.amount_minor) INTO booked
      FROM marketplace_ledgerset entered JOIN marketplace_ledgerentry entry ON entry.set_id = entered.id
     WHERE entered.cause = 'PAYOUT' AND entered.cause_id = NEW.id AND entry.account = 'TUNER' AND entry.tuner_id = NEW.tuner_id
       AND entry.currency = NEW.currency;
    IF strange > 0 OR booked IS DISTINCT FROM NEW.amount_minor OR (of_lines <> NEW.amount_minor AND NOT NEW.rebuilt) THEN
        RAISE EXCEPTION 'payout_adds_up: payout % pays %, its lines are %, the books say %', NEW.id, NEW.amount_minor, of_lines, booked
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'payout_adds_up';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER payout_adds_up AFTER INSERT ON marketplace_payout
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION marketplace_payout_adds_up();
"""
GUARDS_BACK = """
DROP TRIGGER payout_adds_up ON marketplace_payout;
DROP FUNCTION marketplace_payout_adds_up();
DROP TRIGGER payoutline_guard ON marketplace_payoutline;
DROP FUNCTION marketplace_guard_payoutline();
DROP TRIGGER payoutaccount_refuse_deleted ON marketplace_payoutaccount;
DROP TRIGGER payoutaccount_guard ON marketplace_payoutaccount;
DROP FUNCTION marketplace_guard_payoutaccount();
DROP TRIGGER payout_refuse_deleted ON marketplace_payout;
DROP TRIGGER payout_guard ON marketplace_payout;
DROP FUNCTION marketplace_guard_payout();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0016_refuse_deleted_acknowledgements'),
        ('tuners', '0003_refuse_deleted'),
    ]

    operations = [
        migrations.CreateModel(
            name='Payout',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('currency', models.CharField(max_length=3)),
                ('amount_minor', models.BigIntegerField()),
                ('status', models.CharField(choices=[('PENDING', 'On its way'), ('PAID', 'Arrived at the bank'), ('FAILED', 'Came back: available again')], default='PENDING', max_length=7)),
                ('attempt', models.PositiveSmallIntegerField(default=1)),
                ('asked_at', models.DateTimeField(blank=True, help_text="When the present attempt's first call began.", null=True)),
                ('transfer_id', models.CharField(blank=True, max_length=80, null=True)),
                ('bank_payout_id', models.CharField(blank=True, max_length=80, null=True)),
                ('reversal_id', models.CharField(blank=True, max_length=80, null=True)),
                ('failure_code', models.CharField(blank=True, default='', max_length=80)),
                ('note', models.CharField(blank=True, default='', help_text='Why the provider refused last, while it is tried again.', max_length=80)),
                ('rebuilt', models.BooleanField(default=False, help_text='Found at the provider after a restore: its lines are a best guess.')),
                ('created_at', models.DateTimeField()),
                ('checked_at', models.DateTimeField(blank=True, help_text="When the provider's truth was last read.", null=True)),
                ('arrived_at', models.DateTimeField(blank=True, null=True)),
                ('failed_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='PayoutAccount',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('account_id', models.CharField(blank=True, max_length=80, null=True)),
                ('attempt', models.PositiveSmallIntegerField(default=1)),
                ('state', models.CharField(choices=[('OPENING', 'Asked for, its id not known yet'), ('ONBOARDING', "The provider waits for the tuner's details"), ('RESTRICTED', 'The provider checks, or asks for more'), ('ACTIVE', 'Can be paid')], default='OPENING', max_length=10)),
                ('requirements_due', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=120), blank=True, default=list, size=None)),
                ('disabled_reason', models.CharField(blank=True, default='', max_length=80)),
                ('created_at', models.DateTimeField()),
                ('checked_at', models.DateTimeField(blank=True, help_text="When the provider's truth was last read.", null=True)),
            ],
        ),
        migrations.CreateModel(
            name='PayoutLine',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('released_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.AddField(
            model_name='payout',
            name='tuner',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='payouts', to='tuners.tunerprofile'),
        ),
        migrations.AddField(
            model_name='payoutaccount',
            name='tuner',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='payout_account', to='tuners.tunerprofile'),
        ),
        migrations.AddField(
            model_name='payout',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='payouts', to='marketplace.payoutaccount'),
        ),
        migrations.AddField(
            model_name='payoutline',
            name='entry',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='payout_lines', to='marketplace.ledgerentry'),
        ),
        migrations.AddField(
            model_name='payoutline',
            name='payout',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='marketplace.payout'),
        ),
        migrations.AddIndex(
            model_name='payoutaccount',
            index=models.Index(condition=models.Q(('state', 'ACTIVE'), _negated=True), fields=['checked_at'], name='payoutaccount_unfinished'),
        ),
        migrations.AddConstraint(
            model_name='payoutaccount',
            constraint=models.UniqueConstraint(fields=('account_id',), name='payoutaccount_id_once'),
        ),
        migrations.AddConstraint(
            model_name='payoutaccount',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['OPENING', 'ONBOARDING', 'RESTRICTED', 'ACTIVE'])), name='payoutaccount_state_known'),
        ),
        migrations.AddConstraint(
            model_name='payoutaccount',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('account_id__isnull', True), ('state', 'OPENING')), models.Q(models.Q(('state', 'OPENING'), _negated=True), ('account_id__isnull', False)), _connector='OR'), name='payoutaccount_opening_iff_unknown'),
        ),
        migrations.AddIndex(
            model_name='payout',
            index=models.Index(fields=['tuner', '-created_at', '-id'], name='payout_own_newest'),
        ),
        migrations.AddIndex(
            model_name='payout',
            index=models.Index(condition=models.Q(('status', 'PENDING'), models.Q(('status', 'PAID'), models.Q(('failure_code', ''), _negated=True)), _connector='OR'), fields=['created_at'], name='payout_open'),
        ),
        migrations.AddConstraint(
            model_name='payout',
            constraint=models.UniqueConstraint(condition=models.Q(('status', 'PENDING')), fields=('tuner', 'currency'), name='payout_one_pending'),
        ),
        migrations.AddConstraint(
            model_name='payout',
            constraint=models.UniqueConstraint(fields=('transfer_id',), name='payout_transfer_once'),
        ),
        migrations.AddConstraint(
            model_name='payout',
            constraint=models.UniqueConstraint(fields=('bank_payout_id',), name='payout_bank_payout_once'),
        ),
        migrations.AddConstraint(
            model_name='payout',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['PENDING', 'PAID', 'FAILED'])), name='payout_status_known'),
        ),
        migrations.AddConstraint(
            model_name='payout',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gte', 1)), name='payout_pays_something'),
        ),
        migrations.AddConstraint(
            model_name='payout',
            constraint=models.CheckConstraint(condition=models.Q(('currency__regex', '^[A-Z]{3}$')), name='payout_currency_shape'),
        ),
        migrations.AddConstraint(
            model_name='payout',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('bank_payout_id__isnull', True), ('reversal_id__isnull', True)), ('transfer_id__isnull', False), _connector='OR'), name='payout_sent_was_transferred'),
        ),
        migrations.AddConstraint(
            model_name='payout',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('arrived_at__isnull', True), ('failed_at__isnull', True), ('status', 'PENDING')), models.Q(('arrived_at__isnull', False), ('bank_payout_id__isnull', False), ('failed_at__isnull', True), ('status', 'PAID')), models.Q(('failed_at__isnull', False), ('status', 'FAILED'), models.Q(('failure_code', ''), _negated=True)), _connector='OR'), name='payout_times_agree_with_status'),
        ),
        migrations.AddConstraint(
            model_name='payout',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'FAILED'), _negated=True), ('transfer_id__isnull', True), ('reversal_id__isnull', False), _connector='OR'), name='payout_failed_iff_money_is_back'),
        ),
        migrations.AddConstraint(
            model_name='payoutline',
            constraint=models.UniqueConstraint(condition=models.Q(('released_at__isnull', True)), fields=('entry',), name='payoutline_entry_once'),
        ),
        migrations.RunSQL(GUARDS, GUARDS_BACK),
    ]
