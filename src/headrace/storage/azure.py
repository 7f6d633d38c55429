"""Azure Blob Storage and Data Lake: wasbs:// and abfss:// URIs, and the variables that MLflow reads."""

from __future__ import annotations

import base64
import os
import re
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qs, quote, urlsplit

from obstore.store import AzureStore

from headrace.contract.errors import invalid
from headrace.storage.base import Part, Presigned
from headrace.storage.objects import CLIENT, RETRY, ObjectStore, sign
from headrace.storage.signing import PART_TTL_S, StoreClient

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from obstore.store import AzureConfig

NETLOC: Final = re.compile(r"([^@]+)@([^.]+)\.(?:blob|dfs)\.([a-z0-9.\-]+)")
API_VERSION: Final = "2021-12-02"


def open_store(uri: str, threads: Executor, environ: Mapping[str, str] = os.environ) -> ObjectStore:
    """The store of a wasbs:// or abfss:// URI: <container>@<account>.blob.core.windows.net/path."""
    parts = urlsplit(uri)
    match = NETLOC.fullmatch(parts.netloc)
    if match is None:
        raise invalid(
            f"Not an Azure URI: {uri}. It must be of the form "
            "wasbs://<container>@<account>.blob.core.windows.net/<path>"
        )
    container, account, domain = match.groups()
    config: AzureConfig = {"account_name": account}
    if domain != "core.windows.net":  # the national clouds of China and the US government
        config["endpoint"] = f"https://{account}.blob.{domain}"
    if text := environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        config |= cast("AzureConfig", connection(text))
    elif key := environ.get("AZURE_STORAGE_ACCESS_KEY"):
        config["account_key"] = key
    options = CLIENT.copy()
    if str(config.get("endpoint", "")).startswith("http:"):
        options["allow_http"] = True
    bucket = AzureStore(container, config=config, client_options=options, retry_config=RETRY)
    return ObjectStore(bucket, parts.path, signer=AzureSigner(bucket, StoreClient(threads)))


def connection(text: str) -> dict[str, str]:
    """A connection string (`AccountName=…;AccountKey=…`) as obstore's options."""
    fields = dict(item.split("=", 1) for item in text.split(";") if "=" in item)
    names = {
        "AccountName": "account_name",
        "AccountKey": "account_key",
        "SharedAccessSignature": "sas_key",
        "BlobEndpoint": "endpoint",
    }
    return {option: fields[name] for name, option in names.items() if name in fields}


class AzureSigner:
    """Multipart uploads with shared access signatures: one signature covers a blob and all its blocks."""

    uploads_parts = True

    def __init__(self, bucket: AzureStore, client: StoreClient) -> None:
        self._bucket = bucket
        self._client = client

    async def sign(self, method: str, key: str, expires_s: int) -> str:
        """See Signer."""
        return await sign(self._bucket, method, key, expires_s)

    async def presign_upload(
        self, key: str, attributes: dict[str, str], expires_s: int
    ) -> Presigned:
        """See Signer."""
        kind = attributes.get("Content-Type", "application/octet-stream")
        url = await self.sign("PUT", key, expires_s)
        return Presigned(url, {"x-ms-blob-type": "BlockBlob", "Content-Type": kind})

    async def create_upload(self, key: str, parts: int) -> tuple[str | None, list[str]]:
        """See Signer. Azure has no upload id: blocks belong to the blob."""
        url = await self.sign("PUT", key, PART_TTL_S)
        return None, [f"{url}&comp=block&blockid={_block(n)}" for n in range(1, parts + 1)]

    async def complete_upload(self, key: str, upload_id: str, parts: list[Part]) -> None:
        """See Signer."""
        listed = ""
        for part in parts:
            names = parse_qs(urlsplit(part.url).query).get("blockid")
            if not names:
                raise invalid(f"Part {part.number} has no block id in its URL.")
            listed += f"<Latest>{names[0]}</Latest>"
        url = await self.sign("PUT", key, 300)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'
        headers = {"Content-Type": "application/xml", "x-ms-version": API_VERSION}
        await self._client.call("PUT", f"{url}&comp=blocklist", body.encode(), headers)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """See Signer. Azure deletes uncommitted blocks after a week."""


def _block(number: int) -> str:
    # MLflow's name for a block. All names of one blob must have the same length before encoding.
    return quote(base64.b64encode(f"mlflow_block_{number:05d}".encode()).decode(), safe="")
