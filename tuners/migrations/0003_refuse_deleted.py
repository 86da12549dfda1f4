"""Nobody's words are written after they deleted their account: see the migration of the same name in `users`."""

from django.db import migrations

TRIGGERS = """
SET LOCAL lock_timeout = '5s';
CREATE TRIGGER tunerprofile_refuse_deleted BEFORE INSERT OR UPDATE OF business_name, website, about, experience ON tuners_tunerprofile
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('user_id');
CREATE TRIGGER tunerapplication_refuse_deleted BEFORE INSERT OR UPDATE ON tuners_tunerapplication
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('applicant_id');
CREATE TRIGGER tunercertification_refuse_deleted BEFORE INSERT ON tuners_tunercertification
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('owner_id');
CREATE TRIGGER tunerreview_refuse_deleted BEFORE INSERT OR UPDATE OF text ON tuners_tunerreview
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('buyer_id');
CREATE TRIGGER reviewreport_refuse_deleted BEFORE INSERT ON tuners_reviewreport
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('reporter_id');
CREATE TRIGGER tunerfollow_refuse_deleted BEFORE INSERT ON tuners_tunerfollow
    FOR EACH ROW EXECUTE FUNCTION users_refuse_deleted('follower_id');
"""
TRIGGERS_BACK = """
DROP TRIGGER tunerprofile_refuse_deleted ON tuners_tunerprofile;
DROP TRIGGER tunerapplication_refuse_deleted ON tuners_tunerapplication;
DROP TRIGGER tunercertification_refuse_deleted ON tuners_tunercertification;
DROP TRIGGER tunerreview_refuse_deleted ON tuners_tunerreview;
DROP TRIGGER reviewreport_refuse_deleted ON tuners_reviewreport;
DROP TRIGGER tunerfollow_refuse_deleted ON tuners_tunerfollow;
"""


class Migration(migrations.Migration):
    dependencies = [("tuners", "0002_account_deletion"), ("users", "0003_refuse_deleted")]
    operations = [migrations.RunSQL(TRIGGERS, TRIGGERS_BACK)]
