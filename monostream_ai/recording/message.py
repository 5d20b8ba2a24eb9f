"""The message that all captures of one publisher write together.

A tool loop captures several responses, and each of them continues the same message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import InvalidArgument
from monostream_ai.ui_messages import Chunk, UIMessageBuilder, to_json_value
from monostream_ai.ui_messages.browser_safety import is_link
from monostream_ai.ui_messages.call_ids import CallIds
from monostream_ai.ui_messages.contributing import Contributor
from monostream_ai.ui_messages.model_output import Summary, usage_in
from monostream_ai.ui_messages.protocol import continued_by
from monostream_ai.ui_messages.pushing import push_chunks
from monostream_ai.ui_messages.sinks import CountUnread, unread_counter
from monostream_ai.ui_messages.unread import Unread

_PART_STARTS: Final = ("text-start", "reasoning-start")


class Recording:
    """State shared by the captures of one publisher.

    It keeps ids unique in the message, shows each source and file once, and adds up the usage.

    Args:
        continued: The assistant message that this one continues: its calls can be answered here,
            and its usage is added. It comes from a client, so malformed parts are ignored.
        written: Chunks of this message that a lost publisher stored; open parts stay open.
        count_unread: Called for each value that no capture can read.
    """

    def __init__(
        self,
        builder: UIMessageBuilder,
        continued: Mapping[str, Any] | None = None,
        written: Sequence[Chunk] = (),
        *,
        count_unread: CountUnread | None = None,
    ) -> None:
        self.builder = builder
        self._contributor = Contributor.to(None)
        """Learns the chunks that others write to the publisher, in this run."""
        self._ids_of_others: set[str] = set()
        """Ids of the texts and reasonings that others have begun."""
        earlier = {} if continued is None else continued
        self.denied_calls = {*_denied_in(earlier.get("parts"))}
        """Published ids of calls that the user has denied. Whatever an SDK tells as their result,
        the message says that.
        """
        self.refused_calls: set[str] = set()
        """Published ids of calls whose arguments are no JSON. That error is their result."""
        calls = [*builder.adopt(earlier), *(each for each in written if "toolCallId" in each)]
        builder.take_up(written)
        self.calls = CallIds(builder, _ids_of(calls))
        self.state: dict[type[Any], Any] = {}
        """State that the mappers of one SDK share, by its class."""
        self._calls_made = len(_ids_of(calls))
        self._parts = sum(each["type"] in _PART_STARTS for each in written)
        self._sources = {*_sources_in(earlier.get("parts")), *_sources_in(written)}
        metadata = [each["messageMetadata"] for each in written if "messageMetadata" in each]
        usage = _last_usage([earlier.get("metadata"), *metadata])
        self._usages = [usage]
        self._summary = Summary(builder, {"usage": dict(usage)} if usage else None)
        self._unread: dict[str, Unread] = {}
        self._count_unread = count_unread

    def _catch_up(self) -> None:
        """Take note of the chunks that others have written since the last call.

        Otherwise a step that the program has ended or taken back would count as open, and a page
        cannot read the end of a part that it does not show.
        """
        others = self._contributor.news()
        if not others:
            return
        self.builder._follow(others)
        self.calls.add(_ids_of([each for each in others if "toolCallId" in each]))
        self._ids_of_others |= {str(each["id"]) for each in others if each["type"] in _PART_STARTS}
        self._sources.update(_sources_in(others))

    def _push(self, pub: Publisher[Chunk], chunks: list[Chunk], *, refuse: bool = False) -> None:
        """Push chunks that this recording has made, as `push_chunks` does."""
        with self._contributor:
            push_chunks(pub, chunks, refuse=refuse)

    def unread(self, sdk: str) -> Unread:
        """Return the keeper of the values that no capture of this SDK can read."""
        return self._unread.setdefault(sdk, Unread(self.builder, sdk, self._count_unread))

    def new_part_id(self, kind: str) -> str:
        self._parts += 1
        while (part_id := f"{kind}-{self._parts}") in self._ids_of_others:
            self._parts += 1
        return part_id

    def new_usage(self) -> dict[str, int]:
        """Return the token counts of a new response, empty for now; the response updates them."""
        usage: dict[str, int] = {}
        self._usages.append(usage)
        return usage

    def publish_call(self, call_id: str | None) -> str:
        """Return the id under which the message shows a new call.

        It may differ from the model's id: some models use an id twice, or give none.
        """
        self._calls_made += 1
        return self.calls.publish(call_id or f"call-{self._calls_made}")

    def tool_result(
        self, call_id: str, *, output: Any = None, error: str | None = None
    ) -> list[Chunk]:
        """Return the chunks of a result that the program gives; arguments as for
        `Capture.tool_result`.
        """
        if error is not None and output is not None:
            raise InvalidArgument(f"call {call_id!r} has an output and an error: give one of them")
        self._catch_up()
        published = self.calls.find(call_id) or call_id
        if published in self.refused_calls:
            return []
        if error is None:
            return self.builder.tool_output(published, to_json_value(output))
        return self.builder.tool_error(published, error)

    def ask_approval(self, call_id: str, *, reason: str | None = None) -> list[Chunk]:
        """Return the chunks of a question; arguments as for `Capture.ask_approval`."""
        self._catch_up()
        calls = self.calls.published(call_id)
        unasked = (
            each
            for each in calls
            if self.calls.state(each) == "called" and not self.builder.is_asked_about(each)
        )
        published = next(unasked, calls[-1] if calls else call_id)
        if published in self.refused_calls:
            return []
        return self.builder.approval_request(published, f"approve-{published}", reason=reason)

    def file(self, url: str, media_type: str) -> list[Chunk]:
        """Show a file, unless it was shown before; all captures that use this send files here.

        Args:
            url: A link, or a data URL. One that is too large to store becomes a text that says so.
        """
        # A hash instead of the URL, which may hold megabytes.
        if not self._is_new_source(f"file {hash(url)} {len(url)}"):
            return []
        return self.builder.file(url, media_type=media_type)

    def source_url(self, url: str, title: str = "") -> list[Chunk]:
        """Cite a page, unless it was cited before or its URL is no link."""
        if not is_link(url) or not self._is_new_source(url):
            return []
        return self.builder.source_url(url, url, title=title or None)

    def source_document(
        self, document_id: str, *, media_type: str, title: str, filename: str | None = None
    ) -> list[Chunk]:
        """Cite a document, unless it was cited before."""
        if not document_id or not self._is_new_source(document_id):
            return []
        return self.builder.source_document(
            document_id, media_type=media_type, title=title, filename=filename
        )

    def tell(self, metadata: dict[str, Any]) -> list[Chunk]:
        """Send metadata of the message that changed, with the usage of all responses so far."""
        total: Counter[str] = Counter()
        for usage in self._usages:
            total.update(usage)
        return self._summary.tell(metadata, total)

    def _is_new_source(self, source_id: str) -> bool:
        new = source_id not in self._sources
        self._sources.add(source_id)
        return new


def recording_of(pub: Publisher[Chunk]) -> Recording:
    """Return the recording of an open publisher, made by the first of its captures."""
    recording = pub._adapter_state.get(Recording)
    if recording is None:
        builder = _builder_for(pub)
        recording = Recording(
            builder, continued_by(pub), pub.written, count_unread=unread_counter(pub)
        )
        recording._contributor = Contributor.to(pub)
        pub._adapter_state[Recording] = recording
        recording._catch_up()
        # A response begins anew, and its texts are no part of those that broke off.
        if not builder.step_empty:
            recording._push(pub, builder.finish_step())
    else:
        recording._catch_up()
    return recording


def replaying_recording(pub: Publisher[Chunk]) -> Recording:
    """Return a recording for responses that are mapped once more from their beginning.

    It knows nothing of the chunks that a lost publisher wrote, and so makes them again.
    """
    return Recording(_builder_for(pub), continued_by(pub), count_unread=unread_counter(pub))


def _builder_for(pub: Publisher[Chunk]) -> UIMessageBuilder:
    return UIMessageBuilder(message_id=pub.message_id, send_start=pub.next_id == 0)


def _ids_of(calls: list[Chunk]) -> list[str]:
    return list(dict.fromkeys(chunk["toolCallId"] for chunk in calls))


def _last_usage(metadata: list[Any]) -> dict[str, int]:
    """Return the token counts that the last of several metadata with any has."""
    usages = (usage_in(each) for each in reversed(metadata) if isinstance(each, Mapping))
    return next((usage for usage in usages if usage), {})


def _denied_in(parts: Any) -> Iterator[str]:
    for part in _mappings_in(parts):
        approval = part.get("approval")
        if isinstance(approval, Mapping) and approval.get("approved") is False:
            yield str(part.get("toolCallId"))


def _sources_in(parts: Any) -> Iterator[str]:
    for part in _mappings_in(parts):
        source_id = part.get("sourceId")
        if isinstance(source_id, str):
            yield source_id


def _mappings_in(parts: Any) -> list[Mapping[str, Any]]:
    """Return the parts of a message, or chunks, without those that are malformed."""
    return [
        part
        for part in (parts if isinstance(parts, list | tuple) else ())
        if isinstance(part, Mapping)
    ]
