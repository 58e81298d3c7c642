"""Versions of operators whose reference in ONNX is compared with ONNX's own vectors by a test of ours."""

from __future__ import annotations

_TRUSTED = ""

TRUSTED: dict[str, frozenset[int]] = {
    words[0]: frozenset(map(int, words[1:]))
    for words in (entry.split() for entry in _TRUSTED.split(";"))
    if words
}
