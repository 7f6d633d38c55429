"""S3 and compatible stores, configured by the same variables as boto3 and MLflow."""

from __future__ import annotations

import json
import logging
import os
import ssl
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, quote, urlsplit
from xml.sax.saxutils import escape

from obstore.store import S3Store

from headrace.contract.errors import invalid
from headrace.storage import aws
from headrace.storage.base import Part, Presigned, unsupported
from headrace.storage.objects import CLIENT, RETRY, ObjectStore, sign
from headrace.storage.repository import RepositoryStore
from headrace.storage.signing import PART_TTL_S, StoreClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from obstore.store import ClientConfig, S3Config

    from headrace.settings.table import Settings

log = logging.getLogger(__name__)
DEFAULT_REGION: Final = "us-east-1"
# Keys of MLFLOW_S3_UPLOAD_EXTRA_ARGS, and obstore's names for them.
CONFIGURED: Final = {
    "ServerSideEncryption": "server_side_encryption",
    "SSEKMSKeyId": "sse_kms_key_id",
    "BucketKeyEnabled": "sse_bucket_key_enabled",
    "RequestPayer": "request_payer",
}
ATTRIBUTES: Final = {
    "CacheControl": "Cache-Control",
    "ContentDisposition": "Content-Disposition",
    "ContentEncoding": "Content-Encoding",
    "ContentLanguage": "Content-Language",
    "ContentType": "Content-Type",
    "StorageClass": "Storage-Class",
}
# The corresponding headers, which a client must send with a presigned upload.
HEADERS: Final = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "RequestPayer": "x-amz-request-payer",
    "StorageClass": "x-amz-storage-class",
    "Tagging": "x-amz-tagging",
    "CacheControl": "Cache-Control",
    "ContentDisposition": "Content-Disposition",
    "ContentEncoding": "Content-Encoding",
    "ContentLanguage": "Content-Language",
}
KNOWN: Final = {*CONFIGURED, *ATTRIBUTES, "Metadata", "Tagging"}


def open_store(
    uri: str, threads: Executor, settings: Settings, environ: Mapping[str, str] = os.environ
) -> ObjectStore | RepositoryStore:
    """The store of an s3:// URI."""
    parts = urlsplit(uri)
    if not parts.netloc:
        raise invalid(f"Not an S3 URI: {uri}")
    extra = json.loads(settings.s3_upload_extra_args or "{}")
    beyond = sorted(set(extra) - KNOWN)
    if beyond or settings.s3_expected_bucket_owner:
        what = ", ".join(beyond) or "the expected bucket owner"
        log.warning("%s is sent through MLflow's own S3 repository, because of %s", uri, what)
        return RepositoryStore(uri, threads)
    values = aws.profile(environ)
    endpoint = settings.s3_endpoint_url or environ.get("AWS_ENDPOINT_URL_S3")
    endpoint = endpoint or environ.get("AWS_ENDPOINT_URL") or values.get("endpoint_url")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    region = region or values.get("region") or DEFAULT_REGION
    address = Address(parts.netloc, region, endpoint, settings.s3_addressing_style)
    provider = credentials_provider(environ, values)
    bucket = S3Store(
        parts.netloc,
        config=cast("S3Config", {"region": region} | address.config() | _encryption(extra)),
        client_options=CLIENT | _transport(endpoint, settings, environ),
        retry_config=RETRY,
        credential_provider=aws.for_obstore(provider) if provider is not None else None,
    )
    context = _tls_context(settings, environ)
    signer = S3Signer(bucket, address, region, provider, StoreClient(threads, context), extra)
    attributes = {ATTRIBUTES[k]: str(v) for k, v in extra.items() if k in ATTRIBUTES}
    attributes |= extra.get("Metadata", {})
    tags = dict(parse_qsl(extra.get("Tagging", ""))) or None
    return ObjectStore(bucket, parts.path, signer=signer, attributes=attributes, tags=tags)


def _encryption(extra: dict[str, Any]) -> dict[str, Any]:
    return {CONFIGURED[name]: value for name, value in extra.items() if name in CONFIGURED}


def _transport(
    endpoint: str | None, settings: Settings, environ: Mapping[str, str]
) -> ClientConfig:
    options: ClientConfig = {}
    if endpoint and endpoint.startswith("http:"):
        options["allow_http"] = True
    if settings.s3_ignore_tls:
        options["allow_invalid_certificates"] = True
    elif bundle := environ.get("AWS_CA_BUNDLE"):
        options["root_certificate"] = Path(bundle).read_bytes()
    return options


