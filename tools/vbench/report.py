"""How the runs ended: counted, printed, and written for the documentation."""

from collections import Counter
from dataclasses import dataclass

TUNED, RESTORED, UNTOUCHED = "TUNED", "RESTORED", "UNTOUCHED"
NOTICED, WRONG = "NOTICED", "WRONG"
WAYS = {  # of a matrix run, as column heads
    "carries on": "app carries on",
    "goes back": "rider goes back",
    "another phone": "phone is lost",
    "restore": "while restoring",
    "read": "while reading",
}


@dataclass(frozen=True)
class Run:
    """One vehicle and what happened to it. `wrong` says what was not as it must be."""

    what: str
    way: str  # one of WAYS, or the chapter of a case that stands outside of the matrix
    outcome: str
    block: int | None = None
    wrong: str = ""


class Outcomes:
    """All runs of a bench. `is_quiet`: wrong ones are expected, and not printed."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self.runs: list[Run] = []
        self.is_quiet = is_quiet

    def add(self, run: Run) -> None:
        self.runs.append(run)
        if run.wrong and not self.is_quiet:
            place = "" if run.block is None else f" at block {run.block}"
            print(f"✗ {run.what} ({run.way}){place}: {run.outcome}, but {run.wrong}", flush=True)

    @property
    def wrong(self) -> list[Run]:
        return [run for run in self.runs if run.wrong]

    def matrix(self) -> str:
        """A row for each fault: how the runs of each way ended."""
        rows: dict[str, dict[str, Counter[str]]] = {}
        for run in self.runs:
            if run.way in WAYS:
                rows.setdefault(run.what, {}).setdefault(run.way, Counter())[WRONG if run.wrong else run.outcome] += 1
        lines = [f"| fault | {' | '.join(WAYS.values())} |", f"| --- |{' --- |' * len(WAYS)}"]
        for what, ways in rows.items():
            lines.append(f"| {what} | " + " | ".join(_counted(ways.get(way, Counter())) for way in WAYS) + " |")
        return "\n".join(lines)

    def cases(self) -> str:
        """A row for each case outside of the matrix."""
        rows: dict[tuple[str, str], Counter[str]] = {}
        for run in self.runs:
            if run.way not in WAYS:
                rows.setdefault((run.way, run.what), Counter())[WRONG if run.wrong else run.outcome] += 1
        lines = ["| chapter | case | outcome |", "| --- | --- | --- |"]
        lines += [f"| {chapter} | {what} | {_counted(counts)} |" for (chapter, what), counts in rows.items()]
        return "\n".join(lines)

    def total(self) -> str:
        counts = Counter(WRONG if run.wrong else run.outcome for run in self.runs if run.wrong or run.outcome != NOTICED)
        return f"{counts.total()} runs: " + ", ".join(f"{counts[name]} {name}" for name in (TUNED, RESTORED, UNTOUCHED, WRONG))


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
