"""Reads the catalogue of models from the installed mlflow package, whose code it does not run.

A file of MLFLOW_MODEL_CATALOG_URI (file://) comes before the package's file of the same name. Other
URIs, which stock asks for each provider, are ignored. Source: mlflow/utils/providers.py and
mlflow/utils/model_catalog/<provider>.json (3.17.2).
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.api.gateway.catalogue.types import Model
from headrace.otlp.prices import CATALOG, PER

log = logging.getLogger(__name__)
MODES: Final = ("chat", "completion", "embedding", "evaluation", "responses", None)
EXCLUDED: Final = frozenset({"bedrock_converse"})
ALIASES: Final = {"amazon-bedrock": "bedrock", "databricks-model-serving": "databricks"}
# One provider, whose models are in several files.
VERTEX: Final = "vertex_ai"
FINE_TUNED: Final = "ft:"
SOURCE: Final = Path("utils", "providers.py")  # inside the mlflow package
AUTH_MODES: Final = "_PROVIDER_AUTH_MODES"


class Context(msgspec.Struct, gc=False):
    """The numbers of tokens that a model takes and gives."""

    max_input: int | float | None = None  # some files have 131072.0
    max_output: int | float | None = None


class Pricing(msgspec.Struct):
    """US dollars per million tokens; `modality` has those of images, sound and the like."""

    input_per_million_tokens: float | None = None
    output_per_million_tokens: float | None = None
    modality: dict[str, Any] | None = None


class Capabilities(msgspec.Struct, gc=False):
    """The abilities of a model."""

    function_calling: bool = False
    vision: bool = False
    reasoning: bool = False
    prompt_caching: bool = False
    response_schema: bool = False


class Entry(msgspec.Struct):
    """A model in a file."""

    mode: str | None = None
    context_window: Context | None = None
    pricing: Pricing | None = None
    capabilities: Capabilities | None = None
    deprecation_date: str | None = None
    last_updated_at: str | None = None


class File(msgspec.Struct):
    """A file of the catalogue."""

    models: dict[str, Entry] = {}


class StatedField(msgspec.Struct):
    """A setting of a provider, in the package's source."""

    name: str
    description: str = ""
    secret: bool = False
    required: bool = True
    default: str | None = None


class StatedMode(msgspec.Struct):
    """A way to authenticate, in the package's source."""

    display_name: str
    description: str
    fields: list[StatedField]
    default: bool = False


Stated = dict[str, dict[str, StatedMode]]  # by provider and name of the mode
_decode: Final = msgspec.json.Decoder(File).decode
_encode: Final = msgspec.json.Encoder(order="sorted").encode
Stamp = tuple[int, int]  # the time of the last change in nanoseconds, and the size


def normal(name: str) -> str:
    """The name of a provider that may have several."""
    return ALIASES.get(name, name)


def provider_of(file: str) -> str:
    """The provider of the models in a file."""
    return VERTEX if file == VERTEX or file.startswith(f"{VERTEX}-") else file


def allowed(setting: str | None) -> frozenset[str] | None:
    """The providers that the setting allows; None for all."""
    names = (normal(part.strip().lower()) for part in (setting or "").split(",") if part.strip())
    return frozenset(names) or None