def _tls_context(settings: Settings, environ: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=environ.get("AWS_CA_BUNDLE") or None)
    if settings.s3_ignore_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Address:
    """The address of a bucket. As in boto3, the bucket is in the path for custom endpoints, in the host for AWS."""

    def __init__(self, bucket: str, region: str, endpoint: str | None, style: str) -> None:
        # A certificate for *.s3… does not cover a bucket name with dots.
        self.in_host = style == "virtual" or (
            style == "auto" and not endpoint and "." not in bucket
        )
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        scheme, _, host = (endpoint or f"https://s3.{region}.{domain}").partition("://")
        host = host.rstrip("/")
        self._given = endpoint is not None
        self.url = f"{scheme}://{bucket}.{host}" if self.in_host else f"{scheme}://{host}/{bucket}"
        self._endpoint = self.url if self.in_host else f"{scheme}://{host}"

    def config(self) -> dict[str, Any]:
        """The address as obstore's options."""
        options: dict[str, Any] = {"virtual_hosted_style_request": self.in_host}
        if self._given:
            options["endpoint"] = self._endpoint
        return options

    def of(self, key: str) -> str:
        """The URL of a key."""
        return f"{self.url}/{quote(key, safe='/~')}"


def credentials_provider(
    environ: Mapping[str, str], values: Mapping[str, str]
) -> Callable[[], aws.Credentials | None] | None:
    """The source of the credentials; None leaves them to obstore (web identity, containers, instances)."""
    found = aws.from_environment(environ)
    if found is None and not environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        found = aws.from_profile(values)
    if found is not None:
        return lambda: found
    named = environ.get("AWS_PROFILE") or {"role_arn", "sso_session", "sso_account_id"} & set(
        values
    )
    if (named or "credential_process" in values) and find_spec("botocore") is not None:
        return aws.BotocoreCredentials()
    return None


class S3Signer:
    """Signs with credentials that headrace knows. Without any, only requests that obstore can sign are possible."""

    def __init__(
        self,
        bucket: S3Store,
        address: Address,
        region: str,
        provider: Callable[[], aws.Credentials | None] | None,
        client: StoreClient,
        extra: dict[str, Any],
    ) -> None:
        self._bucket = bucket
        self._address = address
        self._region = region
        if provider is None and find_spec("botocore") is not None:
            provider = aws.BotocoreCredentials()
        self._provider = provider
        self._client = client
        self._extra = extra

    @property
    def uploads_parts(self) -> bool:
        """See Signer."""
        return self._provider is not None

    def _signed(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        expires_s: int,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        found = self._provider() if self._provider is not None else None
        if found is None:
            raise unsupported("Multipart upload")
        return aws.presign(
            method,
            self._address.of(key),
            found,
            self._region,
            query=query,
            headers=headers or {},
            expires_s=expires_s,
        )

    async def sign(self, method: str, key: str, expires_s: int) -> str:
        """See Signer. Browsers save the file under its name instead of showing it."""
        if self._provider is None:
            return await sign(self._bucket, method, key, expires_s)
        name = key.rpartition("/")[2]
        query = {"response-content-disposition": disposition(name)} if method == "GET" else {}
        return self._signed(method, key, query, expires_s)

    async def presign_upload(
        self, key: str, attributes: dict[str, str], expires_s: int
    ) -> Presigned:
        """See Signer. The signature covers the type and the headers of MLFLOW_S3_UPLOAD_EXTRA_ARGS."""
        kind = attributes.get("Content-Type", "application/octet-stream")
        headers = {"Content-Type": str(self._extra.get("ContentType", kind))}
        for name, value in self._extra.items():
            if name in HEADERS:
                headers[HEADERS[name]] = str(value)
        if self._provider is None:
            return Presigned(await sign(self._bucket, "PUT", key, expires_s), headers)
        return Presigned(self._signed("PUT", key, {}, expires_s, headers), headers)

    async def create_upload(self, key: str, parts: int) -> tuple[str | None, list[str]]:
        """See Signer."""
        answer = await self._client.call("POST", self._signed("POST", key, {"uploads": ""}, 300))
        upload_id = ET.fromstring(answer).findtext("{*}UploadId") or ""
        return upload_id, [
            self._signed("PUT", key, {"partNumber": str(n), "uploadId": upload_id}, PART_TTL_S)
            for n in range(1, parts + 1)
        ]

    async def complete_upload(self, key: str, upload_id: str, parts: list[Part]) -> None:
        """See Signer."""
        listed = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag></Part>"
            for part in parts
        )
        body = (
            '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"{listed}</CompleteMultipartUpload>"
        )
        url = self._signed("POST", key, {"uploadId": upload_id}, 300)
        answer = await self._client.call("POST", url, body.encode(), XML)
        # S3 may begin to answer 200 before it has finished, and report a failure in the body.
        if b"<Error>" in answer:
            raise invalid(f"The artifact store rejected the parts: {answer[:500].decode()}")

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """See Signer."""
        url = self._signed("DELETE", key, {"uploadId": upload_id}, 300)
        await self._client.call("DELETE", url)


XML: Final = {"Content-Type": "application/xml"}


def disposition(name: str) -> str:
    """A content-disposition that saves a file under `name`."""
    if not name.isascii() or not name.isprintable():
        return f"attachment; filename*=UTF-8''{quote(name)}"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'attachment; filename="{escaped}"'
