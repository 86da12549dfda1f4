"""`docs/privacy.md`, written from the registry of personal data. `make openapi` writes it; a test compares it."""

from collections import defaultdict

from django.apps import apps

from revsync_backend.reference import WRITTEN_BY
from users import privacy
from users.privacy import AtDeletion, Holding

APPS = {"core": "Platform", "users": "Accounts", "tuners": "Tuners", "garage": "Garage", "marketplace": "Marketplace"}
INTRODUCTION = """\
# Personal data: what is held, why, how long, and how it goes

{written_by}

Each app registers what it holds in its `personal_data.py`. These entries are not a description beside the code: the export reads
its rows from them, a deletion deletes and blanks what they say, and `manage.py privacy_verify` looks for what they forbid. A test
fails for a column that could hold something personal and stands neither here nor among the excuses at the end.

**Export.** `POST users/me/exports/` queues a copy; the worker writes a zip with `data.json` (one list for each section below, by its
name) and the files that the person brought. `GET users/me/exports/{{id}}/` shows the progress and then a fresh link of a minute, for
24 hours; then the file is deleted. One at a time, ten a day; blocked accounts too. What a row withholds are hashes, keys of ours and
what is about somebody else. While storage is away the export waits; nothing is lost.

**Deletion.** `DELETE users/me/` (step-up) refuses with `account_deletion_blocked` as long as something must be wound down first:
{blockers}.
Whoever has stock files is answered `stock_files_offered` until the call says `stock_files_saved=true`: a restore is blocked by nothing
but this, so the files and their restore tickets are offered before they go. `GET users/me/deletion/` tells both beforehand. Then, in one
transaction: every session is dead, rows are deleted or blanked as the tables below say, and the answer is the receipt of what goes, what
stays, why and until when. The same receipt is mailed; the address is kept, encrypted, until that mail has left, a week at most. Stored
files go within minutes, and once more after half an hour, when no upload link works any more. Requests that are still under way
are refused by triggers.

**Proof.** Of a deleted account remain its opaque id, the receipt, and keyed hashes of its address, its phones' push tokens and its
objects. `manage.py privacy_verify` looks for all of it in every table of this page and in every stored object. A copy of the record lies
in storage: after a database was restored, `manage.py privacy_reapply` deletes again what the backup brought back.

**Elsewhere.** The payment provider keeps what it must by law under its own terms; it knows the purchase's id, not ours of the
person. Logs hold opaque ids and, of a request, its route; the whole test suite's log lines are searched for everything named here.
"""
BLOCKERS = (
    ("purchases_pending", "purchases that wait for payment"),
    ("tunes_published", "tunes on sale"),
    ("versions_in_review", "versions in review"),
    ("sales_open", "sales that wait for payment or are disputed"),
    ("balance_not_settled", "a balance that is not zero"),
    ("payouts_open", "payouts on their way"),
    ("disputes_open", "payments that are disputed at the bank"),
    ("refunds_owed", "refunds that came back and are owed"),
    ("cases_open", "open cases about sales"),
    ("last_active_admin", "being the last active admin"),
)


def privacy_page() -> str:
    """Every holding by app, then the excuses."""
    blockers = ", ".join(f"{words} (`{code}`)" for code, words in BLOCKERS)
    lines = [INTRODUCTION.format(written_by=WRITTEN_BY, blockers=blockers)]
    sections: dict[str, list[Holding]] = defaultdict(list)
    for holding in privacy.holdings():
        sections[holding.table._meta.app_label].append(holding)
    for label, title in APPS.items():
        lines += [
            f"## {title}",
            "",
            "| section | table | why | kept | at deletion | stays, why and until when | not exported |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(_row(holding) for holding in sorted(sections.pop(label), key=lambda holding: holding.section)),
            "",
        ]
    if sections:
        raise ValueError(f"Name these apps in revsync_backend/privacy_page.py: {', '.join(sections)}")
    lines += ["## Not personal", "", "| table | columns | why |", "| --- | --- | --- |"]
    for excuse in sorted(privacy.excuses(), key=lambda excuse: (apps.get_model(excuse.model)._meta.label, excuse.fields)):
        fields = "all" if excuse.fields == "*" else _names(excuse.fields)
        lines.append(f"| `{apps.get_model(excuse.model)._meta.label}` | {fields} | {excuse.reason} |")
    return "\n".join(lines) + "\n"


def _row(holding: Holding) -> str:
    blanked = f": {_names(' '.join(holding.blank))}" if holding.at_deletion == AtDeletion.BLANKED else ""
    stays = ""
    if holding.because:
        end = f"for {round(holding.until.days / 365.25)} years" if holding.until else f"until {holding.ends}"
        stays = f"{_names(holding.stays)}: {holding.because}; {end}"
    return (
        f"| `{holding.section}` | `{holding.table._meta.label}` | {holding.why} | {holding.kept_for} | {holding.at_deletion}{blanked} "
        f"| {stays} | {_names(holding.withheld)} |"
    )


def _names(fields: str) -> str:
    return ", ".join(f"`{name}`" for name in fields.split())