class Catalogue:
    """The files of one package. Its methods read files; call them in a thread."""

    def __init__(self, package: Path, own: Path | None, allows: frozenset[str] | None) -> None:
        self._package = package
        self._own = own
        self._allows = allows
        # Per file: the JSON of its models by name, for as long as the file does not change.
        self._known: dict[Path, tuple[Stamp, dict[str, bytes] | None]] = {}
        self._modes: Stated | None = None

    def files(self) -> list[str]:
        """The names of the package's files, without their ending; none if it has no catalogue."""
        return sorted(path.stem for path in (self._package / CATALOG).glob("*.json"))

    def allows(self, provider: str) -> bool:
        """Whether the server allows a provider."""
        return self._allows is None or normal(provider.lower()) in self._allows

    def providers(self) -> list[str]:
        """The providers that have models, in order."""
        found = {provider_of(file) for file in self.files() if file not in EXCLUDED}
        return sorted(filter(self.allows, found))

    def models(self, provider: str | None) -> bytes:
        """The JSON of the list of models, of all providers or of one."""
        found: dict[tuple[str, str], bytes] = {}
        for file in self.files():
            name = provider_of(file)
            if file in EXCLUDED or (provider and name != provider) or not self.allows(name):
                continue
            for model, encoded in self._models_of(file).items():
                found.setdefault((name, model), encoded)  # the first file counts
        return b"[" + b",".join(found.values()) + b"]"

    def _models_of(self, file: str) -> Mapping[str, bytes]:
        own = self._own / f"{file}.json" if self._own is not None else None
        found = self._of(own, file) if own is not None else None
        if found is None:
            found = self._of(self._package / CATALOG / f"{file}.json", file)
        return found or {}

    def _of(self, path: Path, file: str) -> Mapping[str, bytes] | None:
        """The usable models in a file; None if it is none of the catalogue's, or empty."""
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                known = self._known[path] = (stamp, _read(path, provider_of(file)))
        except OSError:
            return None
        return known[1]

    def auth_modes(self, provider: str) -> Mapping[str, StatedMode] | None:
        """The ways to authenticate that the package states for a provider; {} for the usual one.

        None if the package states them in another form than 3.17 and 3.18.
        """
        if self._modes is None:
            self._modes = _stated(self._package / SOURCE)
        return None if self._modes is None else self._modes.get(provider, {})


def _read(path: Path, provider: str) -> dict[str, bytes] | None:
    """The usable models in a file; None if it is none of the catalogue's, or empty."""
    try:
        entries = _decode(path.read_bytes()).models
    except (msgspec.DecodeError, UnicodeError) as error:
        log.warning("%s is no file of MLflow's catalogue of models: %s", path, error)
        return None
    return dict(_encoded(entries, provider)) if entries else None


def _encoded(entries: Mapping[str, Entry], provider: str) -> Iterator[tuple[str, bytes]]:
    """The name and the JSON of each model that the gateway may use."""
    names: set[str] = set()
    for name, entry in entries.items():
        model = name.removeprefix(f"{provider}/")
        if entry.mode in MODES and not model.startswith(FINE_TUNED) and model not in names:
            names.add(model)
            yield model, _encode(_model(model, provider, entry))


def _model(name: str, provider: str, entry: Entry) -> Model:
    window, pricing = entry.context_window or Context(), entry.pricing or Pricing()
    abilities = entry.capabilities or Capabilities()
    return Model(
        model=name,
        provider=provider,
        mode=entry.mode,
        supports_function_calling=abilities.function_calling,
        supports_vision=abilities.vision,
        supports_reasoning=abilities.reasoning,
        supports_prompt_caching=abilities.prompt_caching,
        supports_response_schema=abilities.response_schema,
        max_input_tokens=window.max_input,
        max_output_tokens=window.max_output,
        input_cost_per_token=_per_token(pricing.input_per_million_tokens),
        output_cost_per_token=_per_token(pricing.output_per_million_tokens),
        modality=pricing.modality or None,
        deprecation_date=entry.deprecation_date or None,
        last_updated_at=entry.last_updated_at or None,
    )


def _per_token(per_million: float | None) -> float | None:
    return None if per_million is None else per_million / PER


def _stated(source: Path) -> Stated | None:
    """The statements of a Python file, which is not run, about providers; None in another form."""
    try:
        tree = ast.parse(source.read_bytes())
        for node in tree.body:
            if not isinstance(node, ast.AnnAssign) or node.value is None:
                continue
            if ast.unparse(node.target) == AUTH_MODES:
                return msgspec.convert(ast.literal_eval(node.value), Stated)
    except (OSError, SyntaxError, ValueError):  # msgspec's errors are ValueErrors
        return None
    return None
