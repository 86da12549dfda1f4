
import core.clock
import core.fields
import core.ids
import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('users', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='AccountDeletion',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('user_id', models.UUIDField(unique=True)),
                ('deleted_at', models.DateTimeField()),
                ('receipt', models.JSONField()),
                ('hash_key_id', models.CharField(max_length=16)),
                ('trace_hashes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), size=None)),
                ('objects_left', models.JSONField(default=list)),
                ('object_hashes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), default=list, size=None)),
                ('objects_deleted_at', models.DateTimeField(blank=True, null=True)),
                ('farewell_address', core.fields.EncryptedTextField(null=True)),
                ('mailed_at', models.DateTimeField(blank=True, null=True)),
                ('copied_at', models.DateTimeField(blank=True, help_text='When storage had its copy, which outlives a restored database.', null=True)),
            ],
        ),
        migrations.CreateModel(
            name='DataExport',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('state', models.CharField(choices=[('QUEUED', 'Waits for the worker'), ('RUNNING', 'Being made'), ('READY', 'Ready to fetch'), ('EXPIRED', 'Its file was deleted'), ('FAILED', 'Could not be made')], default='QUEUED', max_length=7)),
                ('progress_percent', models.PositiveSmallIntegerField(default=0)),
                ('storage_key', models.CharField(blank=True, default='', max_length=200)),
                ('size_bytes', models.PositiveBigIntegerField(blank=True, null=True)),
                ('sha256', models.CharField(blank=True, default='', max_length=64)),
                ('created_at', models.DateTimeField(default=core.clock.now)),
                ('ready_at', models.DateTimeField(blank=True, null=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.AddField(
            model_name='user',
            name='deleted_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.CheckConstraint(condition=models.Q(('deleted_at__isnull', True), models.Q(('is_active', False), ('role', 'RIDER')), _connector='OR'), name='user_deleted_is_inactive'),
        ),
        migrations.AddIndex(
            model_name='accountdeletion',
            index=models.Index(fields=['-deleted_at', '-id'], name='accountdeletion_newest'),
        ),
        migrations.AddConstraint(
            model_name='accountdeletion',
            constraint=models.CheckConstraint(condition=models.Q(('farewell_address__isnull', True), ('mailed_at__isnull', True), _connector='OR'), name='accountdeletion_address_until_mailed'),
        ),
        migrations.AddConstraint(
            model_name='accountdeletion',
            constraint=models.CheckConstraint(condition=models.Q(('objects_deleted_at__isnull', True), ('objects_left', []), _connector='OR'), name='accountdeletion_no_object_left_when_done'),
        ),
        migrations.AddField(
            model_name='dataexport',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='data_exports', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='dataexport',
            index=models.Index(fields=['user', '-created_at'], name='dataexport_of_user'),
        ),
        migrations.AddIndex(
            model_name='dataexport',
            index=models.Index(fields=['created_at'], name='dataexport_to_sweep'),
        ),
        migrations.AddConstraint(
            model_name='dataexport',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['QUEUED', 'RUNNING', 'READY', 'EXPIRED', 'FAILED'])), name='dataexport_state_known'),
        ),
        migrations.AddConstraint(
            model_name='dataexport',
            constraint=models.CheckConstraint(condition=models.Q(('progress_percent__lte', 100)), name='dataexport_percent'),
        ),
        migrations.AddConstraint(
            model_name='dataexport',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ('QUEUED', 'RUNNING'))), fields=('user',), name='dataexport_one_open'),
        ),
        migrations.AddConstraint(
            model_name='dataexport',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'READY'), _negated=True), models.Q(('expires_at__isnull', False), ('ready_at__isnull', False), ('size_bytes__isnull', False), models.Q(('storage_key', ''), _negated=True), models.Q(('sha256', ''), _negated=True)), _connector='OR'), name='dataexport_ready_is_complete'),
        ),
    ]
