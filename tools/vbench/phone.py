"""What the app keeps on the phone: a journal that outlives the app, and files beside it. Everything is on disk before it counts."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

STATE = "state.json"


class Phone:
    """A directory. `keep` replaces the whole journal at once: killed at any moment, the old or the new one is there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / STATE
        self._state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def __getitem__(self, name: str) -> Any:
        return self._state.get(name)

    def keep(self, **facts: Any) -> None:
        self._state |= facts
        self.keep_file(STATE, json.dumps(self._state).encode())

    def made(self, name: str) -> str:
        """An id that the app makes itself, kept before its first use: the same after a restart."""
        if self[name] is None:
            self.keep(**{name: str(uuid.uuid4())})
        return str(self[name])

    def keep_file(self, name: str, data: bytes) -> None:
        part = self.directory / f"{name}.part"
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.directory / name)
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(directory)  # the new name, too
        finally:
            os.close(directory)

    def file(self, name: str) -> bytes | None:
        path = self.directory / name
        return path.read_bytes() if path.exists() else None
