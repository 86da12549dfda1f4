"""Accounts and payouts that the provider knows are written even when their tuner has deleted the account since.

After a restore the reconciler writes anew what was lost: the money has left, and the books would owe it for ever. What is new
(an account without an id yet, a payout without a transfer) is refused as before. Neither row holds anything that names anybody.
"""

from django.db import migrations

TRIGGERS = """
SET LOCAL lock_timeout = '5s';
DROP TRIGGER payout_refuse_deleted ON marketplace_payout;
CREATE TRIGGER payout_refuse_deleted BEFORE INSERT ON marketplace_payout
    FOR EACH ROW WHEN (NEW.transfer_id IS NULL) EXECUTE FUNCTION marketplace_refuse_deleted_tuner();
DROP TRIGGER payoutaccount_refuse_deleted ON marketplace_payoutaccount;
CREATE TRIGGER payoutaccount_refuse_deleted BEFORE INSERT ON marketplace_payoutaccount
    FOR EACH ROW WHEN (NEW.account_id IS NULL) EXECUTE FUNCTION marketplace_refuse_deleted_tuner();
"""
TRIGGERS_BACK = """
DROP TRIGGER payout_refuse_deleted ON marketplace_payout;
CREATE TRIGGER payout_refuse_deleted BEFORE INSERT ON marketplace_payout
    FOR EACH ROW EXECUTE FUNCTION marketplace_refuse_deleted_tuner();
DROP TRIGGER payoutaccount_refuse_deleted ON marketplace_payoutaccount;
CREATE TRIGGER payoutaccount_refuse_deleted BEFORE INSERT ON marketplace_payoutaccount
    FOR EACH ROW EXECUTE FUNCTION marketplace_refuse_deleted_tuner();
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0022_search_document")]

    operations = [migrations.RunSQL(TRIGGERS, TRIGGERS_BACK)]
