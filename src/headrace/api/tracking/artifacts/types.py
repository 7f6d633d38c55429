"""Requests and answers of the artifact endpoints."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headrace.contract.scalars import (
    Int64,
    Message,
    OptionalInt64,
    OptionalStr,
    PathOnly,
    RequiredStr,
    UncheckedStr,
)


class FileInfo(Message):
    """A directory entry. `file_size` is in bytes, and absent for directories and empty files."""

    path: str
    is_dir: bool
    file_size: int | None = None


class Files(Message):
    """A listing of the artifact store."""

    files: list[FileInfo] = []


class Artifacts(Message):
    """A listing of the artifacts of a run or a logged model."""

    root_uri: str
    files: list[FileInfo] = []


class ListFiles(Message):
    """GET mlflow-artifacts/artifacts"""

    path: UncheckedStr = None


class ListArtifacts(Message):
    """GET artifacts/list"""

    run_id: RequiredStr
    run_uuid: UncheckedStr = None
    path: OptionalStr = None
    page_token: OptionalStr = None


class ListModelArtifacts(Message):
    """GET logged-models/{model_id}/artifacts/directories"""

    model_id: UncheckedStr = None
    artifact_directory_path: OptionalStr = None
    page_token: UncheckedStr = None


class ObjectPath(PathOnly):
    """DELETE mlflow-artifacts/artifacts/{artifact_path}

    GET mlflow-artifacts/presigned/{artifact_path}
    """

    artifact_path: str


class CreateUpload(Message):
    """POST mlflow-artifacts/mpu/create/{artifact_path}"""

    path: RequiredStr
    num_parts: OptionalInt64 = None
    artifact_path: UncheckedStr = None


class UploadPart(Message):
    """An uploaded part."""

    part_number: Int64 = 0
    etag: UncheckedStr = None
    url: UncheckedStr = None


class CompleteUpload(Message):
    """POST mlflow-artifacts/mpu/complete/{artifact_path}"""

    path: RequiredStr
    parts: Annotated[list[UploadPart], Meta(min_length=1, extra={"checks": ("required",)})]
    upload_id: OptionalStr = None
    artifact_path: UncheckedStr = None


class AbortUpload(Message):
    """POST mlflow-artifacts/mpu/abort/{artifact_path}"""

    path: RequiredStr
    upload_id: OptionalStr = None
    artifact_path: UncheckedStr = None


class UploadCredential(Message):
    """The URL that one part is uploaded to."""

    url: str
    part_number: int


class Upload(Message):
    """A multipart upload in progress."""

    upload_id: str | None = None
    credentials: list[UploadCredential] = []


class PresignUpload(Message):
    """POST artifacts/presigned-upload-url"""

    path: RequiredStr
    run_id: OptionalStr = None
    model_id: OptionalStr = None
    expiration: OptionalInt64 = None


class PresignDownload(Message):
    """POST artifacts/presigned-download-url"""

    run_id: RequiredStr
    path: RequiredStr
    expiration: OptionalInt64 = None


class PresignedObject(Message):
    """A URL of the store and the `headers` that a request to it needs.

    `file_size` is in bytes, and present if the store reports it.
    """

    url: str
    headers: dict[str, str]
    file_size: int | None = None


class PresignedUrl(Message):
    """A URL of the store and the `headers` that a request to it needs."""

    presigned_url: str
    headers: dict[str, str] = {}
    file_size: int | None = None
