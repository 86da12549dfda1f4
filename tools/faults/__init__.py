"""The system under faults: `python -m tools.faults`. Clients that journal everything buy without rest while parts of it are killed.

- `scenarios.py`  what is done to the system, one function each
- `stand.py`      the system on ports and data of its own, and the handles to hurt it
- `inside.py`     what runs inside its processes: points at which they die, and a clock that steps
- `clients.py`    riders who buy, pay, download and give back, and their journal
- `judge.py`      journal, database and payment server compared afterwards
- `report.py`     the table in docs/faults.md
"""
