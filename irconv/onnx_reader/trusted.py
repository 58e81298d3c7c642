"""Versions of operators whose reference in ONNX a test of ours vouches for."""

from __future__ import annotations

# tests/test_import_trusted.py compares each of them, and fails for one that it cannot compare
_TRUSTED = """
AffineGrid 20; Attention 23 24 25; BitCast 26; BlackmanWindow 17; CausalConvWithState 27;
CenterCropPad 18; Compress 11 28; ConvInteger 10; CumProd 26; DFT 17 20; DeformConv 19 22; Det 11
22; Dropout 22; DynamicQuantizeLinear 11; Einsum 12 28; EyeLike 9 22; GRU 7 14 22;
GatherElements 11 13; GatherND 11 12 13; GridSample 20 22; HammingWindow 17; HannWindow 17; LSTM 7
14 22; LinearAttention 27; MatMulInteger 10; MaxUnpool 9 11 22; MelWeightMatrix 17;
NegativeLogLikelihoodLoss 12 13 22; NonMaxSuppression 11; NonZero 9 13; OneHot 9 11 28;
QLinearConv 10; QLinearMatMul 10 21; RNN 7 14 22; ReverseSequence 10 28; RoiAlign 16 22;
RotaryEmbedding 23; Scatter 9; ScatterElements 11 13 16 18; ScatterND 11 13 16 18; STFT 17;
SoftmaxCrossEntropyLoss 12 13; SwiGLU 28; TensorScatter 24; TfIdfVectorizer 9; TopK 10 11 24;
Trilu 14; Unique 11 28; ml.ArrayFeatureExtractor 1; ml.Binarizer 1; preview.FlexAttention 1;
training.Adagrad 1; training.Adam 1; training.Momentum 1
"""

TRUSTED: dict[str, frozenset[int]] = {
    words[0]: frozenset(map(int, words[1:]))
    for words in (entry.split() for entry in _TRUSTED.split(";"))
}

# old versions that ONNX's reference lacks, under another name or version of the same meaning
STANDS_FOR: dict[tuple[str, int], tuple[str, int]] = {
    ("Scatter", 9): ("ScatterElements", 11),
}
