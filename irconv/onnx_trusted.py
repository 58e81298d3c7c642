"""Versions of operators whose reference in ONNX a test compares with ONNX's vectors or onnxruntime."""

from __future__ import annotations

# tests/test_import_trusted.py compares each of them, and fails for one that it cannot compare
_TRUSTED = """
AffineGrid 20; Attention 23; BitCast 26; BlackmanWindow 17; CenterCropPad 18; Compress 11;
CumProd 26; DFT 17 20; DeformConv 19 22; DequantizeLinear 10 13 19 21 23 24 25; Det 11 22;
DynamicQuantizeLinear 11; Einsum 12; EyeLike 9 22; GRU 7 14 22; GatherElements 11 13; GatherND
11 12 13; HammingWindow 17; HannWindow 17; LSTM 7 14 22; MatMulInteger 10; MaxUnpool 9 11 22;
MelWeightMatrix 17; NegativeLogLikelihoodLoss 12 13 22; NonMaxSuppression 11; NonZero 9 13;
OneHot 9 11; QLinearMatMul 10 21; QuantizeLinear 10 13 19 21 23 24 25; RNN 7 14 22;
ReverseSequence 10; RotaryEmbedding 23; STFT 17; Scatter 9; ScatterElements 11 13 16 18;
ScatterND 11 13 16 18; SoftmaxCrossEntropyLoss 12 13; TensorScatter 24; TfIdfVectorizer 9; Trilu
14; Unique 11
"""

TRUSTED: dict[str, frozenset[int]] = {
    words[0]: frozenset(map(int, words[1:]))
    for words in (entry.split() for entry in _TRUSTED.split(";"))
}

# old versions that ONNX's reference lacks, under another name or version of the same meaning
STANDS_FOR: dict[tuple[str, int], tuple[str, int]] = {
    ("DequantizeLinear", 10): ("DequantizeLinear", 19),
    ("DequantizeLinear", 13): ("DequantizeLinear", 19),
    ("Scatter", 9): ("ScatterElements", 11),
}
