"""Bases for the broken and the custom parts of tests."""

from __future__ import annotations

from monostream_ai.notifiers.forwarding import ForwardingNotifier
from monostream_ai.stores.forwarding import ForwardingStore

__all__ = ["ForwardingNotifier", "ForwardingStore"]
