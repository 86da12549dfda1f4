"""All that the list of tuners is searched and filtered by, as one column that the row makes itself.

Lexemes are: words of name, makes and their aliases as they are; their ends inside a word of the name behind "~", so that
"shift" finds "quickshift"; and behind a sign that no word begins with what filters ask for: "/" a make, "#" a speciality,
"@" the country, "+" or "-" the badge, "*" the rating in tenths of stars ("*47").

Adding the column writes the table anew under its lock, which took 5 s for a hundred thousand tuners on a busy machine: a
moment for as many as there are. Old code neither reads nor writes the column.
"""

import django.contrib.postgres.search
from django.db import migrations, models

FUNCTION = """
CREATE FUNCTION tuners_document(name text, searched text, makes text[], specialities text[], country text, verified boolean,
                                rating_sum bigint, review_count int)
RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    lexemes text[] := array_remove(string_to_array(searched, ' ') || makes, '') || ('@' || country) || CASE WHEN verified THEN '+' ELSE '-' END;
    one text;
BEGIN
    FOREACH one IN ARRAY string_to_array(name, ' ') LOOP
        FOR start IN 2 .. CASE WHEN length(one) <= 24 THEN length(one) - 2 ELSE 0 END LOOP
            lexemes := lexemes || ('~' || substr(one, start));
        END LOOP;
    END LOOP;
    FOREACH one IN ARRAY makes LOOP
        lexemes := lexemes || ('/' || one);
    END LOOP;
    FOREACH one IN ARRAY specialities LOOP
        lexemes := lexemes || ('#' || one);
    END LOOP;
    IF review_count > 0 THEN
        lexemes := lexemes || ('*' || floor(10 * round(rating_sum::numeric / review_count, 2)));
    END IF;
    RETURN array_to_tsvector(lexemes);
END $$;
REVOKE EXECUTE ON FUNCTION tuners_document(text, text, text[], text[], text, boolean, bigint, int) FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("tuners", "0008_reports_of_changed_reviews")]

    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION tuners_document(text, text, text[], text[], text, boolean, bigint, int)"),
        migrations.AddField(
            "tunerprofile",
            "document",
            models.GeneratedField(
                db_persist=True,
                expression=models.Func(
                    *("name_key", "search_text", "make_keys", "specialities", "country", "verified", "rating_sum", "review_count"),
                    function="tuners_document",
                ),
                output_field=django.contrib.postgres.search.SearchVectorField(),
            ),
        ),
    ]
