"""Who deleted their account acknowledges nothing any more: such a row would have stayed for good."""

from django.db import migrations

TRIGGERS = """
SET LOCAL lock_timeout = '5s';
CREATE TRIGGER stopacknowledgement_refuse_deleted BEFORE INSERT ON marketplace_stopacknowledgement
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('user_id');
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0015_xrays"), ("users", "0003_refuse_deleted")]
    operations = [
        migrations.RunSQL(TRIGGERS, "DROP TRIGGER stopacknowledgement_refuse_deleted ON marketplace_stopacknowledgement")
    ]
