"""Makes a file of the audio of an answer, of which OpenAI does not tell the format."""

from __future__ import annotations

import base64
import binascii
import io
import wave
from collections.abc import Sequence
from typing import Final

_SAMPLE_RATE: Final = 24_000
"""Samples for each second of OpenAI's `pcm16`, the only format that it streams: mono, 16 bits."""

_SIGNATURES: Final = (
    (b"RIFF", "audio/wav"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf1", "audio/aac"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
)


def audio_file(pieces: Sequence[str]) -> tuple[str, str] | None:
    """Return the data URL and the media type of streamed audio, or None if it is not base64.

    Args:
        pieces: Base64 text, each piece for itself.
    """
    try:
        sound = b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    except (binascii.Error, ValueError):
        return None
    media_type = next((name for mark, name in _SIGNATURES if sound.startswith(mark)), None)
    if media_type is None:
        sound, media_type = _as_wav(sound), "audio/wav"
    return f"data:{media_type};base64,{base64.b64encode(sound).decode()}", media_type


def _as_wav(samples: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(_SAMPLE_RATE)
        sound.writeframes(samples)
    return file.getvalue()
