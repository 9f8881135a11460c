"""The child process that runs an answer: it locks itself in, then runs the program. Standard library only.

Run as `python -I -S jail.py FD` with its orders as JSON on standard input; it reports over the pipe FD. First
line: what holds it, as JSON. Second line: the token of its orders, written when the program has come to its end.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

_NEWUSER, _NEWNET, _NEWPID, _NEWIPC = 0x10000000, 0x40000000, 0x20000000, 0x08000000
_PDEATHSIG, _NO_NEW_PRIVS = 1, 38
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # landlock's calls, the same on every architecture
_READ, _WRITE, _READ_DIR, _TRUNCATE = 1 << 2, 1 << 1, 1 << 3, 1 << 14
_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


def _own_network() -> str:
    """Leave the machine's network and processes behind; what was left, for the report."""
    for flags, said in ((_NEWPID | _NEWIPC, "namespace"), (0, "namespace (network only)")):
        if _libc.unshare(_NEWUSER | _NEWNET | flags) == 0:
            if flags:
                _become_first()
            return said
    return "none"


def _become_first() -> None:
    """Go on as the first process of the new namespace: when it ends, so do all its children, however detached."""
    child = os.fork()
    if child == 0:
        _libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        return
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0x7F)


def _only_folder(folder: str, readable: list[str]) -> tuple[str, bool]:
    """Landlock: write in the folder alone, read it and Python's own files, start no program, open no TCP."""
    version = _libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return "none", False
    rights = {1: (1 << 13) - 1, 2: (1 << 14) - 1}.get(version, (1 << 15) - 1)
    rules = _Ruleset(rights | (1 << 15 if version >= 5 else 0), 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _libc.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    everything = rules.fs & ~1  # but not to start programs
    _allow(ruleset, folder, everything)
    for path in readable:
        _allow(ruleset, path, _READ | _READ_DIR if os.path.isdir(path) else _READ)
    _allow(ruleset, "/dev/null", _READ | _WRITE)
    if _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or _libc.syscall(_RESTRICT, ruleset, ctypes.c_uint32(0)):
        return "none", False
    os.close(ruleset)
    return f"landlock {version}", version >= 4


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rule = _Beneath(rights, fd)
    _libc.syscall(_ADD, ruleset, 1, ctypes.byref(rule), ctypes.c_uint32(0))
    os.close(fd)


def _limit(seconds: int, memory: int, file_bytes: int, processes: int) -> None:
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _no_sockets(event: str, _: object) -> None:
    if event.startswith("socket."):
        raise PermissionError("no network here")


def main() -> None:
    """Lock in, report, run."""
    report = int(sys.argv[1])
    orders = json.loads(sys.stdin.read())
    os.chdir(orders["folder"])
    network, files, no_tcp = "none", "none", False
    if sys.platform == "linux":
        _libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        network = _own_network()
        files, no_tcp = _only_folder(orders["folder"], orders["readable"])
    if network == "none":
        sys.addaudithook(_no_sockets)
        network = "landlock (TCP) and a hook on sockets" if no_tcp else "a hook on sockets"
    _limit(orders["seconds"], orders["memory"], orders["file_bytes"], orders["processes"])
    os.write(report, (json.dumps({"network": network, "files": files}) + "\n").encode())
    token, program = orders.pop("token"), orders.pop("program")
    exec(compile(program, "answer.py", "exec"), {"__name__": "__main__"})  # noqa: S102 - what it is for
    os.write(report, token.encode())


if __name__ == "__main__":
    main()
