import core.ids
import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.comparison
import tuners.models
from django.conf import settings
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        TrigramExtension(),
        migrations.CreateModel(
            name='TunerProfile',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('TUNER', 'Tuner'), ('CREATOR', 'Creator')], max_length=7)),
                ('business_name', models.CharField(max_length=120)),
                ('country', models.CharField(max_length=2)),
                ('website', models.URLField(blank=True, default='')),
                ('about', models.TextField(blank=True, default='', max_length=4000)),
                ('experience', models.TextField(blank=True, default='', max_length=4000)),
                ('specialities', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('STREET', 'Street'), ('TRACK', 'Track and race'), ('DRAG', 'Drag racing'), ('OFF_ROAD', 'Off-road and enduro'), ('TOURING', 'Touring and economy'), ('FORCED_INDUCTION', 'Turbo and supercharger'), ('DIESEL', 'Diesel'), ('ALTERNATIVE_FUEL', 'E85 and other fuels'), ('THROTTLE_MAPS', 'Throttle and ride modes'), ('EXHAUST_MATCHING', 'Matching to exhaust and intake'), ('DYNO_TUNING', 'Dyno tuning'), ('BENCH_FLASHING', 'Bench flashing')], max_length=20), blank=True, default=list, size=None)),
                ('makes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=80), blank=True, default=list, size=None)),
                ('make_keys', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=80), blank=True, default=list, size=None)),
                ('name_key', models.CharField(max_length=160)),
                ('search_text', models.TextField(blank=True, default='')),
                ('verified', models.BooleanField(default=False)),
                ('verified_at', models.DateTimeField(blank=True, null=True)),
                ('status', models.CharField(choices=[('ACTIVE', 'Active'), ('SUSPENDED', 'Suspended')], default='ACTIVE', max_length=9)),
                ('suspension_reason', models.CharField(blank=True, choices=[('SAFETY', 'Unsafe files'), ('EMISSIONS', 'Prohibited emissions content'), ('FRAUD', 'Fraud or impersonation'), ('DOCUMENTS', 'Documents expired or not genuine'), ('CONDUCT', 'Conduct towards riders'), ('OTHER', 'Something else')], default='', max_length=9)),
                ('suspension_note', models.TextField(blank=True, default='', max_length=2000)),
                ('suspended_at', models.DateTimeField(blank=True, null=True)),
                ('rating_sum', models.PositiveBigIntegerField(default=0)),
                ('review_count', models.PositiveIntegerField(default=0)),
                ('rating', models.GeneratedField(db_persist=True, expression=django.db.models.expressions.CombinedExpression(django.db.models.functions.comparison.Cast(models.F('rating_sum'), models.DecimalField(decimal_places=10, max_digits=20)), '/', django.db.models.functions.comparison.NullIf(models.F('review_count'), 0)), output_field=models.DecimalField(decimal_places=2, max_digits=3, null=True))),
                ('rating_order', models.GeneratedField(db_persist=True, expression=django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.functions.comparison.Cast(models.F('rating_sum'), models.DecimalField(decimal_places=10, max_digits=20)), '+', models.Value(20)), '/', django.db.models.expressions.CombinedExpression(models.F('review_count'), '+', models.Value(5))), output_field=models.DecimalField(decimal_places=6, max_digits=7))),
                ('follower_count', models.PositiveIntegerField(default=0)),
                ('fee_basis_points', models.PositiveIntegerField(default=tuners.models.default_fee_basis_points)),
                ('hold_days', models.PositiveSmallIntegerField(default=14)),
                ('minimum_payout_minor', models.PositiveBigIntegerField(default=5000)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField()),
                ('updated_at', models.DateTimeField()),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='tuner_profile', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='TunerFollow',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField()),
                ('follower', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tuner_follows', to=settings.AUTH_USER_MODEL)),
                ('tuner', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='follows', to='tuners.tunerprofile')),
            ],
        ),
        migrations.CreateModel(
            name='SuspensionAppeal',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('suspended_at', models.DateTimeField()),
                ('text', models.TextField(max_length=4000)),
                ('state', models.CharField(choices=[('OPEN', 'Open'), ('ACCEPTED', 'Accepted: the suspension was lifted'), ('REJECTED', 'Rejected')], default='OPEN', max_length=8)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decided_by_id', models.UUIDField(blank=True, null=True)),
                ('decision_reason', models.TextField(blank=True, default='', max_length=2000)),
                ('created_at', models.DateTimeField()),
                ('tuner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='appeals', to='tuners.tunerprofile')),
            ],
        ),
        migrations.CreateModel(
            name='TunerReview',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('tune_id', models.UUIDField()),
                ('tune_version_id', models.UUIDField()),
                ('vehicle_model_id', models.UUIDField(blank=True, null=True)),
                ('vehicle_label', models.CharField(blank=True, default='', max_length=160)),
                ('rating', models.PositiveSmallIntegerField(validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(5)])),
                ('text', models.TextField(blank=True, default='', max_length=4000)),
                ('state', models.CharField(choices=[('PUBLISHED', 'Published'), ('HIDDEN', 'Hidden by staff'), ('DELETED', 'Deleted by its author')], default='PUBLISHED', max_length=9)),
                ('hidden_at', models.DateTimeField(blank=True, null=True)),
                ('hidden_reason', models.TextField(blank=True, default='', max_length=2000)),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('edited_at', models.DateTimeField(blank=True, null=True)),
                ('reply', models.TextField(blank=True, default='', max_length=2000)),
                ('replied_at', models.DateTimeField(blank=True, null=True)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField()),
                ('updated_at', models.DateTimeField()),
                ('buyer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tuner_reviews', to=settings.AUTH_USER_MODEL)),
                ('tuner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reviews', to='tuners.tunerprofile')),
            ],
        ),
        migrations.CreateModel(
            name='ReviewReport',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('reason', models.CharField(choices=[('ABUSE', 'Insult or threat'), ('SPAM', 'Advertising'), ('FAKE', 'Not a real experience'), ('PERSONAL_DATA', "Somebody's personal data"), ('ILLEGAL_ADVICE', 'Dangerous or illegal advice'), ('OTHER', 'Something else')], max_length=14)),
                ('text', models.TextField(blank=True, default='', max_length=2000)),
                ('state', models.CharField(choices=[('OPEN', 'Open'), ('UPHELD', 'Upheld: the review was hidden'), ('DISMISSED', 'Dismissed')], default='OPEN', max_length=9)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decided_by_id', models.UUIDField(blank=True, null=True)),
                ('decision_reason', models.TextField(blank=True, default='', max_length=2000)),
                ('created_at', models.DateTimeField()),
                ('reporter', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='review_reports', to=settings.AUTH_USER_MODEL)),
                ('review', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='reports', to='tuners.tunerreview')),
            ],
        ),
        migrations.CreateModel(
            name='TunerReviewEdit',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('rating', models.PositiveSmallIntegerField()),
                ('text', models.TextField(blank=True, default='')),
                ('replaced_at', models.DateTimeField()),
                ('review', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='edits', to='tuners.tunerreview')),
            ],
        ),
        migrations.CreateModel(
            name='TunerApplication',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('TUNER', 'Tuner'), ('CREATOR', 'Creator')], max_length=7)),
                ('business_name', models.CharField(max_length=120)),
                ('country', models.CharField(max_length=2)),
                ('website', models.URLField(blank=True, default='')),
                ('experience', models.TextField(max_length=4000)),
                ('specialities', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('STREET', 'Street'), ('TRACK', 'Track and race'), ('DRAG', 'Drag racing'), ('OFF_ROAD', 'Off-road and enduro'), ('TOURING', 'Touring and economy'), ('FORCED_INDUCTION', 'Turbo and supercharger'), ('DIESEL', 'Diesel'), ('ALTERNATIVE_FUEL', 'E85 and other fuels'), ('THROTTLE_MAPS', 'Throttle and ride modes'), ('EXHAUST_MATCHING', 'Matching to exhaust and intake'), ('DYNO_TUNING', 'Dyno tuning'), ('BENCH_FLASHING', 'Bench flashing')], max_length=20), default=list, size=None)),
                ('status', models.CharField(choices=[('DRAFT', 'Draft'), ('SUBMITTED', 'Submitted'), ('APPROVED', 'Approved'), ('REJECTED', 'Rejected'), ('INFO_REQUESTED', 'More information requested')], default='DRAFT', max_length=14)),
                ('queued_at', models.DateTimeField(blank=True, null=True)),
                ('submitted_at', models.DateTimeField(blank=True, null=True)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decided_by_id', models.UUIDField(blank=True, null=True)),
                ('decision_reason', models.TextField(blank=True, default='', max_length=2000)),
                ('may_reapply_at', models.DateTimeField(blank=True, null=True)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField()),
                ('updated_at', models.DateTimeField()),
                ('applicant', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='tuner_application', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('status', 'SUBMITTED')), fields=['queued_at', 'id'], name='application_queue'), models.Index(condition=models.Q(('decided_at__isnull', False)), fields=['decided_at'], name='application_decided')],
                'constraints': [models.CheckConstraint(condition=models.Q(('kind__in', ['TUNER', 'CREATOR'])), name='tunerapplication_kind_known'), models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('queued_at__isnull', True), ('status', 'DRAFT'), ('submitted_at__isnull', True)), models.Q(('decided_at__isnull', True), ('queued_at__isnull', False), ('status', 'SUBMITTED'), ('submitted_at__isnull', False)), models.Q(('decided_at__isnull', False), ('queued_at__isnull', False), ('status__in', ['APPROVED', 'REJECTED', 'INFO_REQUESTED']), ('submitted_at__isnull', False)), _connector='OR'), name='tunerapplication_times_fit_status'), models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('decided_by_id__isnull', True)), models.Q(('decided_at__isnull', False), ('decided_by_id__isnull', False)), _connector='OR'), name='tunerapplication_decided_iff_by_somebody'), models.CheckConstraint(condition=models.Q(('decision_reason', ''), ('status__in', ['REJECTED', 'INFO_REQUESTED']), _negated=True), name='tunerapplication_refusal_has_reason'), models.CheckConstraint(condition=models.Q(models.Q(('may_reapply_at__isnull', False), ('status', 'REJECTED')), models.Q(models.Q(('status', 'REJECTED'), _negated=True), ('may_reapply_at__isnull', True)), _connector='OR'), name='tunerapplication_rejected_iff_rests'), models.CheckConstraint(condition=models.Q(('decided_by_id__isnull', True), models.Q(('decided_by_id', models.F('applicant_id')), _negated=True), _connector='OR'), name='tunerapplication_never_own_decision')],
            },
        ),
        migrations.CreateModel(
            name='TunerCertification',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('upload_id', models.UUIDField(unique=True)),
                ('storage_key', models.CharField(max_length=255)),
                ('file_name', models.CharField(max_length=255)),
                ('content_type', models.CharField(max_length=100)),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('sha256', models.CharField(max_length=64)),
                ('type', models.CharField(choices=[('BUSINESS_REGISTRATION', 'Business registration'), ('TRADE_QUALIFICATION', 'Trade qualification'), ('MANUFACTURER_TRAINING', 'Manufacturer training'), ('INSURANCE', 'Liability insurance'), ('IDENTITY', 'Proof of identity'), ('OTHER', 'Other')], max_length=21)),
                ('issuer', models.CharField(max_length=120)),
                ('number', models.CharField(blank=True, default='', max_length=80)),
                ('expires_on', models.DateField()),
                ('verdict', models.CharField(choices=[('PENDING', 'Not judged yet'), ('ACCEPTED', 'Accepted'), ('REFUSED', 'Refused')], default='PENDING', max_length=8)),
                ('verdict_reason', models.TextField(blank=True, default='', max_length=2000)),
                ('judged_at', models.DateTimeField(blank=True, null=True)),
                ('judged_by_id', models.UUIDField(blank=True, null=True)),
                ('created_at', models.DateTimeField()),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tuner_certifications', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['owner', '-created_at', '-id'], name='certification_by_owner')],
                'constraints': [models.CheckConstraint(condition=models.Q(('type__in', ['BUSINESS_REGISTRATION', 'TRADE_QUALIFICATION', 'MANUFACTURER_TRAINING', 'INSURANCE', 'IDENTITY', 'OTHER'])), name='tunercertification_type_known'), models.CheckConstraint(condition=models.Q(models.Q(('judged_at__isnull', True), ('judged_by_id__isnull', True), ('verdict', 'PENDING')), models.Q(('judged_at__isnull', False), ('judged_by_id__isnull', False), ('verdict__in', ['ACCEPTED', 'REFUSED'])), _connector='OR'), name='tunercertification_judged_iff_verdict'), models.CheckConstraint(condition=models.Q(('verdict', 'REFUSED'), ('verdict_reason', ''), _negated=True), name='tunercertification_refusal_has_reason'), models.CheckConstraint(condition=models.Q(('judged_by_id__isnull', True), models.Q(('judged_by_id', models.F('owner_id')), _negated=True), _connector='OR'), name='tunercertification_never_own_verdict')],
            },
        ),
        migrations.AddIndex(
            model_name='tunerprofile',
            index=models.Index(models.OrderBy(models.F('rating_order'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status', 'ACTIVE')), name='tuner_by_rating'),
        ),
        migrations.AddIndex(
            model_name='tunerprofile',
            index=models.Index(models.OrderBy(models.F('follower_count'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status', 'ACTIVE')), name='tuner_by_followers'),
        ),
        migrations.AddIndex(
            model_name='tunerprofile',
            index=models.Index(models.F('name_key'), models.F('id'), condition=models.Q(('status', 'ACTIVE')), name='tuner_by_name'),
        ),
        migrations.AddIndex(
            model_name='tunerprofile',
            index=models.Index(models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status', 'ACTIVE')), name='tuner_by_age'),
        ),
        migrations.AddIndex(
            model_name='tunerprofile',
            index=django.contrib.postgres.indexes.GinIndex(fields=['specialities'], name='tuner_specialities'),
        ),
        migrations.AddIndex(
            model_name='tunerprofile',
            index=django.contrib.postgres.indexes.GinIndex(fields=['make_keys'], name='tuner_make_keys'),
        ),
        migrations.AddIndex(
            model_name='tunerprofile',
            index=django.contrib.postgres.indexes.GinIndex(fields=['search_text'], name='tuner_search', opclasses=['gin_trgm_ops']),
        ),
        migrations.AddConstraint(
            model_name='tunerprofile',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['TUNER', 'CREATOR'])), name='tunerprofile_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='tunerprofile',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['ACTIVE', 'SUSPENDED'])), name='tunerprofile_status_known'),
        ),
        migrations.AddConstraint(
            model_name='tunerprofile',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'ACTIVE'), ('suspended_at__isnull', True), ('suspension_reason', '')), models.Q(('status', 'SUSPENDED'), ('suspended_at__isnull', False), ('suspension_reason__in', ['SAFETY', 'EMISSIONS', 'FRAUD', 'DOCUMENTS', 'CONDUCT', 'OTHER'])), _connector='OR'), name='tunerprofile_suspended_iff_reason_and_time'),
        ),
        migrations.AddConstraint(
            model_name='tunerprofile',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('verified', False), ('verified_at__isnull', True)), models.Q(('verified', True), ('verified_at__isnull', False)), _connector='OR'), name='tunerprofile_verified_iff_time'),
        ),
        migrations.AddConstraint(
            model_name='tunerprofile',
            constraint=models.CheckConstraint(condition=models.Q(('kind', 'CREATOR'), ('verified', True), _negated=True), name='tunerprofile_creator_never_verified'),
        ),
        migrations.AddConstraint(
            model_name='tunerprofile',
            constraint=models.CheckConstraint(condition=models.Q(('rating_sum__gte', models.F('review_count')), ('rating_sum__lte', django.db.models.expressions.CombinedExpression(models.F('review_count'), '*', models.Value(5)))), name='tunerprofile_rating_sum_possible'),
        ),
        migrations.AddConstraint(
            model_name='tunerprofile',
            constraint=models.CheckConstraint(condition=models.Q(('fee_basis_points__lte', 10000)), name='tunerprofile_fee_at_most_all'),
        ),
        migrations.AddConstraint(
            model_name='tunerprofile',
            constraint=models.CheckConstraint(condition=models.Q(('business_name', ''), _negated=True), name='tunerprofile_name_not_blank'),
        ),
        migrations.AddConstraint(
            model_name='tunerfollow',
            constraint=models.UniqueConstraint(fields=('tuner', 'follower'), name='tunerfollow_once'),
        ),
        migrations.AddIndex(
            model_name='suspensionappeal',
            index=models.Index(condition=models.Q(('state', 'OPEN')), fields=['created_at'], name='appeal_queue'),
        ),
        migrations.AddConstraint(
            model_name='suspensionappeal',
            constraint=models.UniqueConstraint(fields=('tuner', 'suspended_at'), name='suspensionappeal_one_per_suspension'),
        ),
        migrations.AddConstraint(
            model_name='suspensionappeal',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('decided_by_id__isnull', True), ('state', 'OPEN')), models.Q(('decided_at__isnull', False), ('decided_by_id__isnull', False), ('state__in', ['ACCEPTED', 'REJECTED'])), _connector='OR'), name='suspensionappeal_decided_iff_not_open'),
        ),
        migrations.AddIndex(
            model_name='tunerreview',
            index=models.Index(condition=models.Q(('state', 'PUBLISHED')), fields=['tuner', '-created_at', '-id'], name='review_by_tuner'),
        ),
        migrations.AddIndex(
            model_name='tunerreview',
            index=models.Index(condition=models.Q(('state', 'PUBLISHED')), fields=['tune_id', '-created_at', '-id'], name='review_by_tune'),
        ),
        migrations.AddConstraint(
            model_name='tunerreview',
            constraint=models.UniqueConstraint(condition=models.Q(models.Q(('state', 'DELETED'), _negated=True), ('hidden_at__isnull', False), _connector='OR'), fields=('buyer', 'tune_id'), name='tunerreview_one_per_buyer_and_tune'),
        ),
        migrations.AddConstraint(
            model_name='tunerreview',
            constraint=models.CheckConstraint(condition=models.Q(('rating__gte', 1), ('rating__lte', 5)), name='tunerreview_rating_1_to_5'),
        ),
        migrations.AddConstraint(
            model_name='tunerreview',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('deleted_at__isnull', True), ('hidden_at__isnull', True), ('state', 'PUBLISHED')), models.Q(('deleted_at__isnull', True), ('hidden_at__isnull', False), ('state', 'HIDDEN')), models.Q(('deleted_at__isnull', False), ('state', 'DELETED'), ('text', '')), _connector='OR'), name='tunerreview_times_fit_state'),
        ),
        migrations.AddConstraint(
            model_name='tunerreview',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('replied_at__isnull', True), ('reply', '')), models.Q(models.Q(('reply', ''), _negated=True), ('replied_at__isnull', False)), _connector='OR'), name='tunerreview_reply_iff_time'),
        ),
        migrations.AddIndex(
            model_name='reviewreport',
            index=models.Index(condition=models.Q(('state', 'OPEN')), fields=['created_at'], name='report_queue'),
        ),
        migrations.AddConstraint(
            model_name='reviewreport',
            constraint=models.UniqueConstraint(fields=('review', 'reporter'), name='reviewreport_one_per_reporter'),
        ),
        migrations.AddConstraint(
            model_name='reviewreport',
            constraint=models.CheckConstraint(condition=models.Q(('reason__in', ['ABUSE', 'SPAM', 'FAKE', 'PERSONAL_DATA', 'ILLEGAL_ADVICE', 'OTHER'])), name='reviewreport_reason_known'),
        ),
        migrations.AddConstraint(
            model_name='reviewreport',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('decided_by_id__isnull', True), ('state', 'OPEN')), models.Q(('decided_at__isnull', False), ('decided_by_id__isnull', False), ('state__in', ['UPHELD', 'DISMISSED'])), _connector='OR'), name='reviewreport_decided_iff_not_open'),
        ),
        migrations.AddConstraint(
            model_name='tunerreviewedit',
            constraint=models.CheckConstraint(condition=models.Q(('rating__gte', 1), ('rating__lte', 5)), name='tunerreviewedit_rating_1_to_5'),
        ),
    ]
