"""No vehicle is added by, or handed to, somebody who deleted their account: see the migration of the same name in `users`.

Parts, read-outs and stock images need no trigger: their services lock the vehicle, which the deletion has buried.
"""

from django.db import migrations

TRIGGERS = """
SET LOCAL lock_timeout = '5s';
CREATE TRIGGER vehicle_refuse_deleted BEFORE INSERT OR UPDATE OF owner_id ON garage_vehicle
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('owner_id');
"""


class Migration(migrations.Migration):
    dependencies = [("garage", "0002_vehicle_photo"), ("users", "0003_refuse_deleted")]
    operations = [migrations.RunSQL(TRIGGERS, "DROP TRIGGER vehicle_refuse_deleted ON garage_vehicle")]
