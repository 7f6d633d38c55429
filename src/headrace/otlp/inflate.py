"""Decompresses request bodies up to a limit, without creating more than the limit."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES: Final = 1 << 20  # of the result, about 3 ms
# Members of a gzip body. Exporters send one; each costs 10 µs, even an empty one of 20 bytes.
MAX_MEMBERS: Final = 1000
# Bytes that are given to zlib at once. At the end of a member it copies those that it did not use.
_INPUT_BYTES: Final = 64 << 10
_GZIP: Final = 16 + zlib.MAX_WBITS


class Broken(Exception):
    """The body is not of the named encoding."""


class TooLarge(Exception):
    """The body has more bytes than the limit."""


def inflated(body: bytes, encoding: str, limit_bytes: int) -> Iterator[bytes]:
    """The pieces of a body that was compressed with gzip or deflate (with or without zlib's header).

    A gzip body may have several members, after each of which comes an empty piece. Raises Broken,
    TooLarge.
    """
    if encoding == "deflate":
        header = (
            len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and not (body[0] << 8 | body[1]) % 31
        )
        bits = zlib.MAX_WBITS if header else -zlib.MAX_WBITS
    else:
        bits = _GZIP
    size = at = members = 0
    try:
        while at < len(body) or not members:
            members += 1
            if members > MAX_MEMBERS:
                raise Broken
            stream = zlib.decompressobj(bits)
            while not stream.eof:
                given = body[at : at + _INPUT_BYTES]
                piece = stream.decompress(given, PIECE_BYTES)
                at += len(given)
                at -= len(stream.unused_data if stream.eof else stream.unconsumed_tail)
                size += len(piece)
                if size > limit_bytes:
                    raise TooLarge
                if piece:
                    yield piece
                elif not given and not stream.eof:
                    raise Broken
            if bits != _GZIP:
                return
            while body[at : at + 1] == b"\x00":  # padding after the last member
                at = len(body) - len(body[at:].lstrip(b"\x00"))
            yield b""
    except zlib.error as error:
        raise Broken from error
