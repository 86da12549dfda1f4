"""`make run` for the faults: settings with the points, and a supervisor that never loses patience with what dies so often.

`python -m tools.faults.supervised` takes the supervisor's options.
"""

import sys

from core.embedded import supervisor

DEATHS_WINDOW_SECONDS = 2.0


class FaultySystem(supervisor.Supervisor):
    def _payments_command(self) -> list[str]:
        return [part.replace("core.embedded.payments", "tools.faults.payments") for part in super()._payments_command()]

    def _make_environment(self) -> dict[str, str]:
        return super()._make_environment() | {"DJANGO_SETTINGS_MODULE": "tools.faults.settings"}


if __name__ == "__main__":
    supervisor.Supervisor = FaultySystem  # type: ignore[misc]
    supervisor.DEATHS_WINDOW_SECONDS = DEATHS_WINDOW_SECONDS
    sys.exit(supervisor.main(sys.argv[1:]))
