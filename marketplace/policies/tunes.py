"""Who may do what with tunes and versions, and when. Pure: nothing here reads or writes."""

from collections.abc import Iterable
from datetime import timedelta

from core.exceptions import InvalidInput, PermissionRefused
from marketplace.enums import TuneStatus, VersionStatus, VersionTag
from marketplace.exceptions import HashesDiffer, OwnVersion, TuneSuspended, VersionIllegalMove, VersionNotEditable
from marketplace.models import Tune, TuneVersion
from marketplace.money import SMALLEST_PRICE_MINOR, amount_text
from tuners.enums import TunerKind
from tuners.models import TunerProfile
from users.enums import Role
from users.models import User

REVIEW_WITHIN = timedelta(hours=72)
LARGE_CHANGE_BASIS_POINTS = 2_500
MAX_UNPUBLISHED_VERSIONS = 20
PROHIBITED_TAGS = frozenset({VersionTag.CATALYST_DELETE, VersionTag.EGR_DELETE, VersionTag.DPF_DELETE, VersionTag.SCR_DELETE})

EDITABLE = frozenset({VersionStatus.VALIDATED, VersionStatus.CHANGES_REQUESTED})
TESTABLE = frozenset({VersionStatus.VALIDATED, VersionStatus.IN_REVIEW, VersionStatus.CHANGES_REQUESTED})
PUBLIC_STATUSES = (VersionStatus.PUBLISHED, VersionStatus.ON_HOLD, VersionStatus.RECALLED, VersionStatus.WITHDRAWN)

# Every move of a version. INVALID and REJECTED are ends: bytes never change, so what is better is a new version.
TRANSITIONS: dict[str, frozenset[str]] = {
    VersionStatus.VALIDATING: frozenset({VersionStatus.INVALID, VersionStatus.VALIDATED}),
    VersionStatus.INVALID: frozenset(),
    VersionStatus.VALIDATED: frozenset({VersionStatus.IN_REVIEW}),
    VersionStatus.IN_REVIEW: frozenset(
        {VersionStatus.VALIDATED, VersionStatus.PUBLISHED, VersionStatus.CHANGES_REQUESTED, VersionStatus.REJECTED}
    ),
    VersionStatus.CHANGES_REQUESTED: frozenset({VersionStatus.IN_REVIEW}),  # the same bytes with better words
    VersionStatus.REJECTED: frozenset(),
    VersionStatus.PUBLISHED: frozenset({VersionStatus.ON_HOLD, VersionStatus.RECALLED, VersionStatus.WITHDRAWN}),
    VersionStatus.ON_HOLD: frozenset({VersionStatus.PUBLISHED, VersionStatus.RECALLED}),
    VersionStatus.RECALLED: frozenset({VersionStatus.PUBLISHED}),
    VersionStatus.WITHDRAWN: frozenset({VersionStatus.RECALLED}),  # its owners keep it: what is dangerous must stop for them too
}


def ensure_may_move(version: TuneVersion, to: str) -> None:
    """Raises: VersionIllegalMove with the member `state`."""
    if to not in TRANSITIONS[version.status]:
        raise VersionIllegalMove(state=version.status)


def ensure_editable(version: TuneVersion) -> None:
    """Raises: VersionNotEditable with the member `state`."""
    if version.status not in EDITABLE:
        raise VersionNotEditable(state=version.status)


def ensure_testable(version: TuneVersion) -> None:
    """Its bytes were inspected, and nobody has decided on them for good. Raises: VersionIllegalMove with the member `state`."""
    if version.status not in TESTABLE:
        raise VersionIllegalMove(state=version.status)


def ensure_not_suspended(tune: Tune) -> None:
    """Raises: TuneSuspended."""
    if tune.status == TuneStatus.SUSPENDED:
        raise TuneSuspended


def ensure_price_allowed(profile: TunerProfile, price_minor: int, currency: str) -> None:
    """A creator's tunes are free, and a price is one that can be paid. Raises: InvalidInput at /price_minor."""
    if profile.kind == TunerKind.CREATOR and price_minor > 0:
        raise InvalidInput.at("/price_minor", "creator_free_only", "Creators publish free tunes only.")
    smallest = SMALLEST_PRICE_MINOR[currency]
    if 0 < price_minor < smallest:
        raise InvalidInput.at("/price_minor", "price_too_small", f"A paid tune costs at least {amount_text(smallest, currency)}.")


def ensure_may_review(reviewer: User, tune: Tune) -> None:
    """An admin with a second factor, never the author. `tune.tuner` must be loaded.

    Raises: PermissionRefused, OwnVersion.
    """
    if reviewer.role != Role.ADMIN or not reviewer.is_active:
        raise PermissionRefused
    if tune.tuner.user_id == reviewer.pk:
        raise OwnVersion


def ensure_hashes_approved(approved: Iterable[str], present: Iterable[str]) -> None:
    """A reviewer approves bytes, not a row. Raises: HashesDiffer with the member `sha256`."""
    present = sorted(present)
    if sorted(set(approved)) != present:
        raise HashesDiffer(sha256=present)


def prohibited_tags(tags: Iterable[str]) -> list[str]:
    """Those tags that switch an emission system off."""
    return sorted(set(tags) & PROHIBITED_TAGS)
