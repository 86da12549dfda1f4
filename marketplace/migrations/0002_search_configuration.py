"""Our own text-search configuration: `unaccent()` is not immutable, a configuration that uses it is."""

from django.db import migrations

FORWARD = """
CREATE TEXT SEARCH CONFIGURATION revsync_search (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION revsync_search
    ALTER MAPPING FOR asciiword, asciihword, hword_asciipart, word, hword, hword_part, numword, numhword, hword_numpart
    WITH unaccent, simple;
-- with the default statistics target a word that no tune has costs half a second at a million tunes
ALTER TABLE marketplace_searchrow ALTER COLUMN document SET STATISTICS 1000;
"""
BACKWARD = """
ALTER TABLE marketplace_searchrow ALTER COLUMN document SET STATISTICS -1;
DROP TEXT SEARCH CONFIGURATION revsync_search;
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0001_tunes")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
