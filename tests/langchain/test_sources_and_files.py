"""Sources and files in a model's message (M6)."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from langchain_core._api import LangChainBetaWarning
from langchain_core.messages import AIMessageChunk

from tests.langchain.recording import Recorder
from tests.langchain.scripted import ScriptedModel, SilentModel

PIXEL = {"type": "image", "base64": "AA==", "mime_type": "image/png"}


def cites(text: str, *annotations: dict[str, Any], index: int = 0) -> AIMessageChunk:
    cited = [{"type": "citation", **annotation} for annotation in annotations]
    return AIMessageChunk([{"type": "text", "text": text, "index": index, "annotations": cited}])


async def shown(
    script: list[Any], *, model: type[SilentModel] = ScriptedModel, kinds: tuple[str, ...] = ()
) -> list[str]:
    recorder = Recorder()
    await model(scripts=[script]).ainvoke("hi", recorder.config)
    return [line for line in recorder.outline() if line.startswith(kinds or ("source", "file"))]


A = {"url": "https://a/1", "title": "A"}


@pytest.mark.parametrize("model", [ScriptedModel, SilentModel], ids=["streamed", "at once"])
async def test_a_cited_page_is_shown_once(model: type[SilentModel]) -> None:
    script = [cites("one", A), cites("two", A, {"url": "http://b"}), cites("", A, index=1)]

    assert await shown(script, model=model) == [
        "source-url https://a/1 https://a/1 A",
        "source-url http://b http://b",
    ]


async def test_a_page_that_two_models_cite_is_shown_once() -> None:
    recorder = Recorder()
    model = ScriptedModel(scripts=[[cites("one", A)], [cites("two", A)]])
    for _ in range(2):
        await model.ainvoke("hi", recorder.config)

    assert len([line for line in recorder.outline() if line.startswith("source")]) == 1


async def test_a_page_that_a_failed_attempt_cited_is_shown_again() -> None:
    recorder = Recorder()
    model = ScriptedModel(scripts=[[cites("one", A), ConnectionError()], [cites("two", A)]])
    await model.with_retry(wait_exponential_jitter=False).ainvoke("hi", recorder.config)

    assert (
        len([line for line in recorder.outline() if line.startswith(("source", "reset-step"))]) == 3
    )


@pytest.mark.parametrize(
    ("citation", "lines"),
    [
        ({"id": "d1", "title": "Report"}, ["source-document d1 text/plain Report"]),
        ({"title": "Report"}, ["source-document Report text/plain Report"]),
        ({"cited_text": "As said"}, ["source-document Source text/plain Source"]),
        ({"id": "d1"}, ["source-document d1 text/plain Source"]),
        ({"url": "javascript:alert(1)", "title": "Evil"}, ["source-document Evil text/plain Evil"]),
        ({}, []),
        ({"url": 7, "title": 7, "id": 7}, []),
    ],
    ids=str,
)
async def test_a_citation_without_a_page_is_a_document(
    citation: dict[str, Any], lines: list[str]
) -> None:
    assert await shown([cites("one", citation)]) == lines


@pytest.mark.parametrize("annotations", [None, {}, ["x"], [None]], ids=repr)
async def test_annotations_of_another_form_are_left_out(annotations: Any) -> None:
    assert (
        await shown(
            [AIMessageChunk([{"type": "text", "text": "a", "annotations": annotations}])],
            model=SilentModel,
        )
        == []
    )


@pytest.mark.parametrize(
    ("block", "line"),
    [
        (PIXEL, "file data:image/png;base64,AA== image/png"),
        ({"type": "image", "url": "https://a/b.jpg"}, "file https://a/b.jpg image/jpeg"),
        ({"type": "image", "base64": "AA=="}, "file data:image/png;base64,AA== image/png"),
        ({"type": "audio", "base64": "AA=="}, "file data:audio/wav;base64,AA== audio/wav"),
        (
            {"type": "video", "url": "https://a/b", "mime_type": "video/webm"},
            "file https://a/b video/webm",
        ),
        (
            {"type": "file", "base64": "AA=="},
            "file data:application/octet-stream;base64,AA== application/octet-stream",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("model", [ScriptedModel, SilentModel], ids=["streamed", "at once"])
async def test_a_file_is_shown_once(
    block: dict[str, Any], line: str, model: type[SilentModel]
) -> None:
    assert await shown(
        [AIMessageChunk([{**block, "index": 1}]), AIMessageChunk("so")], model=model
    ) == [line]


@pytest.mark.parametrize(
    "block", [{"file_id": "f1"}, {"url": "file:///etc/passwd"}, {"url": 7}, {"base64": ""}], ids=str
)
async def test_a_file_that_no_browser_can_open_is_left_out(block: dict[str, Any]) -> None:
    assert await shown([AIMessageChunk([{"type": "image", **block}])]) == []


async def test_sound_that_comes_in_pieces_is_shown_when_it_is_whole() -> None:
    pieces = [
        AIMessageChunk([{"type": "audio", "base64": piece, "index": 0}])
        for piece in ("AAAA", "BBBB")
    ]

    assert await shown(pieces) == ["file data:audio/wav;base64,AAAABBBB audio/wav"]


async def test_an_image_stands_between_the_texts_around_it() -> None:
    script = [
        AIMessageChunk([block])
        for block in ({"type": "text", "text": "a"}, PIXEL, {"type": "text", "text": "b"})
    ]

    lines = await shown(script, kinds=("text-delta", "text-end", "file"))
    assert [line.split()[0] for line in lines] == [
        "text-delta",
        "text-end",
        "file",
        "text-delta",
        "text-end",
    ]


async def test_the_newer_streaming_path_shows_them_too() -> None:
    recorder = Recorder()
    asked = {
        "type": "server_tool_call",
        "id": "srv_1",
        "name": "web_search",
        "args": {"q": "x"},
        "index": 2,
    }
    found = {
        "type": "server_tool_result",
        "tool_call_id": "srv_1",
        "status": "success",
        "output": [1],
        "index": 3,
    }
    script = [
        cites("one", A),
        AIMessageChunk([{**PIXEL, "index": 1}]),
        AIMessageChunk([asked, found]),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainBetaWarning)
        stream = await ScriptedModel(scripts=[script]).astream_events(
            "hi", recorder.config, version="v3"
        )
    await stream.output
    await recorder.sink.until("tool-output-available")

    assert [line for line in recorder.outline() if line.startswith(("source", "file", "tool"))] == [
        "source-url https://a/1 https://a/1 A",
        "file data:image/png;base64,AA== image/png",
        "tool-input-available srv_1 True web_search {'q': 'x'}",
        "tool-output-available srv_1 True [1]",
    ]


UNNAMED = {"start_index": 0, "quote": "so it is said"}


@pytest.mark.parametrize("model", [ScriptedModel, SilentModel], ids=["streamed", "at once"])
@pytest.mark.parametrize(
    "script",
    [
        [cites("one", UNNAMED), cites("two", UNNAMED)],
        [AIMessageChunk("x", additional_kwargs={"search_results": [UNNAMED]})],
        [AIMessageChunk("x", response_metadata={"citations": UNNAMED})],
    ],
    ids=["in the text", "beside it", "no list"],
)
async def test_a_citation_that_names_nothing_is_kept_once(
    script: list[Any], model: type[SilentModel]
) -> None:
    [line] = await shown(script, model=model, kinds=("source", "data-unread"))
    assert line.startswith("data-unread") and "so it is said" in line


async def test_a_document_without_a_title_has_its_address() -> None:
    found = {"retrieved_context": {"uri": "gs://bucket/a.pdf", "text": "Page 1"}}
    metadata = {"grounding_metadata": {"grounding_chunks": [found]}}

    [line] = await shown([AIMessageChunk("x", response_metadata=metadata)])
    assert line.startswith("source-document gs://bucket/a.pdf")
