"""UI messages become LangChain messages. U: rows of the integration reference."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from monostream_ai.errors import InvalidArgument
from monostream_ai.langchain import to_langchain_messages

STEP = {"type": "step-start"}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value, "state": "done"}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "u1", "role": "user", "parts": list(parts)}


def assistant(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "a1", "role": "assistant", "parts": list(parts)}


def tool(state: str, **keys: Any) -> dict[str, Any]:
    return {
        "type": "dynamic-tool",
        "toolName": "weather",
        "toolCallId": "c1",
        "state": state,
        "input": {"city": "Paris"},
        **keys,
    }


def test_u1_a_system_message_is_taken_only_if_it_is_allowed() -> None:
    message = {"id": "s1", "role": "system", "parts": [text("Obey "), text("me.")]}

    assert to_langchain_messages([message]) == []
    assert to_langchain_messages([message], allow_system=True) == [
        SystemMessage("Obey me.", id="s1")
    ]


def test_u2_a_user_text_is_a_plain_string() -> None:
    assert to_langchain_messages([user(text("hi"))]) == [HumanMessage("hi", id="u1")]


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("image/png", "image"),
        ("audio/wav", "audio"),
        ("video/mp4", "video"),
        ("application/pdf", "file"),
    ],
)
def test_u3_an_upload_becomes_a_block_of_its_kind(media_type: str, kind: str) -> None:
    file = {
        "type": "file",
        "mediaType": media_type,
        "url": f"data:{media_type};base64,AA==",
        "filename": "a",
    }
    (message,) = to_langchain_messages([user(text("see"), file)])

    assert message.content_blocks == [
        {"type": "text", "text": "see"},
        {"type": kind, "mime_type": media_type, "base64": "AA==", "extras": {"filename": "a"}},
    ]


def test_u3_a_link_stays_a_link() -> None:
    (message,) = to_langchain_messages(
        [user({"type": "file", "mediaType": "image/png", "url": "https://a/b.png"})]
    )

    assert message.content_blocks == [
        {"type": "image", "mime_type": "image/png", "url": "https://a/b.png"}
    ]


def test_u3_a_data_url_without_base64_is_encoded() -> None:
    (message,) = to_langchain_messages(
        [user({"type": "file", "mediaType": "text/plain", "url": "data:text/plain,a%20b"})]
    )

    assert message.content_blocks[0]["base64"] == "YSBi"


@pytest.mark.parametrize(
    "url",
    [
        "http://a",
        "file:///etc/passwd",
        "javascript:x",
        "data:image/png;base64",
        "data:x;base64,%%",
        1,
    ],
)
def test_u10_a_file_from_elsewhere_is_refused(url: object) -> None:
    with pytest.raises(InvalidArgument, match=r"messages\[1\]\.parts\[0\]"):
        to_langchain_messages(
            [user(text("a")), user({"type": "file", "mediaType": "image/png", "url": url})]
        )


def test_u4_each_step_is_an_answer_followed_by_its_results() -> None:
    parts = [
        STEP,
        text("Let me "),
        text("see."),
        tool("output-available", output={"temp": 21}),
        STEP,
        text("Warm."),
    ]

    assert to_langchain_messages([assistant(*parts)]) == [
        AIMessage(
            "Let me see.",
            tool_calls=[
                {"id": "c1", "name": "weather", "args": {"city": "Paris"}, "type": "tool_call"}
            ],
            id="a1-0",
        ),
        ToolMessage('{"temp": 21}', tool_call_id="c1", name="weather"),
        AIMessage("Warm.", id="a1-1"),
    ]


def test_u5_a_text_result_stays_text() -> None:
    messages = to_langchain_messages([assistant(tool("output-available", output="warm"))])

    assert messages[1].content == "warm"


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (tool("output-error", errorText="broke"), "broke"),
        (tool("output-denied", approval={"id": "x", "approved": False, "reason": "no"}), "no"),
        (tool("output-denied", approval={"id": "x", "approved": False}), "Tool execution denied."),
        (
            tool("approval-responded", approval={"id": "x", "approved": False}),
            "Tool execution denied.",
        ),
    ],
    ids=["failed", "denied", "denied without reason", "rejected"],
)
def test_u6_the_model_learns_of_a_failure(part: dict[str, Any], told: str) -> None:
    (_, result) = to_langchain_messages([assistant(part)])

    assert result == ToolMessage(told, tool_call_id="c1", name="weather", status="error")


@pytest.mark.parametrize(
    "part",
    [
        tool("input-streaming"),
        tool("input-available"),
        tool("approval-requested", approval={"id": "x"}),
        tool("approval-responded", approval={"id": "x", "approved": True}),
        tool("approval-responded", approval={"id": "x", "approved": "false"}),
        tool("output-available", output=1, providerExecuted=True),
        {"type": "reasoning", "text": "hm"},
        {"type": "source-url", "sourceId": "s", "url": "https://a"},
        {"type": "data-a", "data": 1},
        {"type": "unheard-of"},
        {},
    ],
    ids=lambda part: str(part.get("state") or part.get("type")),
)
def test_u7_to_u10_parts_that_a_provider_would_refuse_are_left_out(
    part: dict[str, Any],
) -> None:
    assert to_langchain_messages([assistant(part, text("so"))]) == [AIMessage("so", id="a1-0")]


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [({"input": [1]}, {"input": [1]}), ({"input": None}, {}), ({"input": {"a": 1}}, {"a": 1})],
    ids=["no object", "nothing", "object"],
)
def test_u7_arguments_are_an_object(keys: dict[str, Any], arguments: dict[str, Any]) -> None:
    (message, _) = to_langchain_messages([assistant(tool("output-available", output=1, **keys))])

    assert isinstance(message, AIMessage)
    assert message.tool_calls[0]["args"] == arguments


def test_u7_arguments_that_could_not_be_read_are_given_as_they_came() -> None:
    part = {
        key: value
        for key, value in tool("output-error", errorText="x", rawInput="{").items()
        if key != "input"
    }
    (message, _) = to_langchain_messages([assistant(part)])

    assert isinstance(message, AIMessage)
    assert message.tool_calls[0]["args"] == {"input": "{"}


def test_u9_a_caller_may_convert_data_parts() -> None:
    parts = user(
        text("a"), {"type": "data-place", "data": "Rome"}, {"type": "data-none", "data": 1}
    )

    (message,) = to_langchain_messages(
        [parts],
        convert_data_part=lambda part: (
            {"type": "text", "text": part["data"]} if part["type"] == "data-place" else None
        ),
    )
    assert message.content == [{"type": "text", "text": "a"}, {"type": "text", "text": "Rome"}]


def test_u10_a_static_tool_has_its_name_in_its_type() -> None:
    part = {
        "type": "tool-get_time",
        "toolCallId": "c1",
        "state": "output-available",
        "input": {},
        "output": 1,
        "new": True,
    }
    (_, result) = to_langchain_messages([assistant(part)])

    assert isinstance(result, ToolMessage)
    assert result.name == "get_time"


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "hi",
        {},
        ["hi"],
        [{"role": "user"}],
        [{"role": "user", "parts": "hi"}],
        [{"role": "x", "parts": []}],
    ],
    ids=str,
)
def test_anything_but_a_list_of_messages_is_refused(messages: Any) -> None:
    with pytest.raises(InvalidArgument):
        to_langchain_messages(messages)


def test_a_file_of_an_answer_is_named() -> None:
    made = {"type": "file", "url": "data:image/png;base64,AA==", "mediaType": "image/png"}
    note = "A file (image/png) that the user sees."

    (said,) = to_langchain_messages([assistant(text("See:"), made)])
    assert said.content == f"See:\n\n{note}"

    signed = {"google": {"thoughtSignature": "YWE="}}
    thought = {"type": "reasoning", "text": "Hm", "providerMetadata": signed}
    (said,) = to_langchain_messages([assistant(thought, made)])
    assert said.content[-1] == {"type": "text", "text": note}


def test_the_state_of_a_file_is_no_state_of_an_answer() -> None:
    state = {"google": {"thoughtSignature": "YWE="}}
    made = {"type": "file", "url": "/f/1", "mediaType": "image/png", "providerMetadata": state}
    (said,) = to_langchain_messages([assistant(text("See:"), made)])
    assert isinstance(said.content, str)


def test_an_empty_message_is_left_out() -> None:
    assert to_langchain_messages([user(text("")), assistant(STEP, text(""))]) == []


def test_u10_messages_over_the_limit_of_a_chat_are_refused() -> None:
    messages = [
        user(text("a" * 40)),
        assistant(tool("output-available", output="é" * 20)),
        user(text("b")),
    ]

    with pytest.raises(InvalidArgument, match=r"messages\[1\]"):
        to_langchain_messages(messages, max_bytes=90)
    assert len(to_langchain_messages(messages, max_bytes=120)) == 4


def test_u10_files_count_towards_the_limit() -> None:
    file = {
        "type": "file",
        "mediaType": "image/png",
        "url": f"data:image/png;base64,{'AAAA' * 100}",
    }

    with pytest.raises(InvalidArgument):
        to_langchain_messages([user(file)], max_bytes=300)


def test_u3_a_data_url_with_a_lone_surrogate_is_refused() -> None:
    part = {"type": "file", "url": "data:,\ud800", "mediaType": "text/plain"}

    with pytest.raises(InvalidArgument, match="cannot be decoded"):
        to_langchain_messages([{"role": "user", "parts": [part]}])


def test_a_lone_surrogate_of_a_client_can_be_sent() -> None:
    (message,) = to_langchain_messages([user(text("\ud800"))])

    assert message.content == "\ufffd"
