"""Pass one port on to a server on loopback: how a phone in the network reaches the S3 server and nothing else of it.

`python -m core.embedded.relay --listen 0.0.0.0:9100 --to 127.0.0.1:15962`. Bytes are passed as they are, so the signature of a
presigned link, which covers the host and port that the phone used, stays valid.
"""

import argparse
import asyncio
import contextlib
import signal
import sys

CHUNK_BYTES = 65_536


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def serve(listen: tuple[str, int], to: tuple[str, int]) -> None:
    """Relay until SIGTERM or SIGINT."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.wait_for(asyncio.open_connection(*to), 5)
        except (OSError, TimeoutError):
            writer.close()
            return
        try:
            await asyncio.gather(_pass_on(reader, upstream_writer), _pass_on(upstream_reader, writer))
        finally:
            for open_writer in (writer, upstream_writer):
                open_writer.close()

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = await asyncio.start_server(handle, *listen)
    print(f"relay: {listen[0]}:{listen[1]} to {to[0]}:{to[1]}", flush=True)
    await stopped.wait()
    server.close()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m core.embedded.relay", description="Pass one TCP port on to another.")
    parser.add_argument("--listen", type=_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--to", type=_address, required=True, metavar="HOST:PORT")
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.listen, options.to))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
