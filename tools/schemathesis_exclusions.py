"""Every failure that schemathesis reports and that is none, with its reason: one table, printed at the end of each run.

No check is switched off. What one finds is compared with these rows; a row names the answers that it excuses, so that the same
check still fails for every other answer.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REFUSED = "RejectedPositiveData"  # a request that the schema allows was refused
# Beyond schemathesis's own list: refusals by an object's state, with statuses that say so.
STATE = "409 is not the only status by which a state refuses what has the right form."


@dataclass(frozen=True)
class Exclusion:
    """Failures of these kinds, when an answer's code is among these (one of its `errors`, or of the problem without any)."""

    failures: frozenset[str]
    reason: str
    codes: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()  # parameters, and the last steps of pointers; empty for all
    statuses: frozenset[int] = frozenset()

    def fits(self, failure: str, status: int, code: str, place: str) -> bool:
        """Whether this row excuses such a failure for this one of an answer's codes."""
        return (
            failure in self.failures
            and (not self.statuses or status in self.statuses)
            and (not self.codes or code in self.codes)
            and (not self.places or place.rsplit("/", 1)[-1] in self.places)
        )


def _refused(reason: str, codes: str, places: str = "") -> Exclusion:
    return Exclusion(frozenset({REFUSED}), reason, frozenset(codes.split()), frozenset(places.split()))


EXCLUSIONS = [
    _refused("A cursor is signed and bound to its list, order and filters; a schema can only say that it is text.", "invalid_cursor"),
    _refused(
        "A code, password or signature can have the right form and still be the wrong one.",
        "challenge_code_wrong code_wrong mfa_code_wrong current_password_wrong invalid_signature transfer_code_wrong email_unchanged",
    ),
    _refused(
        "The policy of passwords measures composed characters, and knows a list and the person's own name.",
        "password_too_short password_too_common password_too_personal",
    ),
    _refused("An address in plain ASCII with a name that can be mailed to is less than what `format: email` allows.", "invalid_email"),
    _refused("A web address with a public name is less than what `format: uri` allows.", "invalid https_required", "website"),
    _refused("The body names what exists for this caller only once they have made it.", "upload_not_found unknown_upload unknown_tune"),
    _refused("Which makes and models there are is data: the catalogue tells it.", "unknown_make unknown_model"),
    _refused("Which version of a text is in force is data: meta/ tells it.", "outdated"),
    _refused("Which content type fits depends on the purpose beside it, and on the size.", "unsupported_type too_large"),
    _refused("Text must be visible: Unicode categories can't be named in a portable pattern.", "control_character"),
    _refused("Text is trimmed before it is measured.", "blank min_length"),
    _refused("What creators publish is free; the shape is that of tuners, who may set a price.", "creator_free_only"),
    _refused("Mails about security and safety can't be turned off, others can; both have the same shape.", "not_optional"),
    _refused("A consent is given or not sent: a type of `true` alone is no help to a client.", "must_be_true"),
    _refused("One of two members, not both: a `oneOf` would spoil the type for clients.", "either_or"),
    _refused("A parameter means nothing without another one.", "required", "make model fuel_scale fuel_octane currency verdict vehicle"),
    _refused("A bike is one's own or is named, not both; nothing is near to a bike that was not given.", "invalid", "vehicle same_bike"),
    _refused("A version that says it is certified names its certification; one that is not has none.", "required", "certification_number"),
    _refused("What a payment provider takes at the least depends on the currency beside it.", "price_too_small"),
    _refused("A lowest above a highest, a beginning after an end.", "invalid", "from min_price_minor year_from year_to"),
    _refused("A VIN may be written with spaces and hyphens, and its letters depend on each other.", "vin_length vin_characters"),
    _refused("What has passed already depends on today.", "expired in_future in_the_future"),
    Exclusion(frozenset({REFUSED}), STATE, statuses=frozenset({412, 422, 451})),
    Exclusion(
        frozenset({"UndefinedStatusCode", "UndefinedContentType", "AcceptedNegativeData"}),
        "The web server refuses a request line over 4,094 bytes itself, before the application sees it.",
        statuses=frozenset({414}),
    ),
]
# Operations that can't be answered with success here, each with its reason; all others are, by somebody, in every run.
NEVER = {
    "receive_stripe_event": "It is signed over its very bytes, which are written after the example was given.",
    "get_payout": "A payout adds up with the books or is not committed; the demo data has none, and the recipe's is undone.",
}
used: Counter[int] = Counter()
answers: Counter[str] = Counter()  # "operation status" → how often


def is_excused(failure: Any, response: Any) -> bool:
    """Whether rows excuse this failure: each of the answer's codes has one that does. Counts what each row excused."""
    name, status = type(failure).__name__, response.status_code
    rows = [
        next((index for index, row in enumerate(EXCLUSIONS) if row.fits(name, status, code, place)), None)
        for code, place in _codes(response)
    ]
    if None in rows:
        return False
    used.update(set(rows))
    return True


def _codes(response: Any) -> list[tuple[str, str]]:
    """The codes of an answer with their places; never empty."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return [("", "")]
    errors = [(error["code"], error.get("pointer", error.get("parameter", ""))) for error in body.get("errors", [])]
    return errors or [(body.get("code", ""), "")]


def write(path: Path) -> None:
    """Leave the counts for the run's report."""
    path.write_text(json.dumps({"used": dict(used), "answers": dict(answers)}))
