"""Prices of models from the files of the installed mlflow package; never from the internet.

MLFLOW_MODEL_CATALOG_URI may name a directory (file://) whose files come before those of the package.
Other URIs, which stock asks while it stores spans, are ignored. Source:
mlflow/utils/model_catalog/<provider>.json, prices per million tokens.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "MLFLOW_MODEL_CATALOG_URI"
CATALOG: Final = Path("utils", "model_catalog")  # inside the mlflow package
PER: Final = 1_000_000
# Models that are names of routes, not of models.
ROUTES: Final = ("gateway:/", "endpoints:/")
MAX_KNOWN: Final = 2000  # of looked-up models; clients choose their names


class Pricing(msgspec.Struct):
    """US dollars per million tokens."""

    input_per_million_tokens: float | None = None
    output_per_million_tokens: float | None = None
    cache_read_per_million_tokens: float | None = None
    cache_write_per_million_tokens: float | None = None
    cache_write_1hr_per_million_tokens: float | None = None


class _Model(msgspec.Struct):
    pricing: Pricing | None = None


class _Catalog(msgspec.Struct):
    models: dict[str, _Model] = {}


def mlflow_directory() -> Path | None:
    """The directory of the installed mlflow package, which is not imported."""
    spec = find_spec("mlflow")
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


def own_catalogs() -> Path | None:
    """The directory of MLFLOW_MODEL_CATALOG_URI, if that names one."""
    uri = urlsplit(os.environ.get(VARIABLE, ""))
    return Path(unquote(uri.path)) if uri.scheme == "file" else None


_decode: Final = msgspec.json.Decoder(_Catalog).decode
Catalogs = dict[str, dict[str, Pricing]]  # by provider and model


def _read(directory: Path) -> Catalogs:
    """The catalogs of a directory; files that are not catalogs are left out."""
    found: Catalogs = {}
    for path in sorted(directory.glob("*.json")):
        try:
            models = _decode(path.read_bytes()).models
        except (OSError, msgspec.DecodeError, UnicodeError):
            continue
        found[path.stem] = {name: model.pricing or Pricing() for name, model in models.items()}
    return found


class Prices:
    """The prices of all known models."""

    def __init__(self, bundled: Catalogs, own: Catalogs) -> None:
        self._bundled = bundled
        self._own = own
        self._known: dict[tuple[str, str | None], Pricing | None] = {}

    @classmethod
    def load(cls) -> Prices:
        """Read all files: about 30 ms. The result is empty without them."""
        package, own = mlflow_directory(), own_catalogs()
        bundled = _read(package / CATALOG) if package is not None else {}
        return cls(bundled, {} if own is None else _read(own))

    def cost(self, model: Any, usage: Any, provider: Any) -> dict[str, float] | None:
        """The cost of an answer in US dollars, or None if the price or the usage is unknown."""
        if not isinstance(model, str) or not isinstance(usage, dict) or model.startswith(ROUTES):
            return None
        provider = provider if isinstance(provider, str) and provider else None
        if provider is None and model.startswith(("databricks-", "databricks/")):
            provider = "databricks"
        tokens = _counts(usage)
        if model == "" or tokens is None:
            return None
        found = self._find(model, provider.lower()) if provider else None
        if found is None:
            found = self._find(model, None)
        return None if found is None else _cost(found, *tokens)

    def _find(self, model: str, provider: str | None) -> Pricing | None:
        key = (model, provider)
        if key not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[key] = self._look_up(model.split("/", 1)[-1], provider)
        return self._known[key]

    def _look_up(self, name: str, provider: str | None) -> Pricing | None:
        """The price of a model. Without a provider, the first one with a price for its input."""
        if provider is not None:
            return (self._own.get(provider) or self._bundled.get(provider) or {}).get(name)
        found = [models[name] for models in self._bundled.values() if name in models]
        priced = (one for one in found if one.input_per_million_tokens)
        return next(priced, found[0] if found else None)


def _counts(usage: Mapping[str, Any]) -> tuple[float, float, float, float, float] | None:
    """The tokens: input with cached ones, output, read from and written to the cache, for an hour."""
    names = (
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation_input_tokens_above_1hr",
    )
    counts = [usage.get(name) or 0 for name in names]
    if not all(isinstance(count, int | float) for count in counts) or counts[0] == counts[1] == 0:
        return None
    return counts[0], counts[1], counts[2], counts[3], counts[4]


def _cost(
    price: Pricing, inputs: float, outputs: float, cached: float, created: float, for_hour: float
) -> dict[str, float]:
    per_input = (price.input_per_million_tokens or 0.0) / PER
    per_cached = _or(price.cache_read_per_million_tokens, per_input)
    per_created = _or(price.cache_write_per_million_tokens, per_input)
    per_hour = _or(price.cache_write_1hr_per_million_tokens, per_created)
    for_hour = min(for_hour, created)
    cost = max(inputs - cached - created, 0) * per_input
    if cached > 0:
        cost += cached * per_cached
    if created - for_hour > 0:
        cost += (created - for_hour) * per_created
    if for_hour > 0:
        cost += for_hour * per_hour
    output = outputs * ((price.output_per_million_tokens or 0.0) / PER)
    return {"input_cost": cost, "output_cost": output, "total_cost": cost + output}


def _or(per_million: float | None, other: float) -> float:
    return other if per_million is None else per_million / PER
