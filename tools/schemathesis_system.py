"""`make run` with limits that a fuzzer does not reach. `python -m tools.schemathesis_system` takes the supervisor's options.

Everything else is as it runs for people: the same web server, worker, database, storage and stand-in for payments.
"""

import sys

from core.embedded import supervisor


class FuzzedSystem(supervisor.Supervisor):
    def _make_environment(self) -> dict[str, str]:
        return super()._make_environment() | {"DJANGO_SETTINGS_MODULE": "tools.schemathesis_settings"}


if __name__ == "__main__":
    supervisor.Supervisor = FuzzedSystem  # type: ignore[misc]
    sys.exit(supervisor.main(sys.argv[1:]))
