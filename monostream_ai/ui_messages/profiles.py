"""Rewrites stored payloads for clients of `ai` 5, 6 or 7, so that one log serves all of them.

Chunks that a client would refuse become `NOTHING` instead of being left out, so that a client that
counts chunks stays in step.

Source: vercel/ai, packages/ai/src/ui-message-stream/ui-message-chunks.ts of the releases below.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from monostream_ai.errors import InvalidArgument
from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.ui_messages.chunks import (
    DATA_SHAPE,
    DELTA_KEYS,
    FINISH_REASONS,
    SHAPES,
    Chunk,
    Shape,
)
from monostream_ai.ui_messages.texts import DENIED_TEXT

logger = logging.getLogger(__name__)

Profile: TypeAlias = Literal["any", "v5", "v6", "v7", "v7.0.149"]
"""The release of `ai` that a client has: an unknown one, 5.0.92 or newer, 6.0.39 or newer, any 7,
or 7.0.149 or newer.

The requests of all releases are alike, so a client is of an unknown one unless it says otherwise.
"any" sends the chunks that `ai` 6 and 7 both read, with all their keys. `ai` 5 reads them too,
except for `tool-approval-request` and `tool-output-denied`, which only "v5" replaces. Clients of
`ai` 5 below 5.0.217, 6 below 6.0.231 and 7 below 7.0.32 refuse unknown keys, so "v5" and "v6" send
only the keys that every release of `ai` 5 or 6 knows. "v7" replaces `reset-step`,
`steering-message` and the finish reason `interrupted`, which the first releases of `ai` 7 refuse.
"v7.0.149" changes nothing.
"""

PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)

NOTHING: Final = '{"type":"message-metadata","messageMetadata":null}'
"""A chunk that every client accepts and that changes nothing."""

_TYPE_FIRST: Final = '{"type":"'
_DELTAS: Final = tuple(f'{_TYPE_FIRST}{kind}"' for kind in DELTA_KEYS)

_V6_LACKS: Final[Mapping[str, Set[str]]] = {
    "text-end": {"citations"},
    "tool-input-start": {"toolMetadata", "inputEncoding"},
    "tool-input-available": {"toolMetadata"},
    "tool-input-error": {"toolMetadata"},
    "tool-approval-request": {
        "signature",
        "isAutomatic",
        "reason",
        "approvalDescriptor",
        "inputSchemaInput",
    },
    "tool-output-available": {"providerMetadata", "toolMetadata"},
    "tool-output-error": {"providerMetadata", "toolMetadata"},
}
_V5_LACKS: Final[Mapping[str, Set[str]]] = {
    **_V6_LACKS,
    "tool-input-start": {"providerMetadata", "title", "toolMetadata", "inputEncoding"},
    "tool-input-available": {"title", "toolMetadata"},
    "tool-input-error": {"title", "toolMetadata"},
    "abort": {"reason"},
}
_V7_REFUSES: Final = frozenset({"reset-step", "steering-message"})
_V6_REFUSES: Final = _V7_REFUSES | {"tool-approval-response", "custom", "reasoning-file"}
_V5_REFUSES: Final = _V6_REFUSES | {"tool-approval-request"}


def _known_keys(refused: Set[str], lacks: Mapping[str, Set[str]]) -> dict[str, frozenset[str]]:
    def keys(kind: str, shape: Shape) -> frozenset[str]:
        return frozenset({"type", *shape.required, *shape.optional} - lacks.get(kind, frozenset()))

    return {kind: keys(kind, shape) for kind, shape in SHAPES.items() if kind not in refused}


class _Rules(NamedTuple):
    """The rules of one profile. Without `keys`, types that are not refused keep all their keys."""

    refused: frozenset[str]
    reasons: frozenset[str]
    keys: Mapping[str, frozenset[str]] | None = None
    newer: bool = False
    """Whether the client may know types that we do not."""

    def concern(self, kind: str | None) -> bool:
        """Whether a chunk of this type must be decoded; None stands for a type not seen at once."""
        return (
            self.keys is not None
            or kind is None
            or kind in ("finish", "tool-approval-request")
            or self.refuse(kind)
        )

    def refuse(self, kind: str) -> bool:
        """Whether the client fails at a chunk of this type."""
        if kind in self.refused:
            return True
        return not (self.newer or kind in SHAPES or kind.startswith("data-"))


_OLD_REASONS: Final = FINISH_REASONS - {"interrupted"}
_RULES: Final[Mapping[Profile, _Rules]] = {
    "any": _Rules(_V6_REFUSES, _OLD_REASONS),
    "v5": _Rules(_V5_REFUSES, _OLD_REASONS | {"unknown"}, _known_keys(_V5_REFUSES, _V5_LACKS)),
    "v6": _Rules(_V6_REFUSES, _OLD_REASONS, _known_keys(_V6_REFUSES, _V6_LACKS)),
    "v7": _Rules(_V7_REFUSES, _OLD_REASONS, newer=True),
    "v7.0.149": _Rules(frozenset(), FINISH_REASONS, newer=True),
}
_DATA_KEYS: Final = frozenset({"type", *DATA_SHAPE.required, *DATA_SHAPE.optional})


def check_profile(name: str) -> Profile:
    """Return the profile of this name.

    Raises:
        InvalidArgument: The profile is unknown.
    """
    for profile in PROFILES:
        if profile == name:
            return profile
    raise InvalidArgument(f"unknown profile {str(name)[:40]!r}: use one of {', '.join(PROFILES)}")


def refuses(profile: Profile, kind: str) -> bool:
    """Return whether a client of this profile fails at chunks of a type."""
    return _RULES[profile].refuse(kind)


MAX_LOGGED_TYPES: Final = 10
"""Unknown types that one response logs."""


class ProfileFilter:
    """Rewrites the payloads of one response, in their order, for clients of one release.

    Most payloads pass undecoded. Deltas always do, so an unknown key on a delta reaches even
    clients that refuse it.

    Raises:
        InvalidArgument: The profile is unknown.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile: Final = check_profile(profile)
        self._rules = None if self.profile == "v7.0.149" else _RULES[self.profile]
        self._fit: Callable[[Chunk], Chunk] | None = (
            _DynamicCalls().fit if profile == "v5" else None
        )
        self._unknown: set[str] = set()
        self.stateless = self._fit is None
        """Whether each payload is rewritten independently of those before it."""

    def __repr__(self) -> str:
        return f"<ProfileFilter {self.profile!r}>"

    def apply_all(self, payloads: Sequence[str]) -> Sequence[str]:
        """Return the payloads to send for the next stored ones."""
        if self._rules is None:
            return payloads
        # Most payloads are deltas, for which a call of `apply` would cost more than this test.
        return [
            payload if payload.startswith(_DELTAS) else self.apply(payload) for payload in payloads
        ]

    def apply(self, payload: str) -> str:
        """Return the payload to send for a stored one."""
        if (
            self._rules is None
            or payload.startswith(_DELTAS)
            or not self._rules.concern(_type_at_front(payload))
        ):
            return payload
        chunk = decode_json(payload)
        if not isinstance(chunk, dict) or not isinstance(chunk.get("type"), str):
            return payload
        sent = chunk if self._fit is None else self._fit(chunk)
        known = _known(sent, self._rules)
        if known is None:
            if sent["type"] not in SHAPES:
                self._tell_unknown(sent["type"])
            return NOTHING
        return payload if known == chunk else encode_json(known)

    def _tell_unknown(self, kind: str) -> None:
        """Log a type once for each response: a misspelt one would vanish without a trace."""
        # A program may number its types.
        if kind not in self._unknown and len(self._unknown) < MAX_LOGGED_TYPES:
            self._unknown.add(kind)
            logger.warning(
                "chunks of type %.40r are kept from pages with profile %r, which fail at unknown "
                "types: let a type of your own begin with 'data-'",
                kind,
                self.profile,
            )


