"""Free ports: chosen, never fixed, and kept over restarts where they are still free."""

import random
import socket


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True when nobody listens there. Like the servers themselves it may take over a port whose connections linger in TIME_WAIT."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None, host: str = "127.0.0.1") -> int:
    """The preferred port when it is free, else one that is; below the range from which the system itself hands out ports."""
    if preferred and is_free(preferred, host):
        return preferred
    return free_row(1, host=host)


def free_row(count: int, *, preferred: int | None = None, also_offset: int = 0, host: str = "127.0.0.1") -> int:
    """The first of `count` free ports in a row; with `also_offset` the port that far above each must be free as well.

    Rows start at random places, so that copies that start at the same moment seldom meet; the caller tries again when they do.
    """

    def fits(first: int) -> bool:
        row = range(first, first + count)
        return all(is_free(port, host) and (not also_offset or is_free(port + also_offset, host)) for port in row)

    if preferred and fits(preferred):
        return preferred
    for _ in range(200):
        first = random.randrange(10_500, 22_700 - count)  # noqa: S311 (not a secret)
        if fits(first):
            return first
    raise OSError("no free ports between 10500 and 22700")
