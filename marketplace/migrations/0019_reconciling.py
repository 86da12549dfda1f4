"""What the reconciler remembers: up to when it looked, what differs; and what an event claimed, how often it failed."""

import core.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0018_ledger_newest_first'),
    ]

    operations = [
        migrations.AddField(
            model_name='webhookevent',
            name='amount_minor',
            field=models.BigIntegerField(blank=True, help_text='What it says; compared, never believed.', null=True),
        ),
        migrations.AddField(
            model_name='webhookevent',
            name='attempts',
            field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text='How often applying it failed.'),
        ),
        migrations.AddField(
            model_name='webhookevent',
            name='currency',
            field=models.CharField(blank=True, db_default='', default='', max_length=3),
        ),
        migrations.CreateModel(
            name='ProviderDifference',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('provider', models.CharField(choices=[('stripe', 'Stripe')], default='stripe', max_length=10)),
                ('object_id', models.CharField(help_text="The provider's intent, refund, dispute, transfer or payout.", max_length=80)),
                ('intent_id', models.CharField(blank=True, default='', max_length=80)),
                ('purchase_id', models.UUIDField(blank=True, help_text='The purchase that it names; it may not exist.', null=True)),
                ('reason', models.CharField(choices=[('NOBODYS', 'A payment that belongs to no purchase of ours'), ('NOT_REBUILT', "A payment whose purchase was lost and can't be written again"), ('SECOND_PAYMENT', 'A second payment of one purchase'), ('NOT_AS_AGREED', 'Amount, currency or purchase are not what was agreed'), ('UNKNOWN_THERE', 'The provider does not know what we know'), ('OTHER_STATE', 'The provider and we say different things of its state')], max_length=14)),
                ('state', models.CharField(choices=[('OPEN', 'Open: a person must look'), ('REFUNDED', 'Given back to the payer'), ('DISMISSED', 'Looked at, nothing to do'), ('GONE', 'The two agree again')], default='OPEN', max_length=9)),
                ('ours', models.CharField(blank=True, default='', max_length=300)),
                ('theirs', models.CharField(blank=True, default='', max_length=300)),
                ('amount_minor', models.BigIntegerField(default=0)),
                ('currency', models.CharField(blank=True, default='', max_length=3)),
                ('refund_id', models.CharField(blank=True, default='', max_length=80)),
                ('found_at', models.DateTimeField()),
                ('seen_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'indexes': [models.Index(fields=['-found_at', '-id'], name='providerdifference_newest')],
                'constraints': [models.UniqueConstraint(fields=('provider', 'object_id', 'reason'), name='providerdifference_once'), models.CheckConstraint(condition=models.Q(('reason__in', ['NOBODYS', 'NOT_REBUILT', 'SECOND_PAYMENT', 'NOT_AS_AGREED', 'UNKNOWN_THERE', 'OTHER_STATE'])), name='providerdifference_reason_known'), models.CheckConstraint(condition=models.Q(('state__in', ['OPEN', 'REFUNDED', 'DISMISSED', 'GONE'])), name='providerdifference_state_known'), models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('state', 'OPEN')), models.Q(models.Q(('state', 'OPEN'), _negated=True), ('ended_at__isnull', False)), _connector='OR'), name='providerdifference_ended_iff_not_open'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'REFUNDED'), models.Q(('refund_id', ''), _negated=True)), models.Q(models.Q(('state', 'REFUNDED'), _negated=True), ('refund_id', '')), _connector='OR'), name='providerdifference_refunded_iff_refund')],
            },
        ),
        migrations.CreateModel(
            name='ProviderWatch',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('watched_at', models.DateTimeField(help_text='Payments and events are known up to here.')),
                ('walked_at', models.DateTimeField(help_text='Refunds, disputes, accounts and payouts are known up to here.')),
                ('restoring_since', models.DateTimeField(blank=True, null=True)),
                ('restored_at', models.DateTimeField(blank=True, help_text='When the last rebuilding ended.', null=True)),
                ('note', models.CharField(blank=True, default='', max_length=200)),
            ],
            options={
                'verbose_name_plural': 'provider watch',
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='providerwatch_one_row')],
            },
        ),
    ]
