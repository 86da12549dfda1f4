"""Write requirements.txt, requirements-embedded.txt and requirements-dev.txt from the .in files.

The versions are those installed in this environment, of what the .in files name and need.

Run by `make requirements` after the environment was changed by hand; it resolves nothing itself and asks no server.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {"psycopg", "psycopg-binary", "psycopg-c"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(path: Path) -> list[Requirement]:
    return [Requirement(line) for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]


def closure(roots: list[Requirement]) -> dict[str, str]:
    """Name → version of the requirements and of everything they need here."""
    found: dict[str, str] = {}
    todo = [(root, frozenset(root.extras)) for root in roots]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement, extras = todo.pop()
        key = (canonical(requirement.name), extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            sys.exit(f"{requirement.name} is named but not installed here")
        if not requirement.specifier.contains(installed.version, prereleases=True):
            sys.exit(f"{requirement.name} is {installed.version}, which {requirement} refuses")
        found[key[0]] = f"{installed.metadata['Name']}=={installed.version}"
        for text in installed.requires or []:
            child = Requirement(text)
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
                todo.append((child, frozenset(child.extras)))
    return found


def main() -> None:
    done: set[str] = set()
    for group, base in (("", ""), ("-embedded", "requirements.txt"), ("-dev", "requirements-embedded.txt")):
        pins = closure(wanted(ROOT / f"requirements{group}.in"))
        if FORBIDDEN & pins.keys():
            sys.exit(f"psycopg 3 would come in by requirements{group}.in: Django would switch to it silently")
        head = [f"# Pinned by tools/pin_requirements.py from requirements{group}.in."] + ([f"-r {base}"] if base else [])
        own = sorted((pin for name, pin in pins.items() if name not in done), key=str.lower)
        (ROOT / f"requirements{group}.txt").write_text("\n".join(head + own) + "\n")
        done |= pins.keys()


if __name__ == "__main__":
    main()
