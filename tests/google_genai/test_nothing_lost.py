"""Every text of any stream is in the stored message."""

from __future__ import annotations

from typing import Any

from google.genai.types import GenerateContentResponse
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monostream_ai.google_genai.capturing import GeminiMapper
from monostream_ai.recording.message import Recording
from monostream_ai.ui_messages import Chunk, UIMessageBuilder
from tests.plugins.lanes import examples
from tests.recording.nothing_lost import lost, message_of, texts, texts_in

Part = dict[str, Any]

SKIPPED = {
    "thought_signature",
    "mime_type",
    "outcome",
    "language",
    "data",
    "finish_reason",
    "tool_type",
}


@st.composite
def parts(draw: st.DrawFn) -> Part:
    value = draw(texts)
    named = {"id": draw(st.sampled_from([None, "c1", "c2"])), "name": "f"}
    told = {"id": draw(st.sampled_from([None, "s1", "s2"])), "tool_type": "URL_CONTEXT"}
    return draw(
        st.sampled_from(
            [
                {"text": value},
                {"text": value},
                {"text": value, "thought": True},
                {"text": value, "thought_signature": b"s"},
                {"text": "", "thought_signature": b"s"},
                {"function_call": {**named, "args": {"a": value}}},
                {"function_call": {**named, "partial_args": [{"string_value": value}]}},
                {"function_response": {**named, "response": {"found": value}}},
                {"executable_code": {"code": value, "language": "PYTHON"}},
                {"code_execution_result": {"output": value, "outcome": "OUTCOME_OK"}},
                {"tool_call": {**told, "args": {"q": value}}},
                {"tool_response": {**told, "response": {"found": value}}},
                {"text": value, "audio_transcription": {"text": draw(texts)}},
                {"inline_data": {"data": b"x", "mime_type": "image/png"}},
                {"file_data": {"file_uri": f"https://x.example/{value}"}},
                {"file_data": {"file_uri": f"gs://{value}", "mime_type": "text/plain"}},
                {"video_metadata": {"start_offset": value}},
            ]
        )
    )


@st.composite
def candidates(draw: st.DrawFn) -> Part:
    candidate: Part = {"content": {"parts": draw(st.lists(parts(), max_size=3))}}
    value = draw(texts)
    return candidate | draw(
        st.sampled_from(
            [
                {},
                {},
                {"citation_metadata": {"citations": [{"uri": f"https://x.example/{value}"}]}},
                {"citation_metadata": {"citations": [{"title": value}]}},
                {
                    "grounding_metadata": {
                        "grounding_chunks": [{"web": {"uri": "https://y.example", "title": value}}]
                    }
                },
            ]
        )
    )


@st.composite
def answers(draw: st.DrawFn) -> list[Part]:
    """Draw the candidates of a stream, of which some end an answer."""
    drawn = draw(st.lists(candidates(), min_size=1, max_size=4))
    reason = draw(st.sampled_from(["STOP", "SAFETY", "MALFORMED_FUNCTION_CALL"]))
    why, twice = draw(st.one_of(st.none(), texts)), draw(st.booleans())
    # The SDK may call functions, and go on with another answer in the same stream.
    for number, candidate in enumerate(drawn):
        if number == len(drawn) - 1 or (twice and number == 0):
            candidate |= {"finish_reason": reason, "finish_message": why}
    return drawn


def recorded(drawn: list[Part]) -> list[Chunk]:
    recording = Recording(UIMessageBuilder(message_id="m1"))
    mapper = GeminiMapper(recording)
    chunks: list[Chunk] = []
    for candidate in drawn:
        chunks += mapper.feed(GenerateContentResponse.model_validate({"candidates": [candidate]}))
    assert mapper.output.complete
    return [*chunks, *recording.builder.finish()]


@settings(deadline=None, max_examples=examples(120), derandomize=True)
@given(drawn=answers())
def test_every_text_of_an_answer_is_in_the_message(drawn: list[Part]) -> None:
    # The message of the end may come twice, with each answer.
    said = texts_in([_content({**each, "finish_message": None}) for each in drawn])
    assume(len(said) == len(set(said)))
    said += texts_in([each.get("finish_message") or "" for each in drawn])

    assert lost(said, message_of(recorded(drawn))) == []


def _content(value: Any) -> Any:
    """Return a value without the fields that hold no text."""
    if isinstance(value, dict):
        return {key: _content(item) for key, item in value.items() if key not in SKIPPED}
    return [_content(item) for item in value] if isinstance(value, list) else value
