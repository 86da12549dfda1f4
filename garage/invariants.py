"""What `manage.py verify_invariants` proves of the garage: the way back lies in storage, byte for byte."""

from collections.abc import Iterator

from core.invariants import objects, register
from garage.models import StockFile


def _stock_files() -> Iterator[tuple[str, str, str, int]]:
    for stock in StockFile.objects.order_by("pk").iterator(chunk_size=200):
        yield f"stock file {stock.pk}", stock.storage_key, stock.sha256, stock.size_bytes


register("stock files are stored as they were checked", objects(_stock_files), reads_objects=True)