def _type_at_front(payload: str) -> str | None:
    # Our encoder writes the type first. Other programs may store spaces, or another order.
    start = len(_TYPE_FIRST)
    return payload[start : payload.index('"', start)] if payload.startswith(_TYPE_FIRST) else None


def _known(chunk: Chunk, rules: _Rules) -> Chunk | None:
    """Return the chunk with the keys that the client knows, or None if it refuses the type."""
    kind = chunk["type"]
    if rules.refuse(kind) or (kind == "tool-approval-request" and _asks_nobody(chunk, rules)):
        return None
    if rules.keys is not None:
        keys = _DATA_KEYS if kind.startswith("data-") else rules.keys[kind]
        chunk = {key: value for key, value in chunk.items() if key in keys}
    if (
        kind == "finish"
        and "finishReason" in chunk
        and str(chunk["finishReason"]) not in rules.reasons
    ):
        chunk = {**chunk, "finishReason": "other"}
    return chunk


def _asks_nobody(request: Chunk, rules: _Rules) -> bool:
    # A program answers it at once. A client that does not read the answer would ask its user.
    return request.get("isAutomatic") is True and rules.refuse("tool-approval-response")


class _DynamicCalls:
    """Gives all chunks of a call the same `dynamic`, since `ai` 5 throws if they differ."""

    def __init__(self) -> None:
        self._dynamic: dict[str, bool] = {}

    def fit(self, chunk: Chunk) -> Chunk:
        kind, call_id = chunk["type"], chunk.get("toolCallId")
        if not isinstance(call_id, str):
            return chunk
        if kind in ("tool-input-start", "tool-input-available"):
            self._dynamic[call_id] = bool(chunk.get("dynamic"))
            return chunk
        if kind == "tool-output-denied":
            # `ai` 5 has no denial, so it becomes an error. A response that starts in the middle has
            # not seen the call; then it counts as dynamic, as all calls of our captures are.
            denied = {"type": "tool-output-error", "toolCallId": call_id, "errorText": DENIED_TEXT}
            return _with_dynamic(denied, self._dynamic.get(call_id, True))
        return (
            _with_dynamic(chunk, self._dynamic[call_id])
            if kind in _RESULTS and call_id in self._dynamic
            else chunk
        )


_RESULTS: Final = frozenset({"tool-input-error", "tool-output-available", "tool-output-error"})


def _with_dynamic(chunk: Chunk, dynamic: bool) -> Chunk:
    rest = {key: value for key, value in chunk.items() if key != "dynamic"}
    return {**rest, "dynamic": True} if dynamic else rest
