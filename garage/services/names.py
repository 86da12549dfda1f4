"""Names of models that riders typed and the catalogue does not have."""

from datetime import datetime

from garage.folding import fold
from garage.models import UnlistedName


def folded_name(make: str, model: str) -> str:
    """One key for all spellings of a make and model. What has no Latin letter stays as it is: it must not vanish."""
    text = f"{make} {model}"
    return (fold(text) or text.casefold())[:150]


def note_unlisted_name(*, kind: str, make: str, model: str, at: datetime) -> UnlistedName:
    """The name as it is kept, made if nobody has typed it before.

    Called within the transaction that gives it to a vehicle. Locks the name until then: staff who merge it meanwhile wait
    and move that vehicle too, or were first, and the vehicle is given what they merged it into.
    """
    while True:
        name, _ = UnlistedName.objects.get_or_create(
            kind=kind, folded=folded_name(make, model), defaults={"make": make, "model": model, "created_at": at}
        )
        # by itself: a row joined to it would be that of before the wait
        held = UnlistedName.objects.select_for_update(no_key=True).filter(pk=name.pk).first()
        if held is not None:  # it is not when it was forgotten at this moment
            return held
