"""What lists and filters a tune is under, beside its words and in one index with them.

A word that many tunes have and a model or a category that many tunes are of may have no tune in common: only both together tell.

The column has a default and is filled by functions, so old code reads and writes as before. Rows are filled batch by batch,
each in a transaction that holds its tunes; the index is made beside the running system before the one of words alone goes.
"""

from importlib import import_module

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

MARKS = """
CREATE OR REPLACE FUNCTION marketplace_search_marks(tune uuid) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY['kind:' || t.kind, 'category:' || t.category, 'tuner:' || t.tuner_id, 'currency:' || t.currency,
                 'emissions_class:' || t.emissions_class]
           || ARRAY(SELECT 'scope:' || b.scope_id FROM marketplace_browserow b WHERE b.tune_id = t.id ORDER BY b.scope_id)
      FROM marketplace_tune t WHERE t.id = tune
$$;
REVOKE EXECUTE ON FUNCTION marketplace_search_marks(uuid) FROM PUBLIC;
"""

FIGURES_BACK = r"""
CREATE OR REPLACE FUNCTION marketplace_after_tune_figures() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE marketplace_browserow
       SET price_minor = NEW.price_minor, currency = NEW.currency, kind = NEW.kind, rating_milli = NEW.rating_milli,
           rating_score = NEW.rating_score, popularity = NEW.popularity
     WHERE tune_id = NEW.id;
    IF OLD.popularity <> NEW.popularity THEN
        UPDATE marketplace_searchrow SET popularity = NEW.popularity WHERE tune_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;
"""
FIGURES = FIGURES_BACK.replace(
    """    RETURN NULL;
""",
    """    IF (OLD.kind, OLD.currency) <> (NEW.kind, NEW.currency) THEN
        UPDATE marketplace_searchrow SET marks = marketplace_search_marks(NEW.id) WHERE tune_id = NEW.id;
    END IF;
    RETURN NULL;
""",
)

_start = "CREATE OR REPLACE FUNCTION marketplace_refresh_search"
SEARCH_BACK = _start + import_module("marketplace.migrations.0022_search_document").FUNCTIONS.partition(_start)[2]
SEARCH = (
    SEARCH_BACK.replace("(tune_id, document, popularity)\n", "(tune_id, document, popularity, marks)\n")
    .replace("           t.popularity\n", "           t.popularity,\n           marketplace_search_marks(t.id)\n")
    .replace("popularity = excluded.popularity\n", "popularity = excluded.popularity, marks = excluded.marks\n")
    .replace("OR held.popularity <> excluded.popularity;", "OR held.popularity <> excluded.popularity OR held.marks <> excluded.marks;")
)

FILL = """
DO $$
DECLARE
    last uuid := '00000000-0000-0000-0000-000000000000';
    few uuid[];
BEGIN
    LOOP
        few := ARRAY(SELECT id FROM marketplace_tune WHERE id > last AND listed ORDER BY id LIMIT 500 FOR NO KEY UPDATE);
        EXIT WHEN few = '{}';
        UPDATE marketplace_searchrow SET marks = marketplace_search_marks(tune_id) WHERE tune_id = ANY(few) AND marks = '{}';
        last := few[array_upper(few, 1)];
        COMMIT;
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("marketplace", "0036_facts_of_fitments")]

    operations = [
        migrations.AddField(
            "searchrow",
            "marks",
            ArrayField(models.TextField(), db_default=[], help_text="Its lists and its values of filters, each as “name:value”."),
        ),
        migrations.RunSQL(MARKS, "DROP FUNCTION marketplace_search_marks(uuid)"),
        migrations.RunSQL(FIGURES, FIGURES_BACK),
        migrations.RunSQL(SEARCH, SEARCH_BACK),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        AddIndexConcurrently("searchrow", GinIndex(fields=["document", "marks"], name="searchrow_words", fastupdate=False)),
        RemoveIndexConcurrently("searchrow", "searchrow_document"),
    ]
