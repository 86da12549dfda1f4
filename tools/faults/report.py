"""The table of a run: printed as it grows, and kept in docs/faults.md by `--write`."""

from dataclasses import dataclass
from pathlib import Path

from tools.faults.judge import Verdict

COLUMNS = ("scenario", "what was done", "requests", "answers", "purchases", "given back", "settled after", "outcome")
HEAD = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}\n"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


@dataclass
class Row:
    """One scenario's line."""

    name: str
    what: str
    verdict: Verdict | None
    settled_seconds: float = 0.0
    note: str = ""

    @property
    def outcome(self) -> str:
        """In a word or two."""
        if self.verdict is None:
            return self.note
        return f"{len(self.verdict.broken)} broken" if self.verdict.broken else "as promised"

    def as_markdown(self) -> str:
        """A row of the table."""
        if self.verdict is None:
            return f"| {self.name} | {self.what} | | | | | | {self.note} |\n"
        answers = ", ".join(f"{status}: {times}" for status, times in sorted(self.verdict.answers.items()))
        purchases = ", ".join(f"{times} {status}" for status, times in sorted(self.verdict.purchases.items()))
        return (
            f"| {self.name} | {self.what} | {self.verdict.requests} | {answers} | {purchases} | {self.verdict.refunds}"
            f" | {self.settled_seconds:.0f} s | {self.outcome} |\n"
        )


def write(path: Path, rows: list[Row], *, headline: str) -> None:
    """Replace what stands between the marks."""
    before, rest = path.read_text().split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}{headline}\n\n{HEAD}{''.join(row.as_markdown() for row in rows)}{END}{after}")
