"""What a mistyped word may have been: spellings one slip away, to be looked up by key, whatever the size of the dictionary."""

_LATIN = "abcdefghijklmnopqrstuvwxyz"
_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"

SHORTEST, LONGEST = 3, 24  # of words that have slips: shorter ones are near everything, longer ones are no words


def is_cyrillic(word: str) -> bool:
    """Whether a word has letters of that script."""
    return any("\u0400" <= sign <= "\u04ff" for sign in word)


def slips_of(word: str) -> list[str]:
    """Every spelling one slip away, likeliest first: two letters swapped, one too many, one missing, one wrong.

    Of digits none is added or changed: another number is another motorcycle. Empty for words too short or too long.
    """
    if not SHORTEST <= len(word) <= LONGEST:
        return []
    alphabet = _CYRILLIC if is_cyrillic(word) else _LATIN
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    swapped = [left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1]
    dropped = [left + right[1:] for left, right in cuts if right]
    added = [left + letter + right for left, right in cuts for letter in alphabet]
    changed = [left + letter + right[1:] for left, right in cuts if right and not right[0].isdigit() for letter in alphabet]
    return [spelling for spelling in dict.fromkeys([*swapped, *dropped, *added, *changed]) if spelling != word]


def halves_of(word: str) -> list[tuple[str, str]]:
    """A word as two that were typed without a space, each of three letters or more."""
    if len(word) > 2 * LONGEST:
        return []
    return [(word[:at], word[at:]) for at in range(SHORTEST, len(word) - SHORTEST + 1)]
