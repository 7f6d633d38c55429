"""headrace with every change of its SQLite files recorded, in the order of its system calls.

`python recorded.py RECORDING ARGUMENT…` registers a file system (VFS) with SQLite that is the usual one, but for notes
of each write, truncation, sync and deletion, and then runs `headrace ARGUMENT…` in the same process.

A record: operation, kind of the file (d, w for its log, j for a journal), offset and length (8 bytes each), data.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import struct
import sys
from typing import Any

HEAD = struct.Struct("<ccqq")
WRITE, TRUNCATE, SYNC, DELETE = b"W", b"T", b"S", b"D"
KINDS = {"-wal": b"w", "-journal": b"j"}
P, I, L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64  # noqa: E741 a table of types
OK = 0


class Methods(ctypes.Structure):
    """sqlite3_io_methods, of which three are ours; the rest stays as it is."""

    _fields_ = [
        ("version", I),
        *((name, P) for name in ("close", "read", "write", "truncate", "sync")),
        *((f"rest{n}", P) for n in range(13)),
    ]


class File(ctypes.Structure):
    """sqlite3_file: its methods, then what is private."""

    _fields_ = [("methods", ctypes.POINTER(Methods))]


class Vfs(ctypes.Structure):
    """sqlite3_vfs up to the functions that are ours, and the rest."""

    _fields_ = [
        ("version", I),
        ("file_bytes", I),
        ("path_bytes", I),
        ("next", P),
        ("name", ctypes.c_char_p),
        ("data", P),
        ("open", P),
        ("delete", P),
        *((f"rest{n}", P) for n in range(14)),
    ]


OPEN = ctypes.CFUNCTYPE(I, P, P, P, I, P)
REMOVE = ctypes.CFUNCTYPE(I, P, ctypes.c_char_p, I)
PUT = ctypes.CFUNCTYPE(I, P, P, I, L)
CUT = ctypes.CFUNCTYPE(I, P, L)
FLUSH = ctypes.CFUNCTYPE(I, P, I)


class Recorder:
    """Our functions, around the usual ones.

    A change is noted before it is made, since a killed process must not have made one that is not noted; a sync
    is noted afterwards, when it holds.
    """

    def __init__(self, path: str) -> None:
        self._out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._names: dict[int, bytes] = {}  # by the address of sqlite3_file
        self._usual = Methods()
        self._ours: dict[int, Methods] = {}  # by the address of the usual ones
        self._calls: list[Any] = []  # callbacks that SQLite holds
        self._library = ctypes.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = ctypes.POINTER(Vfs)

    def install(self) -> None:
        """Become the file system that every connection uses."""
        usual = self._library.sqlite3_vfs_find(None).contents
        self._vfs = Vfs()
        ctypes.memmove(ctypes.byref(self._vfs), ctypes.byref(usual), ctypes.sizeof(Vfs))
        self._vfs.name = b"recorded"
        self._open, self._delete = OPEN(usual.open), REMOVE(usual.delete)
        self._vfs.open = self._held(OPEN(self.open))
        self._vfs.delete = self._held(REMOVE(self.delete))
        assert self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) == OK

    def _held(self, call: Any) -> int | None:
        self._calls.append(call)
        return ctypes.cast(call, P).value

    def _note(self, what: bytes, kind: bytes, offset: int, length: int, data: bytes = b"") -> None:
        os.write(self._out, HEAD.pack(what, kind, offset, length) + data)

    def open(self, vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        """Open as usual, then put our functions into the file."""
        code: int = self._open(vfs, name, file, flags, out)
        if code == OK and name:
            path = ctypes.string_at(name).decode()
            self._names[file] = next((k for end, k in KINDS.items() if path.endswith(end)), b"d")
            opened = ctypes.cast(file, ctypes.POINTER(File)).contents
            opened.methods = ctypes.pointer(self._replaced(opened.methods))
        return code

    def _replaced(self, methods: Any) -> Methods:
        address = ctypes.addressof(methods.contents)
        if address not in self._ours:
            ours = Methods()
            ctypes.memmove(ctypes.byref(ours), methods, ctypes.sizeof(Methods))
            put, cut, flush = PUT(ours.write), CUT(ours.truncate), FLUSH(ours.sync)

            def write(file: int, data: int, length: int, offset: int) -> int:
                content = ctypes.string_at(data, length)
                self._note(WRITE, self._names[file], offset, length, content)
                return put(file, data, length, offset)  # type: ignore[no-any-return]

            def truncate(file: int, size: int) -> int:
                self._note(TRUNCATE, self._names[file], size, 0)
                return cut(file, size)  # type: ignore[no-any-return]

            def sync(file: int, flags: int) -> int:
                code: int = flush(file, flags)
                if code == OK:
                    self._note(SYNC, self._names[file], 0, 0)
                return code

            ours.write = self._held(PUT(write))
            ours.truncate = self._held(CUT(truncate))
            ours.sync = self._held(FLUSH(sync))
            self._ours[address] = ours
        return self._ours[address]

    def delete(self, vfs: int, name: bytes, sync_directory: int) -> int:
        """Delete as usual; `sync_directory`: durably."""
        kind = next((k for end, k in KINDS.items() if name.endswith(end.encode())), b"d")
        self._note(DELETE, kind, sync_directory, 0)
        return self._delete(vfs, name, sync_directory)  # type: ignore[no-any-return]


if __name__ == "__main__":
    recorder = Recorder(sys.argv[1])  # SQLite calls it until the process ends
    recorder.install()
    from headrace.commands.cli import main

    sys.argv = ["headrace", *sys.argv[2:]]
    main()
