"""The artifact locations of runs, model versions and logged models."""

from __future__ import annotations

import re
from typing import Final

from headrace.api.context import Context
from headrace.api.tracking.artifacts import sql
from headrace.contract import errors
from headrace.contract.artifact_uri import append_path
from headrace.contract.errors import invalid, not_found
from headrace.contract.scalars import INT32_MAX
from headrace.storage import paths

# A version's source may refer to a run or another version; more references than this are a cycle.
MAX_HOPS: Final = 5
RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
_OF_EXPERIMENT: Final = re.compile(r"/*(?:workspaces/[^/]+/)?\d+")


def is_of_experiment(path: str) -> bool:
    """Whether a safe path is the directory of an experiment, which has one entry per run."""
    return _OF_EXPERIMENT.fullmatch(paths.normal(path)) is not None


async def of_run(run_id: str, ctx: Context) -> str:
    """Return the artifact URI of a run, deleted or not. Raises RESOURCE_DOES_NOT_EXIST."""
    root = await ctx.db.read_point(sql.run_root, run_id)
    if root is None:
        raise errors.run_not_found(run_id)
    return root


async def of_model(model_id: str, ctx: Context) -> str:
    """Return the artifact URI of a logged model. Raises RESOURCE_DOES_NOT_EXIST."""
    root = await ctx.db.read_point(sql.model_root, model_id)
    if root is None:
        raise not_found(f"Logged model with ID '{model_id}' not found.")
    return root


async def of_version(name: str | None, version: str | None, ctx: Context) -> str:
    """Return the location of a model version's files.

    Raises INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST.
    """
    if not name:
        raise invalid("Missing value for required parameter 'name'.")
    if "/" in name or ":" in name:
        raise invalid(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    return await _resolved(await _version_root(name, version, ctx), ctx, MAX_HOPS)


async def _version_root(name: str, version: str | None, ctx: Context) -> str:
    try:
        number = int(version or "")
    except ValueError:
        shown = "" if version is None else version
        raise invalid(f"Parameter 'version' must be an integer, got '{shown}'.") from None
    root = None
    if abs(number) <= INT32_MAX:
        root = await ctx.db.read_point(sql.version_root, name, number)
    if root is None:
        raise not_found(f"Model Version (name={name}, version={version}) not found")
    return root


async def _resolved(root: str, ctx: Context, hops: int) -> str:
    """Return the store URI of a source, also of one like `runs:/R/path` or `models:/m-…`."""
    scheme, _, rest = root.partition(":/")
    if scheme not in ("runs", "models") or root.startswith(f"{scheme}://"):
        return root
    if not hops:
        raise invalid(f"The source of this model version leads in a circle: '{root}'")
    head, _, tail = rest.strip("/").partition("/")
    if scheme == "runs":
        found = await of_run(head, ctx)
        return append_path(found, tail) if tail else found
    if not tail:
        return await of_model(head, ctx)
    return await _resolved(await _version_root(head, tail, ctx), ctx, hops - 1)
