"""All that the list of tuners is searched and filtered by, as one column that the row makes itself.

Lexemes are: words of name, makes and their aliases as they are; their ends inside a word of the name behind "~", so that
"shift" finds "quickshift"; and behind a sign that no word begins with what filters ask for: "/" a make, "#" a speciality,
"@" the country, "+" or "-" the badge, "*" the rating in tenths of stars ("*47").

Adding the column writes the table anew under its lock: a second for a hundred thousand tuners. Old code neither reads nor
writes it.
"""

import django.contrib.postgres.search
from django.db import migrations, models

FUNCTION = """
CREATE FUNCTION tuners_document(name text, searched text, makes text[], specialities text[], country text, verified boolean,
                                rating_sum bigint, review_count int)
RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_to_tsvector(array_agg(lexeme)) FROM (
        SELECT word FROM unnest(string_to_array(searched, ' ') || makes) AS word WHERE word <> ''
        UNION ALL
        SELECT '~' || substr(word, start) FROM unnest(string_to_array(name, ' ')) AS word, generate_series(2, length(word) - 2) AS start
         WHERE length(word) <= 24
        UNION ALL
        SELECT '/' || make FROM unnest(makes) AS make
        UNION ALL
        SELECT '#' || speciality FROM unnest(specialities) AS speciality
        UNION ALL
        VALUES ('@' || country), (CASE WHEN verified THEN '+' ELSE '-' END)
        UNION ALL
        SELECT '*' || floor(10 * round(rating_sum::numeric / nullif(review_count, 0), 2)) WHERE review_count > 0
    ) AS every (lexeme)
$$;
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
