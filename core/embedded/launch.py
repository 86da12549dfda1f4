"""Start a program so that it can neither outlive its parent nor run with more rights than it needs.

Run as `python -I -S core/embedded/launch.py [options] -- program arguments`. The interpreter replaces itself by the program,
so nothing of this file stays in memory. Standard library only, because it runs before anything is installed.

- the program leads its own session: Ctrl-C in the terminal reaches the supervisor alone, which then stops its children in order;
- on Linux the kernel sends it a signal when its parent dies, even by kill -9;
- with `--user` the program runs as that user. PostgreSQL refuses to run as root; `--see-all-paths` keeps the one right that
  lets it pass through directories such as `/root` without changing their mode.
"""

import argparse
import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def become(user: str, *, see_all_paths: bool) -> None:
    """Drop root for `user`, for good; with `see_all_paths` keep the capability to pass through any directory."""
    account = pwd.getpwnam(user)
    libc = ctypes.CDLL(None, use_errno=True)
    if see_all_paths:
        _check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
        # Without this access(2), by which initdb looks at its binaries, ignores the capability of a user who isn't root.
        _check(libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "set the secure bits")
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ.update(HOME="/", USER=user, LOGNAME=user)
    if see_all_paths:
        bit = 1 << CAP_DAC_OVERRIDE
        header = _CapHeader(CAPABILITY_VERSION_3, 0)
        data = (_CapData * 2)(_CapData(bit, bit, bit), _CapData(0, 0, 0))
        _check(libc.capset(ctypes.byref(header), ctypes.byref(data)), "set capabilities")
        _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0), "raise the ambient capability")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--death-signal", type=int, default=15)
    parser.add_argument("--user")
    parser.add_argument("--see-all-paths", action="store_true")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    os.setsid()
    if options.user:
        become(options.user, see_all_paths=options.see_all_paths)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, options.death_signal, 0, 0, 0)
        if os.getppid() != options.parent:
            sys.exit("the parent is gone")
    os.execv(options.command[0], options.command)  # noqa: S606 (this is the point of it)


if __name__ == "__main__":
    main(sys.argv[1:])
