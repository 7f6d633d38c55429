"""Signed URLs of a store, for clients and for requests of the server itself."""

from __future__ import annotations

import asyncio
import http.client
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from headrace.contract.errors import ApiError, ErrorCode, invalid, unavailable

if TYPE_CHECKING:
    import ssl
    from concurrent.futures import Executor

    from headrace.storage.base import Part, Presigned

TIMEOUT_S: Final = 60.0  # S3 joins the parts of a large file before it answers
PART_TTL_S: Final = 3_600  # lifetime of the URLs for parts, as in stock
MAX_ANSWER_BYTES: Final = 1 << 20


class Signer(Protocol):
    """Operations of a store that obstore does not offer. Keys are full keys of the bucket."""

    @property
    def uploads_parts(self) -> bool:
        """Whether the credentials for multipart uploads are known."""
        ...

    async def sign(self, method: str, key: str, expires_s: int) -> str:
        """A URL for one kind of request."""
        ...

    async def presign_upload(
        self, key: str, attributes: dict[str, str], expires_s: int
    ) -> Presigned:
        """A URL for uploading."""
        ...

    async def create_upload(self, key: str, parts: int) -> tuple[str | None, list[str]]:
        """Begin a multipart upload; returns its id and the URL for each part."""
        ...

    async def complete_upload(self, key: str, upload_id: str, parts: list[Part]) -> None:
        """Join the parts into one file."""
        ...

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Delete the parts."""
        ...


class StoreClient:
    """Sends the few requests to a store that obstore does not offer. Blocking calls run in `threads`."""

    def __init__(self, threads: Executor, context: ssl.SSLContext | None = None) -> None:
        self._threads = threads
        self._context = context

    async def call(
        self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> bytes:
        """The body of a 2xx answer. Raises ApiError for any other answer."""
        loop = asyncio.get_running_loop()
        try:
            status, answer = await loop.run_in_executor(
                self._threads, self._call, method, url, body, headers or {}
            )
        except (OSError, http.client.HTTPException) as error:
            raise unavailable(
                f"The artifact store cannot be reached ({type(error).__name__})."
            ) from error
        if 200 <= status < 300:
            return answer
        text = f"The artifact store answered {status}: {answer[:500].decode(errors='replace')}"
        if status in (401, 403):
            raise ApiError(ErrorCode.PERMISSION_DENIED, text)
        if status == 404:
            raise ApiError(ErrorCode.RESOURCE_DOES_NOT_EXIST, text)
        if status < 500:
            raise invalid(text)
        raise unavailable(text)

    def _call(
        self, method: str, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        parts = urlsplit(url)
        assert parts.hostname, "a signed address has a host"
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=TIMEOUT_S, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, f"{parts.path}?{parts.query}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(MAX_ANSWER_BYTES)
        finally:
            connection.close()
