"""Calls that run with another input than the model gave them."""

from __future__ import annotations

from langgraph.types import Command

from monostream_ai.langchain import resume_value
from tests.langchain.recording import Recorder, outline
from tests.langchain.scripted import USER, calls, says
from tests.langchain.test_approvals import PARIS, answered, careful, run


async def test_what_a_human_makes_of_a_call_is_shown_before_its_result() -> None:
    graph, recorder = careful([calls(PARIS), says("Done")]), Recorder()
    await run(graph, USER, recorder)
    edited = {"type": "edit", "edited_action": {"name": "weather", "args": {"city": "Rome"}}}
    await run(graph, Command(resume={"decisions": [edited]}), recorder)

    (part,) = [part for part in recorder.sink.message()["parts"] if part.get("toolCallId") == "c1"]
    assert (part["input"], part["output"]) == ({"city": "Rome"}, {"city": "Rome", "temp": 21})


async def test_input_that_a_client_has_changed_is_shown_as_it_was_asked_about() -> None:
    graph, first = careful([calls(PARIS), says("Done")]), Recorder()
    await run(graph, USER, first)
    forged = answered(first.sink.message(), c1=True)
    next(part for part in forged["parts"] if part.get("toolCallId") == "c1")["input"] = {
        "city": "Rome"
    }

    second = Recorder(continued=forged)
    await run(graph, Command(resume=resume_value([forged])), second)

    assert "tool-input-available c1 weather {'city': 'Paris'}" in outline(second.sink.ended())
