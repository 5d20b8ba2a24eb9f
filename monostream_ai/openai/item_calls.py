"""Maps the output items that call a tool, hold a result, or ask whether a tool may be called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from monostream_ai.openai.chat_calls import CUSTOM, CUSTOM_CALL, arguments_text, with_state
from monostream_ai.openai.item_list import CALL, Item, id_of
from monostream_ai.openai.server_tools import (
    failed,
    fields_not_shown,
    has_output,
    image_of,
    is_by_provider,
    name_of_call,
    result_of,
    tool_input,
    tool_name,
    tool_output,
    waits_for_item,
)
from monostream_ai.recording.fields import get, get_text, to_json
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.model_output import StreamedCall
from monostream_ai.ui_messages.texts import FAILED_TEXT


class ItemCalls:
    """Maps the calls of one response; tools may be the program's own or the provider's."""

    def __init__(self, recording: Recording, output: ModelOutput) -> None:
        self.tools: Any = None
        """The tools of the request, as the response repeats them."""
        self._recording = recording
        self._builder = recording.builder
        self._output = output
        self._unread = recording.unread("openai")
        # The provider's calls whose result may come as an item of its own.
        self._awaited: list[StreamedCall] = []
        self._results: dict[str, Any] = {}

    def announce(self, item: Item, given: Any) -> list[Chunk]:
        """Begin a call; nothing yet if its name or its id may still change."""
        kind, name = item.kind, tool_name(given)
        approved = self._approved(given)
        if item.call is not None or not name or kind == "tool_search_call":
            return []
        if kind == "mcp_call" and approved is None and self._recording.calls.find_by_name(name):
            # It may be the call that was asked about, which only the whole item tells.
            return []
        return self._begin(item, given)

    def extend(self, item: Item, given: Any) -> list[Chunk]:
        """Append to the input of a call, which may not have come yet."""
        text = arguments_text(given)
        if item.call is None:
            item.arguments += text
            return []
        return self._output.extend(item.call, text)

    def input_done(self, item: Item, given: Any, name: str) -> list[Chunk]:
        """Append the rest of a whole input."""
        text = arguments_text(given)
        item.name = item.name or name
        so_far = item.arguments if item.call is None else item.call.arguments
        if text.startswith(so_far):
            return self.extend(item, text[len(so_far) :])
        if item.call is None:
            item.arguments = text
        else:
            item.call.arguments = text
        return []

    def whole(self, item: Item, given: Any) -> list[Chunk]:
        chunks = self._begin(item, given) if item.call is None else []
        call = item.call
        if call is None:
            return chunks
        self._take_id(call, given)
        if item.kind == "function_call":
            return [*chunks, *self._function_input(call, given, item.arguments)]
        if item.kind == CUSTOM_CALL:
            streamed = call.arguments or item.arguments
            text = arguments_text(get(given, "input")) or streamed
            more = self._output.call_with(call, text)
            chunks += more if call.provider_executed else with_state(more, CUSTOM)
        else:
            chunks += self._output.call_with(call, tool_input(given))
        if call.provider_executed or has_output(given):
            chunks += self._found(call, given)
        return chunks if item.done else [*chunks, *self._keep_rest(item, given)]

    def ask(self, given: Any) -> list[Chunk]:
        """Ask the user whether the provider may call a tool of an MCP server.

        The call and the approval have the id of the provider's request.
        """
        request_id, name = get_text(given, "id"), get_text(given, "name") or "unknown"
        if self._recording.calls.find(request_id) is not None:
            return []
        call = StreamedCall(request_id, f"mcp.{name}", provider_executed=True)
        arguments = get(given, "arguments")
        state = {"itemId": request_id, "serverLabel": get_text(given, "server_label")}
        chunks = self._output.call_with_json(call, arguments_text(arguments))
        published = call.published or ""
        if published in self._recording.refused_calls:
            return chunks
        approval = self._builder.approval_request(published, request_id or published)
        return [*with_state(chunks, {"openai": state}), *approval]

    def result(self, item: Item, given: Any) -> list[Chunk]:
        """Give a call the result that comes as an item of its own."""
        if item.done:
            return []
        output, call_id = result_of(given), get_text(given, "call_id")
        published, chunks = self._call_of_result(call_id, item.kind)
        known = self._builder.call(published)
        if known is not None and known.state != "done":
            self._results[published] = output
            chunks += self._builder.tool_output(published, output)
            return [*chunks, *self._keep_rest(item, given)]
        if self._results.get(published) == output:
            return []
        return self._unread.keep(f"item {item.kind}", to_json(given))

    def announced(self, item: Item, given: Any) -> list[Chunk]:
        """Take the input that a call had when it was announced, unless more of it came later.

        Its other fields are kept as unread.
        """
        if not item.arguments and (item.call is None or not item.call.arguments):
            own = item.kind in ("function_call", CUSTOM_CALL)
            named = get(given, "arguments") or get(given, "input")
            item.arguments = arguments_text(named if own else tool_input(given))
        image = image_of(given)
        chunks = [] if image is None else self._recording.file(*image)
        if has_output(given):
            chunks += self._unread.keep(f"output of {item.kind}", tool_output(given))
        return [*chunks, *self._keep_rest(item, given)]

    def end(self, items: Iterable[Item]) -> list[Chunk]:
        """Give calls that were never whole the input they have, and the provider's a result."""
        chunks: list[Chunk] = []
        for item in items:
            if item.done or (item.call is None and not item.arguments):
                continue
            if item.call is None:
                name = item.name or "unknown"
                item.call = StreamedCall(item.item_id or None, name)
            call, item.done = item.call, True
            if not call.provider_executed and item.kind not in ("function_call", CUSTOM_CALL, CALL):
                # A program must not run a tool whose input is not known.
                continue
            arguments = call.arguments or item.arguments
            if item.kind == CUSTOM_CALL:
                chunks += self._output.call_with(call, arguments)
            else:
                chunks += self._output.call_with_json(call, arguments)
            if call.provider_executed:
                self._awaited.append(call)
        for call in self._awaited:
            published = call.published or ""
            known = self._builder.call(published)
            if known is not None and known.state == "called":
                chunks += self._builder.tool_output(published, {"status": "completed"})
        self._awaited.clear()
        return chunks

    def cut_off(self, items: Iterable[Item]) -> list[Chunk]:
        """Show calls that were never whole as errors, since the response was cut or has failed."""
        chunks: list[Chunk] = []
        for item in items:
            if item.call is None and item.arguments:
                item.call = StreamedCall(item.item_id or None, item.name or "unknown")
                item.call.arguments = item.arguments
            if item.call is not None and not item.done:
                item.call.arguments = item.call.arguments or item.arguments
                chunks += self._output.cut_off(item.call)
        return chunks

    def _begin(self, item: Item, given: Any) -> list[Chunk]:
        by_provider, item_id = is_by_provider(given, self.tools), id_of(given)
        call_id = get_text(given, "call_id") or item_id
        if by_provider and not waits_for_item(given):
            call_id = item_id or call_id
        name = tool_name(given) or item.name or "unknown"
        call = item.call = StreamedCall(call_id, name, provider_executed=by_provider)
        if (approved := self._approved(given)) is not None:
            call.published = approved
            return []
        if item.kind in ("function_call", CUSTOM_CALL):
            call.arguments = item.arguments
        return self._output.announce(call)

    def _approved(self, given: Any) -> str | None:
        """Return the call that the user was asked about, if the provider makes it now."""
        request_id = get_text(given, "approval_request_id")
        return self._recording.calls.find_unanswered(request_id) if request_id else None

    def _take_id(self, call: StreamedCall, given: Any) -> None:
        """Take the id that a call has when it is whole, since results name that one."""
        call_id = get_text(given, "call_id")
        if call_id and call.call_id != call_id and call.published is not None:
            self._recording.calls.rename(call.published, call_id)

    def _function_input(self, call: StreamedCall, given: Any, before: str) -> list[Chunk]:
        streamed = call.arguments or before
        text = arguments_text(get(given, "arguments"))
        # A server that streams the input may repeat it as an empty one.
        chunks = self._output.call_with_json(call, streamed if text in ("", "{}") else text)
        namespace = get_text(given, "namespace")
        return with_state(chunks, {"openai": {"namespace": namespace}} if namespace else None)

    def _found(self, call: StreamedCall, given: Any) -> list[Chunk]:
        published = call.published or ""
        known = self._builder.call(published)
        if known is None or known.state != "called":
            return []
        if failed(given):
            kept = f"output of a failed {call.name}"
            chunks = self._unread.keep(kept, tool_output(given)) if has_output(given) else []
            if get(given, "error"):
                self._unread.lose(f"error of {call.name}")
            return [*chunks, *self._builder.tool_error(published, FAILED_TEXT)]
        if waits_for_item(given):
            self._awaited.append(call)
            return []
        image = image_of(given)
        chunks = [] if image is None else self._recording.file(*image)
        return [*chunks, *self._builder.tool_output(published, tool_output(given))]

    def _keep_rest(self, item: Item, given: Any) -> list[Chunk]:
        rest = fields_not_shown(given)
        return self._unread.keep(f"fields of {item.kind}", rest) if rest else []

    def _call_of_result(self, call_id: str, kind: str) -> tuple[str, list[Chunk]]:
        """Return the call that a result belongs to: one of its own if there is none."""
        if call_id and (published := self._recording.calls.find(call_id)):
            return published, []
        name = name_of_call(kind)
        # A result that names no call belongs to the provider's last one.
        for call in reversed(self._awaited):
            known = self._builder.call(call.published or "")
            waits = known is not None and known.state == "called"
            if waits and (not call_id or call.name == name):
                return call.published or "", []
        call = StreamedCall(call_id or None, name, provider_executed=True)
        chunks = self._output.call_with(call, {})
        return call.published or "", chunks
