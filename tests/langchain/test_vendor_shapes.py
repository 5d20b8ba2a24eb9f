"""Chunks in the shapes that vendors document, streamed by a model or given whole.

Sources: the messages of langchain-mistralai, -google-genai, -anthropic, -aws, -ollama, -perplexity
and -openai, and the API references of their vendors.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from pydantic import BaseModel

from tests.langchain.recording import Recorder
from tests.langchain.scripted import ScriptedModel, SilentModel, calls


def chunk(content: Any = "", **fields: Any) -> AIMessageChunk:
    return AIMessageChunk(content, **fields)


def ends(**metadata: Any) -> AIMessageChunk:
    return AIMessageChunk("", response_metadata=metadata)


async def message_of(script: list[Any], model: type[SilentModel] = ScriptedModel) -> Any:
    recorder = Recorder()
    await model(scripts=[script]).ainvoke("hi", recorder.config)
    return recorder.sink.message()


def spoken(message: Any) -> list[tuple[str, str]]:
    return [
        (part["type"], part["text"])
        for part in message["parts"]
        if part["type"] in ("text", "reasoning")
    ]


both = pytest.mark.parametrize("model", [ScriptedModel, SilentModel], ids=["streamed", "at once"])

MISTRAL = [
    chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "First"}]}]),
    chunk([{"type": "thinking", "thinking": [{"type": "text", "text": ", think."}]}]),
    chunk([{"type": "text", "text": "So"}]),
    chunk("."),
]
GEMINI = [
    chunk(
        [{"type": "thinking", "thinking": "Hm", "index": 0}],
        response_metadata={"model_provider": "google_genai"},
    ),
    chunk(
        [{"type": "text", "text": "Hel", "index": 1}],
        response_metadata={"model_provider": "google_genai"},
    ),
    chunk("lo", response_metadata={"model_provider": "google_genai"}),
    chunk(["!"], response_metadata={"model_provider": "google_genai"}),
]
CONVERSE = [
    chunk(
        [{"type": "reasoning_content", "reasoning_content": {"text": "Hm"}, "index": 0}],
    ),
    chunk([{"type": "text", "text": "Hello", "index": 1}]),
]
OPENAI_REASONING = [
    chunk(
        [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [
                    {"type": "summary_text", "text": "One."},
                    {"type": "summary_text", "text": "Two."},
                ],
                "index": 0,
            }
        ]
    ),
    chunk([{"type": "output_text", "text": "Hello", "index": 1}]),
]


@both
@pytest.mark.parametrize(
    ("script", "parts"),
    [
        (MISTRAL, [("reasoning", "First, think."), ("text", "So.")]),
        (GEMINI, [("reasoning", "Hm"), ("text", "Hello!")]),
        (CONVERSE, [("reasoning", "Hm"), ("text", "Hello")]),
        (OPENAI_REASONING, [("reasoning", "One."), ("reasoning", "Two."), ("text", "Hello")]),
        ([chunk(["Hel", "lo"])], [("text", "Hello")]),
        (
            [chunk(["plain", {"type": "text", "text": " and block"}])],
            [("text", "plain and block")],
        ),
        ([chunk([{"type": "snippet", "text": "new"}])], [("text", "new")]),
        (
            [chunk("a", additional_kwargs={"reasoning": "thought"})],
            [("reasoning", "thought"), ("text", "a")],
        ),
        (
            [chunk("a", additional_kwargs={"reasoning_content": [{"text": "thought"}]})],
            [("reasoning", "thought"), ("text", "a")],
        ),
    ],
    ids=[
        "Mistral",
        "Gemini",
        "Converse",
        "summary",
        "strings",
        "mixed",
        "unknown type",
        "reasoning",
        "reasoning list",
    ],
)
async def test_every_text_is_shown(
    script: list[Any], parts: list[tuple[str, str]], model: type[SilentModel]
) -> None:
    assert spoken(await message_of(script, model)) == parts


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google_genai", "groq", "bedrock"])
@both
async def test_a_translator_that_skips_a_text_loses_none(
    provider: str, model: type[SilentModel]
) -> None:
    metadata = {"model_provider": provider, "stop_reason": "end_turn"}
    content: list[Any] = ["one ", {"type": "text", "text": "two "}, {"type": "fresh", "text": "3"}]

    message = await message_of([chunk(content, response_metadata=metadata)], model)

    assert "".join(text for _, text in spoken(message)) == "one two 3"


@both
async def test_an_unknown_block_stays_in_the_message(
    model: type[SilentModel], caplog: pytest.LogCaptureFixture
) -> None:
    block = {"type": "hologram", "beam": "blue", "index": 0}
    recorder = Recorder()

    await model(scripts=[[chunk([block]), chunk("so")]]).ainvoke("hi", recorder.config)

    [part] = [part for part in recorder.sink.message()["parts"] if part["type"] == "data-unread"]
    assert part["data"]["kind"] == "block hologram"
    assert part["data"]["value"]["beam"] == "blue"
    assert recorder.handler.unread == {"block hologram": 1}
    assert "'block hologram'" in caplog.text
    assert "blue" not in caplog.text


@both
async def test_a_file_that_no_browser_opens_stays_in_the_message(model: type[SilentModel]) -> None:
    message = await message_of([chunk([{"type": "file", "file_id": "file-1"}])], model)

    assert [part["data"]["value"]["file_id"] for part in message["parts"][1:]] == ["file-1"]


def tools(message: Any) -> list[tuple[Any, ...]]:
    return [
        (part["toolName"], part["state"], part.get("input"), part.get("output"))
        for part in message["parts"]
        if part["type"] == "dynamic-tool"
    ]


ANTHROPIC_SEARCH = [
    {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srv_1",
        "content": [{"type": "web_search_result", "url": "https://a"}],
    },
]
X_SEARCH = {"type": "x_search_call", "id": "xs_1", "query": "x", "status": "completed"}
TOOL_SEARCH = [
    {
        "type": "tool_search_call",
        "id": "tsc_1",
        "execution": "server",
        "arguments": {"query": "x"},
        "status": "completed",
    },
    {"type": "tool_search_output", "id": "tso_1", "execution": "server", "tools": [{"name": "t"}]},
]
GEMINI_CODE = [
    {"type": "executable_code", "executable_code": "1+1", "language": "python"},
    {"type": "code_execution_result", "code_execution_result": "2", "outcome": 1},
    {"type": "executable_code", "executable_code": "2+2", "language": "python"},
    {"type": "code_execution_result", "code_execution_result": "4", "outcome": 1},
]


@both
@pytest.mark.parametrize(
    ("content", "provider", "calls"),
    [
        (
            ANTHROPIC_SEARCH,
            None,
            [
                (
                    "web_search",
                    "output-available",
                    {"query": "x"},
                    [{"type": "web_search_result", "url": "https://a"}],
                )
            ],
        ),
        (
            [{"type": "non_standard", "value": block} for block in ANTHROPIC_SEARCH],
            None,
            [
                (
                    "web_search",
                    "output-available",
                    {"query": "x"},
                    [{"type": "web_search_result", "url": "https://a"}],
                )
            ],
        ),
        ([X_SEARCH], "openai", [("x_search", "output-available", {"query": "x"}, None)]),
        (
            TOOL_SEARCH,
            "openai",
            [
                (
                    "tool_search",
                    "output-available",
                    {"query": "x"},
                    {"tools": [{"name": "t"}]},
                )
            ],
        ),
        (
            GEMINI_CODE,
            "google_genai",
            [
                (
                    "code_interpreter",
                    "output-available",
                    {"code": "1+1", "language": "python"},
                    "2",
                ),
                (
                    "code_interpreter",
                    "output-available",
                    {"code": "2+2", "language": "python"},
                    "4",
                ),
            ],
        ),
        (
            [{"type": "server_tool_result", "tool_call_id": "lost", "output": "found"}],
            None,
            [("unknown", "output-available", {}, "found")],
        ),
        (
            [{"type": "server_tool_call", "id": "v1", "name": "search", "args": {}}],
            None,
            [("search", "output-available", {}, None)],
        ),
        (
            [{"type": "server_tool_call_chunk", "id": "v1", "name": "find", "args": '{"q": 1}'}],
            None,
            [("find", "output-available", {"q": 1}, None)],
        ),
        (
            [{"type": "shell_call", "call_id": "sh_1", "action": {"commands": ["ls"]}}],
            "openai",
            [("shell", "input-available", {"action": {"commands": ["ls"]}}, None)],
        ),
    ],
    ids=[
        "server tools",
        "non_standard",
        "unknown call",
        "other id",
        "no ids",
        "result alone",
        "no result",
        "no result, in pieces",
        "run by the program",
    ],
)
async def test_every_call_of_a_provider_is_shown(
    content: list[Any], provider: str | None, calls: list[Any], model: type[SilentModel]
) -> None:
    metadata = {"model_provider": provider, "status": "completed"} if provider else {}
    script = [chunk([block], response_metadata=metadata) for block in content]

    assert tools(await message_of(script, model)) == calls


def piece(**call: Any) -> AIMessageChunk:
    return chunk(tool_call_chunks=[{"index": 0, "id": None, "name": None, "args": None, **call}])


@pytest.mark.parametrize(
    ("script", "calls"),
    [
        (
            [piece(id="c1", name="get_"), piece(name="weather"), piece(args='{"a":1}')],
            [("get_weather", "input-available", {"a": 1}, None)],
        ),
        (
            [piece(name="a", args='{"n":1}'), piece(name="b", args='{"n":2}')],
            [("a", "output-error", '{"n":1}', None), ("b", "output-error", '{"n":2}', None)],
        ),
        (
            [chunk([{"type": "tool_use", "id": "c1", "name": "a", "input": {"n": 1}}])],
            [("a", "input-available", {"n": 1}, None)],
        ),
    ],
    ids=["name in pieces", "index 0 without ids", "in the content only"],
)
async def test_every_call_of_the_model_is_shown(script: list[Any], calls: list[Any]) -> None:
    assert tools(await message_of(script)) == calls


def sources(message: Any) -> list[tuple[Any, ...]]:
    return [
        (part.get("url") or part["sourceId"], part.get("title"))
        for part in message["parts"]
        if part["type"].startswith("source")
    ]


GROUNDING = {
    "grounding_chunks": [{"web": {"uri": "https://g", "title": "G"}}],
    "grounding_supports": [
        {"segment": {"start_index": 0, "end_index": 1, "text": "a"}, "grounding_chunk_indices": [0]}
    ],
}


@both
@pytest.mark.parametrize(
    ("script", "shown"),
    [
        (
            [
                chunk("a", response_metadata={"model_provider": "google_genai"}),
                ends(grounding_metadata=GROUNDING, finish_reason="STOP"),
            ],
            [("https://g", "G")],
        ),
        (
            [
                chunk("a"),
                ends(groundingMetadata={"groundingChunks": [{"web": {"uri": "https://g"}}]}),
            ],
            [("https://g", None)],
        ),
        (
            [
                chunk(
                    "a[1]",
                    additional_kwargs={
                        "citations": ["https://p", "https://q"],
                        "search_results": [{"title": "P", "url": "https://p", "date": None}],
                    },
                )
            ],
            [("https://p", "P"), ("https://q", None)],
        ),
        ([chunk("a"), ends(citations=["https://x"])], [("https://x", None)]),
        (
            [
                chunk(
                    [
                        {
                            "type": "text",
                            "text": "a",
                            "annotations": [
                                {
                                    "type": "container_file_citation",
                                    "container_id": "c",
                                    "file_id": "f",
                                    "filename": "a.csv",
                                }
                            ],
                        }
                    ],
                    response_metadata={"model_provider": "openai", "status": "completed"},
                )
            ],
            [("f", "a.csv")],
        ),
        (
            [
                chunk(
                    [
                        {
                            "type": "text",
                            "text": "a",
                            "citations": [
                                {
                                    "type": "char_location",
                                    "cited_text": "A secret sentence.",
                                    "document_index": 2,
                                    "document_title": None,
                                }
                            ],
                        }
                    ],
                    response_metadata={"model_provider": "anthropic", "stop_reason": "end_turn"},
                )
            ],
            [("document-2", "Source")],
        ),
        (
            [
                chunk(
                    [
                        {
                            "type": "text",
                            "text": "a",
                            "citations": [
                                {
                                    "type": "web_search_result_location",
                                    "cited_text": "b",
                                    "url": "https://w",
                                    "title": "W",
                                }
                            ],
                        }
                    ]
                )
            ],
            [("https://w", "W")],
        ),
    ],
    ids=[
        "grounding of a text",
        "grounding of another package",
        "Perplexity",
        "xAI",
        "container file",
        "document without title",
        "Anthropic without provider",
    ],
)
async def test_every_source_is_shown_once(
    script: list[Any], shown: list[tuple[Any, ...]], model: type[SilentModel]
) -> None:
    assert sources(await message_of(script, model)) == shown


@both
@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"done_reason": "stop"}, "stop"),
        ({"done_reason": "length"}, "length"),
        ({"stopReason": "max_tokens"}, "length"),
        ({"messageStop": {"stopReason": "guardrail_intervened"}}, "content-filter"),
        ({"finish_reason": "stopstop"}, "stop"),
        ({"finish_reason": "RECITATION"}, "content-filter"),
        ({"finish_reason": "PROHIBITED_CONTENT"}, "content-filter"),
        ({"finish_reason": "IMAGE_SAFETY"}, "content-filter"),
        ({"finish_reason": "model_length"}, "length"),
        ({"stop_reason": "model_context_window_exceeded"}, "length"),
        ({"stop_reason": "pause_turn"}, "other"),
        ({"finish_reason": "COMPLETE"}, "stop"),
        ({"finish_reason": "TOOL_CALL"}, "tool-calls"),
        ({"finish_reason": "MALFORMED_FUNCTION_CALL"}, "error"),
        ({"finish_reason": "error"}, "error"),
        ({"status": "failed"}, "error"),
        ({"prompt_feedback": {"block_reason": "SAFETY"}}, "content-filter"),
        ({"model_provider": "openai"}, "other"),
        ({}, "stop"),
    ],
    ids=str,
)
async def test_a_cut_or_refused_answer_never_says_stop(
    metadata: dict[str, Any], reason: str, model: type[SilentModel]
) -> None:
    message = await message_of([chunk("a"), ends(**metadata)], model)

    assert message.get("metadata", {}).get("finishReason", "stop") == reason


@both
@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            [
                chunk(response_metadata={"model_provider": "google_genai"}),
                ends(prompt_feedback={"block_reason": "PROHIBITED_CONTENT"}),
            ],
            "The model refused to answer. (PROHIBITED_CONTENT)",
        ),
        (
            [ends(prompt_feedback={"block_reason": "SAFETY"})],
            "The model refused to answer. (SAFETY)",
        ),
        ([ends(finish_reason="content_filter")], "The model refused to answer."),
        (
            [
                chunk([], response_metadata={"model_provider": "anthropic"}),
                ends(
                    stop_reason="refusal",
                    stop_details={"category": "cyber", "explanation": "Not this."},
                ),
            ],
            "Not this.",
        ),
        (
            [ends(stop_reason="refusal", stop_details={"category": "cyber"})],
            "The model refused to answer. (cyber)",
        ),
    ],
    ids=["Gemini", "no provider", "nothing else", "Anthropic", "only a category"],
)
async def test_a_refusal_in_the_metadata_is_shown(
    script: list[Any], text: str, model: type[SilentModel]
) -> None:
    message = await message_of(script, model)

    assert spoken(message) == [("text", text)]
    assert message["metadata"]["finishReason"] == "content-filter"


@both
@pytest.mark.parametrize("include_raw", [True, False])
async def test_a_structured_answer_waits_for_no_tool(
    include_raw: bool, model: type[SilentModel]
) -> None:
    class Weather(BaseModel):
        """Weather of a city."""

        city: str

    recorder = Recorder()
    structured = model(scripts=[calls(("c1", "Weather", '{"city": "Bern"}'))])

    await structured.with_structured_output(Weather, include_raw=include_raw).ainvoke(
        "hi", recorder.config
    )

    message = recorder.sink.message()
    assert tools(message) == [("Weather", "output-available", {"city": "Bern"}, {"city": "Bern"})]
    assert message.get("metadata", {}).get("finishReason", "stop") == "stop"


async def test_a_continued_turn_adds_up_the_tokens_of_all_its_models() -> None:
    def spent(**usage: int) -> list[Any]:
        total = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, **usage}
        details: Any = {"output_token_details": {"reasoning": 3}} if usage["output_tokens"] else {}
        return [chunk("a", usage_metadata={**total, **details})]

    first = await message_of(spent(input_tokens=10, output_tokens=5, total_tokens=15))
    recorder = Recorder(continued=first)
    await ScriptedModel(scripts=[spent(input_tokens=7, output_tokens=0, total_tokens=7)]).ainvoke(
        "hi", recorder.config
    )

    assert recorder.sink.message(first)["metadata"]["usage"] == {
        "inputTokens": 17,
        "outputTokens": 5,
        "totalTokens": 22,
        "reasoningTokens": 3,
    }


@both
async def test_a_call_of_the_older_kind_is_shown(model: type[SilentModel]) -> None:
    legacy = [
        chunk(additional_kwargs={"function_call": {"name": "weather", "arguments": '{"a"'}}),
        chunk(additional_kwargs={"function_call": {"name": "", "arguments": ":1}"}}),
    ]

    assert tools(await message_of(legacy, model)) == [
        ("weather", "input-available", {"a": 1}, None)
    ]


@both
@pytest.mark.parametrize(
    "block",
    [
        {"type": "mcp_call", "id": "m1", "name": "find", "arguments": '{"q":2}', "error": "down"},
        {"type": "mcp_list_tools", "id": "m1", "server_label": "docs", "tools": []},
        {"type": "tool_search_output", "id": "t1", "execution": "server", "tools": []},
    ],
    ids=lambda block: block["type"],
)
async def test_an_item_that_is_shown_is_not_kept_again(
    block: dict[str, Any], model: type[SilentModel]
) -> None:
    metadata = {"model_provider": "openai", "status": "completed"}

    message = await message_of([chunk([block], response_metadata=metadata)], model)

    assert [part["type"] for part in message["parts"]] == ["step-start", "dynamic-tool"]


@both
async def test_the_sound_of_an_answer_is_a_file_with_its_transcript(
    model: type[SilentModel],
) -> None:
    """Chat completions of OpenAI give it beside the content."""
    audio = {"id": "a", "data": "T2dnUwAA", "transcript": "Hello", "expires_at": 1}
    message = await message_of([chunk("", additional_kwargs={"audio": audio})], model)

    assert spoken(message) == [("text", "Hello")]
    [file] = [part for part in message["parts"] if part["type"] == "file"]
    assert (file["url"], file["mediaType"]) == ("data:audio/ogg;base64,T2dnUwAA", "audio/ogg")


async def test_sound_that_is_no_base64_is_kept() -> None:
    audio = {"data": "no base64", "transcript": "Hello"}
    message = await message_of([chunk("", additional_kwargs={"audio": audio})], SilentModel)

    assert [part["type"] for part in message["parts"][1:]] == ["text", "data-unread"]


async def test_a_field_that_nobody_reads_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    fields = {"executed_tools": [{"output": "found"}], "token_count": 3, "parsed": {"a": 1}}
    with caplog.at_level(logging.WARNING, logger="monostream_ai"):
        message = await message_of([chunk("Hi", additional_kwargs=fields)])

    assert "found" not in json.dumps(message)
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == [
        "field executed_tools"
    ]


@both
async def test_a_tool_of_an_mcp_server_has_its_own_name(model: type[SilentModel]) -> None:
    asked = {"type": "mcp_call", "id": "m1", "name": "find", "arguments": "{}", "output": "it"}
    message = await message_of(
        [chunk([asked], response_metadata={"model_provider": "openai"})], model
    )

    [call] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert (call["toolName"], call["output"]) == ("mcp.find", "it")


async def test_a_call_that_shares_its_index_with_a_text_is_made_once() -> None:
    """LangChain joins the blocks of one index, and their ids."""
    call = {"type": "computer_call", "call_id": "c1", "action": {"type": "click"}, "index": 0}
    seen = {"type": "computer_call_output", "call_id": "c1", "output": {"text": "seen"}, "index": 0}
    said = {"type": "text", "text": "Done", "index": 0}
    message = await message_of([chunk([call]), chunk([seen]), chunk([said])])

    [part] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert (part["toolCallId"], part["output"]) == ("c1", {"text": "seen"})
    assert spoken(message) == [("text", "Done")]


async def test_a_call_of_an_answer_that_was_cut_does_not_say_that_it_is_whole() -> None:
    """LangChain completes its arguments, and openai always gives a reason."""
    begun = {"index": 0, "id": "c1", "name": "f", "args": '{"a":', "type": "tool_call_chunk"}
    metadata = {"model_provider": "openai"}
    message = await message_of([chunk("", tool_call_chunks=[begun], response_metadata=metadata)])

    assert message["metadata"]["finishReason"] == "other"
