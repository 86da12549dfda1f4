"""Refunds, disputes and cases, and what Postgres itself keeps true of them.

Rows are never deleted. What was promised, to whom and by which bank never changes. A message changes only by losing its text
when its author deletes the account. Nobody who deleted their account opens a case, writes or asks for a refund.
"""

import django.db.models.deletion
from django.conf import settings
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

import core.ids

GUARDS = """
SET LOCAL lock_timeout = '5s';

CREATE FUNCTION marketplace_guard_refund() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'refund_is_never_deleted: the books point to it'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'refund_is_never_deleted';
    END IF;
    IF (NEW.purchase_id, NEW.currency, NEW.cause, NEW.created_at)
       IS DISTINCT FROM (OLD.purchase_id, OLD.currency, OLD.cause, OLD.created_at)
       OR OLD.reserved_at IS NOT NULL AND (NEW.amount_minor, NEW.reserved_at) IS DISTINCT FROM (OLD.amount_minor, OLD.reserved_at)
       OR OLD.provider_refund_id IS NOT NULL AND NEW.provider_refund_id IS DISTINCT FROM OLD.provider_refund_id
       OR OLD.status = 'FAILED' AND NEW.status <> 'FAILED'
       OR OLD.status = 'SUCCEEDED' AND NEW.status = 'PENDING'
    THEN
        RAISE EXCEPTION 'refund_promise_is_final: what was promised never changes'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'refund_promise_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refund_guard BEFORE UPDATE OR DELETE ON marketplace_refund
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_refund();
CREATE TRIGGER refund_refuse_deleted BEFORE INSERT ON marketplace_refund
    FOR EACH ROW WHEN (NEW.asked_by_id IS NOT NULL) EXECUTE FUNCTION users_refuse_deleted('asked_by_id');

CREATE FUNCTION marketplace_guard_dispute() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'dispute_is_never_deleted: the books point to it'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'dispute_is_never_deleted';
    END IF;
    IF (NEW.purchase_id, NEW.provider_dispute_id, NEW.intent_id, NEW.currency)
       IS DISTINCT FROM (OLD.purchase_id, OLD.provider_dispute_id, OLD.intent_id, OLD.currency)
       OR OLD.ended_at IS NOT NULL
          AND (NEW.status, NEW.amount_minor, NEW.ended_at) IS DISTINCT FROM (OLD.status, OLD.amount_minor, OLD.ended_at)
       OR OLD.applied_at IS NOT NULL AND (NEW.applied_at, NEW.amount_minor) IS DISTINCT FROM (OLD.applied_at, OLD.amount_minor)
    THEN
        RAISE EXCEPTION 'dispute_is_final: what a bank decided never changes here'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'dispute_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER dispute_guard BEFORE UPDATE OR DELETE ON marketplace_dispute
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_dispute();

CREATE FUNCTION marketplace_guard_case() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'case_is_never_deleted: what was decided stays with the books'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'case_is_never_deleted';
    END IF;
    IF (NEW.purchase_id, NEW.kind, NEW.created_at) IS DISTINCT FROM (OLD.purchase_id, OLD.kind, OLD.created_at)
       OR OLD.status = 'RESOLVED'
          AND (NEW.status, NEW.resolution, NEW.resolved_at) IS DISTINCT FROM (OLD.status, OLD.resolution, OLD.resolved_at)
    THEN
        RAISE EXCEPTION 'case_decision_is_final: a decided case is not opened again'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'case_decision_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER case_guard BEFORE UPDATE OR DELETE ON marketplace_case
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_case();
CREATE TRIGGER case_refuse_deleted BEFORE INSERT ON marketplace_case
    FOR EACH ROW WHEN (NEW.opened_by_id IS NOT NULL) EXECUTE FUNCTION users_refuse_deleted('opened_by_id');

CREATE FUNCTION marketplace_guard_casemessage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'casemessage_is_never_deleted: the others have answered it'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'casemessage_is_never_deleted';
    END IF;
    IF (NEW.id, NEW.case_id, NEW.author, NEW.author_user_id, NEW.created_at)
       IS DISTINCT FROM (OLD.id, OLD.case_id, OLD.author, OLD.author_user_id, OLD.created_at)
       OR NEW.text NOT IN (OLD.text, '')
    THEN
        RAISE EXCEPTION 'casemessage_is_final: what was said is only ever blanked, with the account of who said it'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'casemessage_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER casemessage_guard BEFORE UPDATE OR DELETE ON marketplace_casemessage
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_casemessage();
CREATE TRIGGER casemessage_refuse_deleted BEFORE INSERT ON marketplace_casemessage
    FOR EACH ROW WHEN (NEW.author_user_id IS NOT NULL) EXECUTE FUNCTION users_refuse_deleted('author_user_id');
"""
GUARDS_BACK = """
DROP TRIGGER refund_guard ON marketplace_refund;
DROP TRIGGER refund_refuse_deleted ON marketplace_refund;
DROP TRIGGER dispute_guard ON marketplace_dispute;
DROP TRIGGER case_guard ON marketplace_case;
DROP TRIGGER case_refuse_deleted ON marketplace_case;
DROP TRIGGER casemessage_guard ON marketplace_casemessage;
DROP TRIGGER casemessage_refuse_deleted ON marketplace_casemessage;
DROP FUNCTION marketplace_guard_refund();
DROP FUNCTION marketplace_guard_dispute();
DROP FUNCTION marketplace_guard_case();
DROP FUNCTION marketplace_guard_casemessage();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0011_plain_names"),
        ("users", "0003_refuse_deleted"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Case",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[("REFUND", "Refund"), ("FLASH_FAILURE", "Failed flash"), ("OTHER", "Something else")], max_length=13
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("OPEN", "Opened, nobody has answered yet"),
                            ("WAITING_RIDER", "Waiting for the rider"),
                            ("WAITING_TUNER", "Waiting for the tuner"),
                            ("WAITING_STAFF", "Waiting for RevSync"),
                            ("RESOLVED", "Resolved"),
                        ],
                        default="OPEN",
                        max_length=13,
                    ),
                ),
                ("opened_by_id", models.UUIDField(blank=True, help_text="Empty: the system.", null=True)),
                ("flash_id", models.UUIDField(blank=True, null=True)),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                (
                    "reminded_at",
                    models.DateTimeField(blank=True, help_text="When the one who must answer was reminded of this due date.", null=True),
                ),
                ("escalated_at", models.DateTimeField(blank=True, help_text="When a due date passed and staff took over.", null=True)),
                (
                    "resolution",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("FULL_REFUND", "Everything is given back"),
                            ("PARTIAL_REFUND", "A part is given back"),
                            ("NO_REFUND", "Nothing is given back"),
                            ("SOLVED", "Solved without money"),
                            ("WITHDRAWN", "The rider left"),
                        ],
                        default="",
                        max_length=14,
                    ),
                ),
                ("resolution_reason", models.TextField(blank=True, default="", max_length=4000)),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("resolved_by_id", models.UUIDField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                (
                    "purchase",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="cases", to="marketplace.purchase"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CaseMessage",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                (
                    "author",
                    models.CharField(
                        choices=[("RIDER", "Rider"), ("TUNER", "Tuner"), ("STAFF", "RevSync"), ("SYSTEM", "Written by the system")],
                        max_length=6,
                    ),
                ),
                ("text", models.TextField(max_length=4000)),
                ("fingerprint", models.BinaryField(max_length=32)),
                ("created_at", models.DateTimeField()),
                (
                    "author_user",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                ("case", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="messages", to="marketplace.case")),
            ],
        ),
        migrations.CreateModel(
            name="CaseAttachment",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("upload_id", models.UUIDField(unique=True)),
                ("storage_key", models.CharField(max_length=200)),
                ("name", models.CharField(max_length=200)),
                ("content_type", models.CharField(max_length=100)),
                ("size_bytes", models.PositiveIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("position", models.PositiveSmallIntegerField(default=0)),
                (
                    "message",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="attachments", to="marketplace.casemessage"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Dispute",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("provider_dispute_id", models.CharField(max_length=80)),
                ("intent_id", models.CharField(max_length=80)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("INQUIRY", "The bank asks, no money has moved"),
                            ("NEEDS_RESPONSE", "Evidence is awaited"),
                            ("UNDER_REVIEW", "The bank looks at the evidence"),
                            ("WON", "Won"),
                            ("LOST", "Lost"),
                            ("CLOSED", "The inquiry ended without a dispute"),
                        ],
                        max_length=14,
                    ),
                ),
                ("reason", models.CharField(blank=True, default="", max_length=80)),
                ("amount_minor", models.PositiveIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("evidence_due_at", models.DateTimeField(blank=True, null=True)),
                ("evidence", models.JSONField(blank=True, default=dict)),
                ("evidence_text", models.TextField(blank=True, default="")),
                ("evidence_built_at", models.DateTimeField(blank=True, null=True)),
                ("submitted_at", models.DateTimeField(blank=True, null=True)),
                ("submitted_by_id", models.UUIDField(blank=True, null=True)),
                ("opened_at", models.DateTimeField()),
                (
                    "applied_at",
                    models.DateTimeField(
                        blank=True, help_text="When purchase, license and books followed; never for an inquiry.", null=True
                    ),
                ),
                ("reminded_at", models.DateTimeField(blank=True, null=True)),
                ("checked_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "purchase",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="disputes", to="marketplace.purchase"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Refund",
            fields=[
                ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("REQUEST", "The buyer asked, at once"),
                            ("CASE", "Decided in a case"),
                            ("PROVIDER", "Made at the payment provider"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("PENDING", "On its way, or waiting for a decision"),
                            ("SUCCEEDED", "Given back"),
                            ("FAILED", "Not given back"),
                        ],
                        default="PENDING",
                        max_length=9,
                    ),
                ),
                ("amount_minor", models.PositiveIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("asked_by_id", models.UUIDField(blank=True, help_text="The buyer who asked.", null=True)),
                ("decided_by_id", models.UUIDField(blank=True, help_text="The admin who decided.", null=True)),
                ("provider_refund_id", models.CharField(blank=True, max_length=80, null=True)),
                ("attempt", models.PositiveSmallIntegerField(default=1)),
                ("failure_code", models.CharField(blank=True, default="", max_length=80)),
                ("created_at", models.DateTimeField()),
                ("reserved_at", models.DateTimeField(blank=True, help_text="When the money was promised and booked.", null=True)),
                (
                    "asked_provider_at",
                    models.DateTimeField(blank=True, help_text="When the present attempt's first call began.", null=True),
                ),
                ("checked_at", models.DateTimeField(blank=True, help_text="When the provider's truth was last read.", null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("repaid_at", models.DateTimeField(blank=True, help_text="When staff paid by other means what failed.", null=True)),
                ("repaid_by_id", models.UUIDField(blank=True, null=True)),
                (
                    "case",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="refunds", to="marketplace.case"
                    ),
                ),
                (
                    "purchase",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="refunds", to="marketplace.purchase"),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="case",
            index=models.Index(fields=["purchase", "-id"], name="case_of_purchase"),
        ),
        migrations.AddIndex(
            model_name="case",
            index=models.Index(condition=models.Q(("status", "RESOLVED"), _negated=True), fields=["due_at"], name="case_due"),
        ),
        migrations.AddConstraint(
            model_name="case",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "RESOLVED"), _negated=True), fields=("purchase", "kind"), name="case_one_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="case",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["REFUND", "FLASH_FAILURE", "OTHER"])), name="case_kind_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="case",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["OPEN", "WAITING_RIDER", "WAITING_TUNER", "WAITING_STAFF", "RESOLVED"])),
                name="case_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="case",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("due_at__isnull", True),
                        ("resolution__in", ["FULL_REFUND", "PARTIAL_REFUND", "NO_REFUND", "SOLVED", "WITHDRAWN"]),
                        ("resolved_at__isnull", False),
                        ("status", "RESOLVED"),
                    ),
                    models.Q(
                        models.Q(("status", "RESOLVED"), _negated=True),
                        ("due_at__isnull", False),
                        ("resolution", ""),
                        ("resolved_at__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="case_resolved_iff_decided",
            ),
        ),
        migrations.AddIndex(
            model_name="casemessage",
            index=models.Index(fields=["case", "created_at", "id"], name="casemessage_of_case"),
        ),
        migrations.AddConstraint(
            model_name="casemessage",
            constraint=models.CheckConstraint(
                condition=models.Q(("author__in", ["RIDER", "TUNER", "STAFF", "SYSTEM"])), name="casemessage_author_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="casemessage",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("author", "SYSTEM"), ("author_user__isnull", True)),
                    models.Q(models.Q(("author", "SYSTEM"), _negated=True), ("author_user__isnull", False)),
                    _connector="OR",
                ),
                name="casemessage_system_iff_nobody",
            ),
        ),
        migrations.AddConstraint(
            model_name="caseattachment",
            constraint=models.UniqueConstraint(fields=("message", "position"), name="caseattachment_position_once"),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(fields=["purchase", "-id"], name="dispute_of_purchase"),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(condition=models.Q(("ended_at__isnull", True)), fields=["opened_at"], name="dispute_open"),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.UniqueConstraint(fields=("provider_dispute_id",), name="dispute_provider_id_once"),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.UniqueConstraint(
                condition=models.Q(("applied_at__isnull", False), ("ended_at__isnull", True)), fields=("purchase",), name="dispute_one_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["INQUIRY", "NEEDS_RESPONSE", "UNDER_REVIEW", "WON", "LOST", "CLOSED"])),
                name="dispute_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at__isnull", False), ("status__in", ("WON", "LOST", "CLOSED"))),
                    models.Q(models.Q(("status__in", ("WON", "LOST", "CLOSED")), _negated=True), ("ended_at__isnull", True)),
                    _connector="OR",
                ),
                name="dispute_ended_iff_final",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("applied_at__isnull", True), ("status__in", ["INQUIRY", "CLOSED"])),
                    models.Q(("applied_at__isnull", False), ("status__in", ["NEEDS_RESPONSE", "UNDER_REVIEW", "WON", "LOST"])),
                    _connector="OR",
                ),
                name="dispute_applied_iff_money_moved",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("submitted_at__isnull", True), ("submitted_by_id__isnull", True)),
                    models.Q(("submitted_at__isnull", False), ("submitted_by_id__isnull", False)),
                    _connector="OR",
                ),
                name="dispute_submitted_iff_by_somebody",
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(fields=["purchase", "-id"], name="refund_of_purchase"),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(
                condition=models.Q(("reserved_at__isnull", False), ("status", "PENDING")), fields=["created_at"], name="refund_pending"
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(condition=models.Q(("case__isnull", False)), fields=["case"], name="refund_of_case"),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.UniqueConstraint(fields=("provider_refund_id",), name="refund_provider_id_once"),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "PENDING"), models.Q(("cause", "PROVIDER"), _negated=True)),
                fields=("purchase",),
                name="refund_one_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["PENDING", "SUCCEEDED", "FAILED"])), name="refund_status_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(("cause__in", ["REQUEST", "CASE", "PROVIDER"])), name="refund_cause_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(condition=models.Q(("amount_minor__gte", 1)), name="refund_moves_something"),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at__isnull", True), ("status", "PENDING")),
                    models.Q(("ended_at__isnull", False), ("status__in", ["SUCCEEDED", "FAILED"])),
                    _connector="OR",
                ),
                name="refund_ended_iff_not_pending",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("provider_refund_id__isnull", True), models.Q(("status", "SUCCEEDED"), _negated=True)),
                    ("reserved_at__isnull", False),
                    _connector="OR",
                ),
                name="refund_given_back_was_reserved",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(("status", "FAILED"), ("failure_code", ""), _connector="XOR"), name="refund_failed_iff_code"
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(("reserved_at__isnull", False), ("case__isnull", False), _connector="OR"),
                name="refund_undecided_has_case",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("repaid_at__isnull", True), ("repaid_by_id__isnull", True)),
                    models.Q(
                        ("repaid_at__isnull", False), ("repaid_by_id__isnull", False), ("reserved_at__isnull", False), ("status", "FAILED")
                    ),
                    _connector="OR",
                ),
                name="refund_repaid_only_what_failed",
            ),
        ),
        migrations.RunSQL(GUARDS, GUARDS_BACK),
        AddConstraintNotValid(  # validated by a later migration, without a lock that stops anybody
            model_name="purchase",
            constraint=models.CheckConstraint(
                name="purchase_all_refunded_means_status",
                condition=models.Q(captured_minor=0)
                | models.Q(refunded_minor__lt=models.F("captured_minor"))
                | models.Q(status__in=["REFUNDED", "CHARGED_BACK"])
                | models.Q(status="DISPUTED", disputed_from="REFUNDED"),
            ),
        ),
    ]
