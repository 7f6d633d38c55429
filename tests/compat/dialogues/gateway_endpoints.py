"""The AI gateway's endpoints: models, tags, bindings, and what a deletion leaves."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, experiment, get, post

GATEWAY = "/api/3.0/mlflow/gateway"
ENDPOINTS = f"{GATEWAY}/endpoints"
# Stock leaves their order to the database; headrace shows them in the order in which they were attached.
MODELS_OF = ("model_mappings",)


def definitions(prefix: str) -> tuple[Ask, ...]:
    """A secret and two models, kept as `$one` and `$two`; names are unique in a database."""
    made: list[Ask] = [
        post("a secret", f"{GATEWAY}/secrets/create",
             {"secret_name": prefix, "secret_value": {"api_key": "sk-1234567890"}, "provider": "openai"},
             keep={"secret": "secret.secret_id"}),
    ]  # fmt: skip
    for name, provider in (("one", "openai"), ("two", "anthropic")):
        body = {
            "name": f"{prefix}-{name}",
            "secret_id": "$secret",
            "provider": provider,
            "model_name": f"model-{name}",
            "created_by": "ann",
        }
        kept = {name: "model_definition.model_definition_id"}
        made.append(post(f"model {name}", f"{GATEWAY}/model-definitions/create", body, keep=kept))
    return tuple(made)


def model(definition: str = "$one", linkage: Any = "PRIMARY", **fields: Any) -> dict[str, Any]:
    """A model of an endpoint."""
    return {"model_definition_id": definition, "linkage_type": linkage} | fields


def create(label: str, *models: Any, keep: str = "", **fields: Any) -> Ask:
    """Create an endpoint without usage tracking."""
    body = {"name": label.replace(" ", "-"), "model_configs": list(models), "usage_tracking": False}
    kept = {keep: "endpoint.endpoint_id"} if keep else {}
    return post(
        label, f"{ENDPOINTS}/create", body | fields, keep=kept, pause_ms=3, unordered=MODELS_OF
    )


def update(label: str, **fields: Any) -> Ask:
    """Change `$endpoint`."""
    body = {"endpoint_id": "$endpoint"} | fields
    return post(label, f"{ENDPOINTS}/update", body, unordered=MODELS_OF)


def show(label: str, **query: Any) -> Ask:
    """An endpoint as it is now."""
    query = query or {"endpoint_id": "$endpoint"}
    return get(label, f"{ENDPOINTS}/get", query, unordered=MODELS_OF)


def tagged(label: str, **fields: Any) -> Ask:
    """Set a tag of `$endpoint`."""
    return post(label, f"{ENDPOINTS}/set-tag", {"endpoint_id": "$endpoint"} | fields)


CREATION = Dialogue(
    "gateway endpoints: creation",
    (
        *definitions("creation"),
        experiment(),
        create("plain", model()),
        create("all fields", model(weight=0.25), model("$two", "FALLBACK", fallback_order=0, weight=2),
               created_by="bob", routing_strategy="REQUEST_BASED_TRAFFIC_SPLIT", experiment_id="$exp",
               fallback_config={"strategy": "SEQUENTIAL", "max_attempts": 3}, usage_tracking=True),
        create("fallbacks only", model("$two", "FALLBACK")),
        create("an empty fallback", model(), fallback_config={}),
        create("unspecified strategies", model(), routing_strategy="ROUTING_STRATEGY_UNSPECIFIED",
               fallback_config={"strategy": "FALLBACK_STRATEGY_UNSPECIFIED"}),
        create("numbers of enums", model("$one", 2), fallback_config={"strategy": 1}),
        create("a small weight", model(weight=1e-7)),
        create("an odd weight", model(weight=0.1234567891)),
        create("a weight of zero", model(weight=0)),
        create("a negative weight", model(weight=-1.5)),
        create("an empty creator", model(), created_by=""),
        create("both uses", model(), model("$one", "FALLBACK")),
        create("the same use twice", model(), model()),
        create("no models"),
        create("models missing", model(), model_configs=None),
        create("no use", {"model_definition_id": "$one"}),
        create("no use of the second", model(), {"model_definition_id": "$two"}),
        create("the unspecified use", model("$one", "LINKAGE_TYPE_UNSPECIFIED")),
        create("no model", {"linkage_type": "PRIMARY"}),
        create("an unknown model", model("d-nope")),
        create("no name", model(), name=""),
        create("name missing", model(), name=None),
        create("a wrong name", model(), name="a b"),
        create("a slash", model(), name="a/b"),
        create("the same name", model(), name="plain"),
        create("an experiment that is no number", model(), experiment_id="x"),
        create("an unknown experiment", model(), experiment_id="999999"),
        create("an empty experiment", model(), experiment_id=""),
        create("an experiment without tracking", model(), experiment_id="$exp"),
        create("camel case", usageTracking=False, usage_tracking=None, model_configs=None,
               modelConfigs=[{"modelDefinitionId": "$one", "linkageType": "PRIMARY"}]),
        create("a wrong type", model(), name=7),
        create("a strategy by number", model(), routing_strategy=1),
        create("tracked", model(), usage_tracking=None, keep="tracked"),
        get("its experiment", "experiments/get-by-name", {"experiment_name": "gateway/tracked"},
            unordered=("tags",)),
        post("rename it", f"{ENDPOINTS}/update", {"endpoint_id": "$tracked", "name": "renamed"}),
        create("again", model(), name="tracked", usage_tracking=True),
        get("all", f"{ENDPOINTS}/list", unordered=("endpoints", *MODELS_OF)),
        get("of a provider", f"{ENDPOINTS}/list", {"provider": "anthropic"}, unordered=("endpoints", *MODELS_OF)),
        get("of no provider", f"{ENDPOINTS}/list", {"provider": "nobody"}),
        get("of a secret", f"{ENDPOINTS}/list", {"secret_id": "nope"}, unordered=("endpoints", *MODELS_OF)),
    ),
)  # fmt: skip

LIFE = Dialogue(
    "gateway endpoints",
    (
        *definitions("life"),
        experiment(),
        create("alive", model(), created_by="ann", keep="endpoint"),
        create("other", model("$two")),
        show("it"),
        show("by name", name="alive"),
        show("by both", endpoint_id="$endpoint", name="alive"),
        show("by nothing", endpoint_id=""),
        show("an unknown one", endpoint_id="e-nope"),
        show("an unknown name", name="nobody"),
        update("nothing"),
        update("a name", name="alive2", updated_by="bob"),
        update("its own name", name="alive2"),
        update("a taken name", name="other"),
        update("a wrong name", name="a b"),
        update("an empty name", name=""),
        update("a strategy", routing_strategy="REQUEST_BASED_TRAFFIC_SPLIT"),
        update("the unspecified strategy", routing_strategy="ROUTING_STRATEGY_UNSPECIFIED"),
        update("a fallback", fallback_config={"strategy": "SEQUENTIAL", "max_attempts": 2}),
        update("models", model_configs=[model("$two"), model("$one", "FALLBACK", fallback_order=1)]),
        update("a fallback for these models", fallback_config={"max_attempts": 1}),
        update("no models", model_configs=[]),
        update("an unknown model", model_configs=[model("d-nope")]),
        update("a model without use", model_configs=[{"model_definition_id": "$one"}]),
        update("another experiment", experiment_id="$exp"),
        update("an experiment that is no number", experiment_id="x"),
        update("tracking", usage_tracking=True),
        update("no tracking", usage_tracking=False),
        post("an unknown endpoint", f"{ENDPOINTS}/update", {"endpoint_id": "e-nope", "name": "x"}),
        post("no endpoint", f"{ENDPOINTS}/update", {"name": "x"}),
        tagged("a tag", key="k", value="v"),
        tagged("the tag again", key="k", value="w"),
        tagged("a tag without a value", key="l"),
        tagged("no key", value="v"),
        post("a tag of an unknown endpoint", f"{ENDPOINTS}/set-tag", {"endpoint_id": "e-nope", "key": "k"}),
        show("with tags"),
        delete("delete a tag", f"{ENDPOINTS}/delete-tag", {"endpoint_id": "$endpoint", "key": "k"}),
        delete("delete it again", f"{ENDPOINTS}/delete-tag", {"endpoint_id": "$endpoint", "key": "k"}),
        delete("delete one elsewhere", f"{ENDPOINTS}/delete-tag", {"endpoint_id": "e-nope", "key": "k"}),
        delete("delete no tag", f"{ENDPOINTS}/delete-tag", {"endpoint_id": "$endpoint"}),
        show("after the changes"),
        delete("delete the endpoint", f"{ENDPOINTS}/delete", {"endpoint_id": "$endpoint"}),
        delete("delete it twice", f"{ENDPOINTS}/delete", {"endpoint_id": "$endpoint"}),
        delete("delete nothing", f"{ENDPOINTS}/delete", {}),
        show("what is left"),
        delete("its model", f"{GATEWAY}/model-definitions/delete", {"model_definition_id": "$one"}),
    ),
)  # fmt: skip


def attach(label: str, config: Any, endpoint: str = "$endpoint", **fields: Any) -> Ask:
    """Add a model to an endpoint."""
    body = {"endpoint_id": endpoint, "model_config": config} | fields
    return post(label, f"{ENDPOINTS}/models/attach", body)


def detach(label: str, definition: str | None = "$one", endpoint: str | None = "$endpoint") -> Ask:
    """Remove a model from an endpoint."""
    body = {"endpoint_id": endpoint, "model_definition_id": definition}
    return post(label, f"{ENDPOINTS}/models/detach", body)


MODELS = Dialogue(
    "gateway endpoints: models",
    (
        *definitions("models"),
        create("of models", model(), keep="endpoint"),
        attach("another", model("$two", weight=0.5), created_by="bob"),
        attach("the same again", model("$two")),
        attach("for another use", model("$two", "FALLBACK", fallback_order=0)),
        attach("an unknown model", model("d-nope")),
        attach("to an unknown endpoint", model(), "e-nope"),
        attach("no use", {"model_definition_id": "$two"}),
        attach("nothing", None),
        attach("an empty config", {}),
        show("with all"),
        detach("one use of two", "$two"),
        detach("the other use", "$two"),
        detach("none", "$two"),
        detach("one that it has not", "d-nope"),
        detach("from an unknown endpoint", "$one", "e-nope"),
        detach("no model", None),
        detach("no endpoint", "$one", None),
        detach("the last"),
        show("without models"),
    ),
)


def bind(label: str, endpoint: str = "$endpoint", **fields: Any) -> Ask:
    """Bind a scorer to an endpoint."""
    body = {"endpoint_id": endpoint, "resource_type": "scorer", "resource_id": "r1"} | fields
    return post(label, f"{ENDPOINTS}/bindings/create", body)


def bound(label: str, **query: Any) -> Ask:
    """The bindings of `$endpoint`."""
    return get(label, f"{ENDPOINTS}/bindings/list", {"endpoint_id": "$endpoint"} | query)


BINDINGS = Dialogue(
    "gateway endpoints: bindings",
    (
        *definitions("bindings"),
        create("bound", model(), keep="endpoint"),
        bound("none"),
        bind("a scorer"),
        bind("again"),
        bind("another", resource_id="r2", created_by="bob"),
        bind("an unknown type", resource_type="job"),
        bind("no type", resource_type=None),
        bind("no id", resource_id=""),
        bind("to an unknown endpoint", "e-nope"),
        bound("both"),
        bound("by id", resource_id="r2"),
        bound("by type", resource_type="scorer"),
        bound("by another type", resource_type="job"),
        get("by id only", f"{ENDPOINTS}/bindings/list", {"resource_id": "r2"}),
        get("of an unknown endpoint", f"{ENDPOINTS}/bindings/list", {"endpoint_id": "e-nope"}),
        delete("delete one", f"{ENDPOINTS}/bindings/delete",
               {"endpoint_id": "$endpoint", "resource_type": "scorer", "resource_id": "r1"}),
        delete("delete it again", f"{ENDPOINTS}/bindings/delete",
               {"endpoint_id": "$endpoint", "resource_type": "scorer", "resource_id": "r1"}),
        delete("delete without an id", f"{ENDPOINTS}/bindings/delete",
               {"endpoint_id": "$endpoint", "resource_type": "scorer"}),
        delete("delete the endpoint", f"{ENDPOINTS}/delete", {"endpoint_id": "$endpoint"}),
        bound("what is left"),
    ),
)  # fmt: skip

DIALOGUES = (CREATION, LIFE, MODELS, BINDINGS)
