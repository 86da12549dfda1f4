
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tuners', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='tunerprofile',
            name='tunerprofile_suspended_iff_reason_and_time',
        ),
        migrations.AlterField(
            model_name='tunerprofile',
            name='suspension_reason',
            field=models.CharField(blank=True, choices=[('SAFETY', 'Unsafe files'), ('EMISSIONS', 'Prohibited emissions content'), ('FRAUD', 'Fraud or impersonation'), ('DOCUMENTS', 'Documents expired or not genuine'), ('CONDUCT', 'Conduct towards riders'), ('OTHER', 'Something else'), ('CLOSED', 'The account was deleted by its owner')], default='', max_length=9),
        ),
        migrations.AddConstraint(
            model_name='tunerprofile',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'ACTIVE'), ('suspended_at__isnull', True), ('suspension_reason', '')), models.Q(('status', 'SUSPENDED'), ('suspended_at__isnull', False), ('suspension_reason__in', ['SAFETY', 'EMISSIONS', 'FRAUD', 'DOCUMENTS', 'CONDUCT', 'OTHER', 'CLOSED'])), _connector='OR'), name='tunerprofile_suspended_iff_reason_and_time'),
        ),
    ]
