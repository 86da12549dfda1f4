"""The payment server with its points: `python -m tools.faults.payments` takes the server's options."""

import sys
from pathlib import Path

from tools.faults.passing import wrap
from tools.faults.points import POINTS


def main(arguments: list[str]) -> int:
    """Wrap first: the server's tables keep the functions that they find when they are made."""
    orders = Path(arguments[arguments.index("--data") + 1]).parent / "faults"
    for point in POINTS:
        if point.process == "payments":
            wrap(point, orders)
    from core.embedded.payments.__main__ import main as serve

    return serve(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
