"""A claim of an idempotency key and a session find nobody either once the account is deleted.

A claim would have stood for a day as a row of somebody who is gone. Sessions are started under the person's lock: here the
database has the last word.
"""

from django.db import migrations

TRIGGERS = """
SET LOCAL lock_timeout = '5s';
CREATE TRIGGER idempotencyrecord_refuse_deleted BEFORE INSERT ON core_idempotencyrecord
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('actor_id');
CREATE TRIGGER userdevice_refuse_deleted BEFORE INSERT ON users_userdevice
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('user_id');
"""
TRIGGERS_BACK = """
DROP TRIGGER idempotencyrecord_refuse_deleted ON core_idempotencyrecord;
DROP TRIGGER userdevice_refuse_deleted ON users_userdevice;
"""


class Migration(migrations.Migration):
    dependencies = [("users", "0003_refuse_deleted"), ("core", "0001_initial")]
    operations = [migrations.RunSQL(TRIGGERS, TRIGGERS_BACK)]
