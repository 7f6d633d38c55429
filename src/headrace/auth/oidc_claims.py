"""The name and the groups of a user, from the claims of a token. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_NAME: Final = 255  # characters
MAX_GROUPS: Final = 1000  # of one token; further ones are ignored


class Identity(NamedTuple):
    """A user as the provider knows it. `groups` is None if the token says nothing about them."""

    name: str
    groups: frozenset[str] | None


def identity(
    claims: Mapping[str, Any], name_claims: Sequence[str], groups_claim: str
) -> Identity | None:
    """The user of a token: the first of these claims that can be a name. None without any.

    An e-mail address that the provider has not verified is no name, because anyone may enter it.
    """
    for claim in name_claims:
        value = claims.get(claim)
        if claim == "email" and claims.get("email_verified", True) not in (True, "true"):
            continue
        if isinstance(value, str) and is_name(value):
            return Identity(value, groups(claims, groups_claim))
    return None


def is_name(value: str) -> bool:
    """Whether a text can be the name of a user."""
    return 0 < len(value) <= MAX_NAME and value.isprintable() and value == value.strip()


def groups(claims: Mapping[str, Any], claim: str) -> frozenset[str] | None:
    """The groups in a claim, a list or one text. A dotted name is a path (`realm_access.roles`).

    None without such a claim, or if no claim has groups (`claim` is empty).
    """
    if not claim:
        return None
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, str):
        return frozenset([found])
    if not isinstance(found, list):
        return None
    return frozenset(group for group in found[:MAX_GROUPS] if isinstance(group, str))
