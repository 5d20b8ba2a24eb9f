"""AG-UI: store its events, or read a stored answer of UI message chunks as AG-UI events.

The `ag-ui-protocol` package itself is not imported.
"""

from monostream_ai.ag_ui.events import Event, check_event, to_event
from monostream_ai.ag_ui.mapper import AGUIMapper
from monostream_ai.ag_ui.protocol import AGUIProtocol
from monostream_ai.ag_ui.sse import HEADERS, AGUIEncoder, EventCursor

__all__ = [
    "AGUIEncoder",
    "AGUIMapper",
    "AGUIProtocol",
    "Event",
    "EventCursor",
    "HEADERS",
    "check_event",
    "to_event",
]
