"""The attributes in which other libraries state what MLflow's attributes state: a table of facts.

Facts from mlflow/tracing/otel/translation (3.17.2); tests compare every row with the installed
package. The first convention that has a value counts, in the order of CONVENTIONS.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# MLflow's attributes.
SPAN_TYPE: Final = "mlflow.spanType"
INPUTS: Final = "mlflow.spanInputs"
OUTPUTS: Final = "mlflow.spanOutputs"
USAGE: Final = "mlflow.chat.tokenUsage"
FORMAT: Final = "mlflow.message.format"
TOOLS: Final = "mlflow.chat.tools"
MODEL: Final = "mlflow.llm.model"
PROVIDER: Final = "mlflow.llm.provider"
COST: Final = "mlflow.llm.cost"
REQUEST_ID: Final = "mlflow.traceRequestId"
TRACE_TAG: Final = "mlflow.traceTag."
UNKNOWN: Final = "UNKNOWN"

Key = str | re.Pattern[str]


class Convention(NamedTuple):
    """The attributes of one convention; `kinds` maps values of the attribute `kind` to span types."""

    name: str
    kind: str = ""
    kinds: dict[str, str] = {}  # noqa: RUF012 never changed
    input_tokens: tuple[str, ...] = ()
    output_tokens: tuple[str, ...] = ()
    total_tokens: tuple[str, ...] = ()
    cache_read: tuple[str, ...] = ()
    cache_write: tuple[str, ...] = ()
    inputs: tuple[Key, ...] = ()
    outputs: tuple[Key, ...] = ()
    models: tuple[str, ...] = ()
    provider: str = ""
    tools: tuple[str, ...] = ()


_SAME: Final = "TOOL CHAIN LLM RETRIEVER EMBEDDING AGENT RERANKER UNKNOWN GUARDRAIL EVALUATOR"
OPENINFERENCE: Final = Convention(
    "openinference",
    kind="openinference.span.kind",
    kinds={name: name for name in _SAME.split()},
    input_tokens=("llm.token_count.prompt",),
    output_tokens=("llm.token_count.completion",),
    total_tokens=("llm.token_count.total",),
    cache_read=("llm.token_count.prompt_details.cache_read",),
    cache_write=("llm.token_count.prompt_details.cache_write",),
    inputs=("input.value",),
    outputs=("output.value",),
    models=(
        "llm.response.model_name",
        "llm.model_name",
        "llm.request.model_name",
        "embedding.model_name",
    ),
    provider="llm.provider",
)
GENAI: Final = Convention(
    "genai",
    kind="gen_ai.operation.name",
    kinds={
        "chat": "CHAT_MODEL",
        "create_agent": "AGENT",
        "embeddings": "EMBEDDING",
        "execute_tool": "TOOL",
        "generate_content": "LLM",
        "invoke_agent": "AGENT",
        "text_completion": "LLM",
        "response": "LLM",
    },
    input_tokens=("gen_ai.usage.input_tokens",),
    output_tokens=("gen_ai.usage.output_tokens",),
    cache_read=("gen_ai.usage.cache_read.input_tokens",),
    cache_write=(
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
    ),
    inputs=("gen_ai.input.messages", "gen_ai.tool.call.arguments"),
    outputs=("gen_ai.output.messages", "gen_ai.tool.call.result"),
    models=("gen_ai.response.model", "gen_ai.request.model"),
    provider="gen_ai.provider.name",
    tools=("gen_ai.tool.definitions",),
)
# Its spans are those with this agent; the other attributes are those of GENAI.
GEMINI_CLI: Final = GENAI._replace(
    name="gemini_cli", kinds={"llm_call": "LLM", "tool_call": "TOOL", "agent_call": "AGENT"}
)
GEMINI_AGENT: Final = ("gen_ai.agent.name", "gemini-cli")
# Its attributes count only in spans of these kinds (translate.py).
CLAUDE_CODE: Final = Convention(
    "claude_code",
    kind="span.type",
    kinds={
        "claude_code.interaction": "AGENT",
        "claude_code.llm_request": "LLM",
        "claude_code.tool": "TOOL",
    },
    input_tokens=("input_tokens",),
    output_tokens=("output_tokens",),
    cache_read=("cache_read_tokens",),
    cache_write=("cache_creation_tokens",),
)
SPRING_AI: Final = Convention(
    "spring_ai",
    kind="gen_ai.operation.name",
    kinds={"chat": "CHAT_MODEL", "embeddings": "EMBEDDING"},
    input_tokens=("gen_ai.usage.input_tokens",),
    output_tokens=("gen_ai.usage.output_tokens",),
)
TRACELOOP: Final = Convention(
    "traceloop",
    kind="traceloop.span.kind",
    kinds={name: name.upper() for name in ["workflow", "task", "agent", "tool", "unknown"]},
    input_tokens=("gen_ai.usage.prompt_tokens",),
    output_tokens=("gen_ai.usage.completion_tokens",),
    total_tokens=("llm.usage.total_tokens",),
    inputs=(
        "traceloop.entity.input",
        re.compile(r"gen_ai\.prompt\.\d+\.content"),
        re.compile(r"gen_ai\.completion\.\d+\.tool_calls\.\d+\.arguments"),
    ),
    outputs=("traceloop.entity.output", re.compile(r"gen_ai\.completion\.\d+\.content")),
    provider="gen_ai.system",
)
GOOGLE_ADK: Final = Convention(
    "google_adk",
    inputs=("gcp.vertex.agent.llm_request", "gcp.vertex.agent.tool_call_args"),
    outputs=("gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_response"),
)
_VERCEL_LLM: Final = (
    "generateText generateText.doGenerate streamText streamText.doStream generateObject"
    " generateObject.doGenerate streamObject streamObject.doStream"
)
_VERCEL_EMBEDDING: Final = "embed embed.doEmbed embedMany"
VERCEL_AI: Final = Convention(
    "vercel_ai",
    kind="ai.operationId",
    kinds={f"ai.{name}": "LLM" for name in _VERCEL_LLM.split()}
    | {f"ai.{name}": "EMBEDDING" for name in _VERCEL_EMBEDDING.split()}
    | {"ai.toolCall": "TOOL"},
    inputs=("ai.prompt", "ai.toolCall.args", "ai.value", "ai.values"),
    outputs=(
        "ai.response.text",
        "ai.toolCall.result",
        "ai.response.object",
        "ai.embedding",
        "ai.embeddings",
    ),
)
# The inputs and outputs of these kinds are all attributes with these prefixes, as one object.
VERCEL_CHAT: Final = ("ai.generateText.doGenerate", "ai.streamText.doStream")
VERCEL_INPUT: Final = "ai.prompt."
VERCEL_OUTPUT: Final = "ai.response."
# The first of these attributes with a known kind counts; usage and detection in translate.py.
VOLTAGENT_KINDS: Final = ("span.type", "entity.type")
VOLTAGENT: Final = Convention(
    "voltagent",
    kind="span.type",
    kinds={name: name.upper() for name in ["agent", "llm", "tool", "memory"]},
    input_tokens=("usage.prompt_tokens", "llm.usage.prompt_tokens"),
    output_tokens=("usage.completion_tokens", "llm.usage.completion_tokens"),
    total_tokens=("usage.total_tokens", "llm.usage.total_tokens"),
    inputs=("agent.messages", "llm.messages", "input"),
    outputs=("output",),
)
LIVEKIT: Final = GENAI._replace(
    name="livekit",
    inputs=("lk.user_input", "lk.user_transcript", "lk.chat_ctx", "lk.input_text"),
    outputs=("lk.response.text", "lk.response.function_calls"),
)
LAMINAR: Final = Convention(
    "laminar",
    kind="lmnr.span.type",
    kinds={
        "LLM": "LLM",
        "TOOL": "TOOL",
        "DEFAULT": "CHAIN",
        "PIPELINE": "CHAIN",
        "EXECUTOR": "AGENT",
        "EVALUATOR": "EVALUATOR",
        "HUMAN_EVALUATOR": "EVALUATOR",
        "EVALUATION": "EVALUATOR",
        "CACHED": "LLM",
    },
    input_tokens=("gen_ai.usage.input_tokens",),
    output_tokens=("gen_ai.usage.output_tokens",),
    inputs=("lmnr.span.input",),
    outputs=("lmnr.span.output",),
    models=("gen_ai.response.model", "gen_ai.request.model"),
    provider="gen_ai.system",
)
LANGFUSE: Final = Convention(
    "langfuse",
    kind="langfuse.observation.type",
    kinds={
        "generation": "LLM",
        **{
            name: name.upper()
            for name in [
                "embedding",
                "tool",
                "retriever",
                "agent",
                "chain",
                "evaluator",
                "guardrail",
            ]
        },
        "span": UNKNOWN,
    },
    inputs=("langfuse.observation.input",),
    outputs=("langfuse.observation.output",),
)
CONVENTIONS: Final = (
    OPENINFERENCE,
    GEMINI_CLI,
    CLAUDE_CODE,
    GENAI,
    SPRING_AI,
    TRACELOOP,
    GOOGLE_ADK,
    VERCEL_AI,
    VOLTAGENT,
    LIVEKIT,
    LAMINAR,
    LANGFUSE,
)

# A span without an attribute that begins with one of these needs no look at the table.
PREFIXES: Final = (
    "openinference.", "llm.", "input", "output", "embedding.", "gen_ai.", "span.type", "traceloop.",
    "gcp.vertex.agent.", "ai.", "entity.type", "usage.", "agent.messages", "voltagent.", "lk.",
    "lmnr.", "langfuse.",
)  # fmt: skip
