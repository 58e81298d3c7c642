"""Activations as the engine takes them: clamp bounds, or a named second pass."""

from __future__ import annotations

from math import isnan

from irconv.backends.numba_cpu.steps import Epilogue
from irconv.op import Op
from irconv.ops import activation as act
from irconv.ops.fused import Clamp


def epilogue(op: Op | None) -> Epilogue | None:
    """The engine's epilogue of an activation; None where it has none."""
    match op:
        case None:
            return Epilogue()
        case act.Relu():
            return Epilogue(low=0.0)
        case Clamp() if not (isnan(op.min) or isnan(op.max)):
            return Epilogue(low=op.min, high=op.max)
        case act.LeakyRelu():
            return Epilogue(activation="leaky_relu", alpha=op.alpha)
        case act.ThresholdedRelu():
            return Epilogue(activation="thresholded_relu", alpha=op.alpha)
        case act.Sigmoid():
            return Epilogue(activation="sigmoid")
        case act.Tanh():
            return Epilogue(activation="tanh")
        case act.HardSigmoid():
            return Epilogue(activation="hard_sigmoid", alpha=op.alpha, beta=op.beta)
        case act.HardSwish():
            return Epilogue(activation="hard_swish", alpha=1 / 6, beta=0.5)
    return _exponential(op)


def _exponential(op: Op) -> Epilogue | None:
    match op:
        case act.Elu():
            return Epilogue(activation="elu", alpha=op.alpha)
        case act.Selu():
            return Epilogue(activation="selu", alpha=op.alpha, beta=op.gamma)
        case act.Celu() if op.alpha > 0:
            return Epilogue(activation="celu", alpha=op.alpha)
        case act.Softplus():
            return Epilogue(activation="softplus")
        case act.Softsign():
            return Epilogue(activation="softsign")
        case act.Swish():
            return Epilogue(activation="swish", alpha=op.alpha)
        case act.Mish():
            return Epilogue(activation="mish")
    return None
