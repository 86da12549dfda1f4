"""Apps as they must not be, for the bench's own controls."""

from typing import Any

from verify_download import Verdict

from vbench.flasher import Flasher
from vbench.wire import EcuFacts, EcuLine


class Credulous(Flasher):
    """Checks nothing: whatever is on the phone is written."""

    def judge_flash(self, facts: EcuFacts) -> Verdict:
        documents = {"release": {"calibration_id_after": None}, "ticket": {"ticket_id": None}}
        return Verdict("ok", image=self.phone.file("tune.bin"), **documents)

    def judge_restore(self, facts: EcuFacts) -> Verdict:
        return Verdict("ok", image=self.phone.file("stock.bin"))


class Careless(Flasher):
    """Writes once, without looking whether it worked, and never looks back."""

    def _write_tune(self, write: dict[str, Any]) -> str:
        try:
            super()._write_tune(write)
        except Exception:
            pass
        return "SUCCEEDED"

    def _write(self, ecu: EcuLine, image: bytes, write: dict[str, Any]) -> bool:
        block_bytes = ecu.identify().block_bytes
        ecu.erase(len(image))
        for block in range(len(image) // block_bytes):
            ecu.write(block, image[block * block_bytes : (block + 1) * block_bytes])
        ecu.reset()
        return True
