"""What Postgres itself keeps true of purchases and books.

A purchase's snapshot never changes and its row is never deleted; `updated_at` of purchases and licenses is the time of
the statement, whoever writes (offline clients ask by it). The ledger is append-only, and at commit every set of entries
and every purchase sums to zero in each currency.
"""

from django.db import migrations

SNAPSHOT = """
CREATE FUNCTION marketplace_guard_purchase() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'purchase_is_never_deleted: the books point to it'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'purchase_is_never_deleted';
    END IF;
    IF (
        NEW.number, NEW.buyer_id, NEW.tune_id, NEW.tune_version_id, NEW.tuner_id, NEW.tune_title, NEW.seller_name, NEW.vehicle_id,
        NEW.amount_minor, NEW.currency, NEW.tax_minor, NEW.tax_rate_basis_points, NEW.tax_country, NEW.fee_basis_points, NEW.fee_minor,
        NEW.fitment_verdict, NEW.acknowledged_reasons, NEW.attestation_text_version, NEW.attestation_sha256, NEW.attested_at, NEW.created_at
    ) IS DISTINCT FROM (
        OLD.number, OLD.buyer_id, OLD.tune_id, OLD.tune_version_id, OLD.tuner_id, OLD.tune_title, OLD.seller_name, OLD.vehicle_id,
        OLD.amount_minor, OLD.currency, OLD.tax_minor, OLD.tax_rate_basis_points, OLD.tax_country, OLD.fee_basis_points, OLD.fee_minor,
        OLD.fitment_verdict, OLD.acknowledged_reasons, OLD.attestation_text_version, OLD.attestation_sha256, OLD.attested_at, OLD.created_at
    ) THEN
        RAISE EXCEPTION 'purchase_snapshot_is_final: what was agreed never changes'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'purchase_snapshot_is_final';
    END IF;
    IF OLD.paid_at IS NOT NULL AND NEW.paid_at IS DISTINCT FROM OLD.paid_at THEN
        RAISE EXCEPTION 'purchase_paid_once: a payment is not taken back by an update'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'purchase_paid_once';
    END IF;
    NEW.updated_at := statement_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER purchase_guard BEFORE UPDATE OR DELETE ON marketplace_purchase
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_purchase();

CREATE FUNCTION marketplace_guard_license() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'license_is_never_deleted: the books point to it'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'license_is_never_deleted';
    END IF;
    IF (NEW.purchase_id, NEW.holder_id, NEW.tune_id) IS DISTINCT FROM (OLD.purchase_id, OLD.holder_id, OLD.tune_id) THEN
        RAISE EXCEPTION 'license_stays_with_its_purchase: it is not handed on'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'license_stays_with_its_purchase';
    END IF;
    NEW.updated_at := statement_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER license_guard BEFORE UPDATE OR DELETE ON marketplace_license
    FOR EACH ROW EXECUTE FUNCTION marketplace_guard_license();
"""

SNAPSHOT_BACK = """
DROP TRIGGER purchase_guard ON marketplace_purchase;
DROP TRIGGER license_guard ON marketplace_license;
DROP FUNCTION marketplace_guard_purchase();
DROP FUNCTION marketplace_guard_license();
"""

BOOKS = """
CREATE TRIGGER ledgerset_append_only BEFORE UPDATE OR DELETE ON marketplace_ledgerset
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER ledgerset_no_truncate BEFORE TRUNCATE ON marketplace_ledgerset
    FOR EACH STATEMENT EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER ledgerentry_append_only BEFORE UPDATE OR DELETE ON marketplace_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION core_refuse_change();
CREATE TRIGGER ledgerentry_no_truncate BEFORE TRUNCATE ON marketplace_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION core_refuse_change();

CREATE FUNCTION marketplace_ledger_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off record;
BEGIN
    SELECT entry.currency, sum(entry.amount_minor) AS total INTO off
      FROM marketplace_ledgerentry entry WHERE entry.set_id = NEW.set_id
     GROUP BY entry.currency HAVING sum(entry.amount_minor) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger_set_sums_to_zero: set % is off by % %', NEW.set_id, off.total, off.currency
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ledger_set_sums_to_zero';
    END IF;
    IF NEW.purchase_id IS NOT NULL THEN
        SELECT entry.currency, sum(entry.amount_minor) AS total INTO off
          FROM marketplace_ledgerentry entry WHERE entry.purchase_id = NEW.purchase_id
         GROUP BY entry.currency HAVING sum(entry.amount_minor) <> 0 LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'ledger_purchase_sums_to_zero: purchase % is off by % %', NEW.purchase_id, off.total, off.currency
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ledger_purchase_sums_to_zero';
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledgerentry_balances AFTER INSERT ON marketplace_ledgerentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION marketplace_ledger_balances();
"""

BOOKS_BACK = """
DROP TRIGGER ledgerentry_balances ON marketplace_ledgerentry;
DROP FUNCTION marketplace_ledger_balances();
DROP TRIGGER ledgerentry_no_truncate ON marketplace_ledgerentry;
DROP TRIGGER ledgerentry_append_only ON marketplace_ledgerentry;
DROP TRIGGER ledgerset_no_truncate ON marketplace_ledgerset;
DROP TRIGGER ledgerset_append_only ON marketplace_ledgerset;
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0004_purchasing"), ("core", "0002_append_only")]

    operations = [migrations.RunSQL(SNAPSHOT, SNAPSHOT_BACK), migrations.RunSQL(BOOKS, BOOKS_BACK)]
