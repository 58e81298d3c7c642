"""Trains the small digit classifier of `irconv demo` and writes its model and held-out images.

Needs torch and scikit-learn, which irconv itself never imports:

    python examples/train_digits.py                     # rewrites irconv/demo_data
    python examples/train_digits.py --cross-validate    # how the settings below were judged
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

try:
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedKFold, train_test_split
    from torch import Tensor, nn
    from torch.nn import functional
except ModuleNotFoundError as error:
    package = str(error.name).partition(".")[0]
    sys.exit(f"{package} is missing; in a checkout: pip install torch '.[examples]'")

DATA_FOLDER = Path(__file__).resolve().parents[1] / "irconv" / "demo_data"
SPLIT_SEED = 0  # decides which quarter is held out; part of the published data, so never tuned
BATCH = 64
BATCHNORM_PARTS = {
    "weight": "scale",
    "bias": "bias",
    "running_mean": "mean",
    "running_var": "var",
}
FLOAT32_ROUNDING = 1e-5  # no top-1/top-2 margin may be this small: backends must agree on labels

Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters, chosen by 4-fold cross-validation inside the training three quarters.

    The held-out quarter took no part in the choice: it is scored once, after training. Over
    two seeds these settings score 99.7 %, without augmentation 99.2 %; half or 2.5 times the
    learning rate, or 100 epochs, stays within 0.1 % of them.
    Label smoothing is kept also because it keeps the softmax away from one-hot, where
    a numerical difference between two backends would be invisible.
    """

    epochs: int = 60
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    degrees: float = 10.0
    pixels: float = 0.7
    zoom: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Digits:
    """The images (uint8 `[n, 1, 8, 8]`, values 0..16) and labels (uint8 `[n]`) of one part."""

    images: Images
    labels: Labels

    def take(self, index: NDArray[np.int64]) -> Digits:
        return Digits(self.images[index], self.labels[index])


def load_parts() -> tuple[Digits, Digits]:
    """The training three quarters and the stratified quarter that is held out."""
    raw = load_digits()
    digits = Digits(raw.images.astype(np.uint8)[:, None], raw.target.astype(np.uint8))
    train, test = train_test_split(
        np.arange(len(digits.labels)),
        test_size=0.25,
        stratify=digits.labels,
        random_state=SPLIT_SEED,
    )
    return digits.take(np.sort(train)), digits.take(np.sort(test))


def build_network() -> nn.ModuleDict:
    """The layers that hold weights, under the names they have in the ONNX file."""
    return nn.ModuleDict(
        {
            "conv1": nn.Conv2d(1, 16, 3, padding=1, bias=False),
            "bn1": nn.BatchNorm2d(16),
            "conv2": nn.Conv2d(16, 32, 3, padding=1),
            "conv3": nn.Conv2d(32, 32, 3, padding=1, bias=False),
            "bn3": nn.BatchNorm2d(32),
            "conv4": nn.Conv2d(32, 32, 3, padding=1, bias=False),
            "bn4": nn.BatchNorm2d(32),
            "fc1": nn.Linear(128, 64),
            "fc2": nn.Linear(64, 10),
        }
    )


def logits_of(net: nn.ModuleDict, image: Tensor, mean: float, std: float) -> Tensor:
    """The network up to its softmax: `[N, 1, 8, 8]` with values 0..16 -> `[N, 10]`."""
    x = (image - mean) / std
    x = functional.relu(net["bn1"](net["conv1"](x)))
    x = functional.max_pool2d(functional.relu(net["conv2"](x)), 2)
    residual = functional.relu(net["bn3"](net["conv3"](x)))
    x = functional.relu(net["bn4"](net["conv4"](residual)) + x)
    x = functional.avg_pool2d(x, 2).flatten(1)
    logits: Tensor = net["fc2"](functional.relu(net["fc1"](x)))
    return logits


def augment(image: Tensor, settings: Settings, random: torch.Generator) -> Tensor:
    """Rotates, zooms and shifts each image a little, at random."""
    spread = 2 * torch.rand(4, len(image), generator=random) - 1
    angle = spread[0] * math.radians(settings.degrees)
    scale = 1 + spread[1] * settings.zoom
    shift = spread[2:] * settings.pixels / 4  # the grid spans -1..1 over eight pixels
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(image.shape), align_corners=False)
    return functional.grid_sample(image, grid, align_corners=False)


@dataclass(frozen=True)
class Trained:
    """A trained network in evaluation mode, with the normalisation it was trained with."""

    net: nn.ModuleDict
    mean: float
    std: float

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities, float32 `[n, 10]`."""
        with torch.no_grad():
            image = torch.from_numpy(images.astype(np.float32))
            prob = logits_of(self.net, image, self.mean, self.std).softmax(1)
        return np.asarray(prob.numpy(), dtype=np.float32)


def train(digits: Digits, settings: Settings) -> Trained:
    """Trains on all of `digits`; the same settings and versions give the same weights."""
    torch.manual_seed(settings.seed)
    random = torch.Generator().manual_seed(settings.seed)
    net = build_network().train()
    images = torch.from_numpy(digits.images.astype(np.float32))
    labels = torch.from_numpy(digits.labels.astype(np.int64))
    # Two decimals, so that the listing shows the constants as they are.
    mean, std = round(float(images.mean()), 2), round(float(images.std()), 2)
    optimizer = torch.optim.AdamW(
        net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        settings.learning_rate,
        epochs=settings.epochs,
        steps_per_epoch=len(labels) // BATCH,
    )
    for _ in range(settings.epochs):
        order = torch.randperm(len(labels), generator=random)
        for step in range(len(labels) // BATCH):  # the rest, under one batch, waits an epoch
            index = order[step * BATCH : (step + 1) * BATCH]
            logits = logits_of(net, augment(images[index], settings, random), mean, std)
            loss = functional.cross_entropy(
                logits, labels[index], label_smoothing=settings.label_smoothing
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return Trained(net.eval(), mean, std)


def accuracy(prob: NDArray[np.float32], labels: Labels) -> float:
    return float(np.mean(prob.argmax(1) == labels))


def cross_validate(digits: Digits, settings: Settings) -> list[float]:
    """The accuracy on each of four stratified folds of the training part."""
    folds = StratifiedKFold(4, shuffle=True, random_state=SPLIT_SEED)
    scores = []
    for fit, check in folds.split(digits.labels, digits.labels):
        trained = train(digits.take(fit), settings)
        scores.append(accuracy(trained.predict(digits.images[check]), digits.labels[check]))
    return scores


def weights_of(trained: Trained) -> Arrays:
    """The constants of the ONNX file by name, in the order in which the nodes use them."""
    arrays = {"mean": np.array(trained.mean, np.float32), "std": np.array(trained.std, np.float32)}
    for name, layer in trained.net.items():
        is_norm = isinstance(layer, nn.BatchNorm2d)
        parts = BATCHNORM_PARTS if is_norm else {"weight": "weight", "bias": "bias"}
        for torch_name, onnx_name in parts.items():
            value = getattr(layer, torch_name)
            if value is not None:
                arrays[f"{name}.{onnx_name}"] = value.detach().numpy()
    return arrays


def onnx_nodes() -> list[onnx.NodeProto]:
    """The graph, one line a node; each node bears the name of its result."""

    def node(op: str, inputs: str, result: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs.split(), [result], name=result, **attributes)

    def bn(layer: str) -> str:
        return " ".join(f"{layer}.{part}" for part in BATCHNORM_PARTS.values())

    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return [
        node("Sub", "image mean", "centred"),
        node("Div", "centred std", "normalised"),
        node("Conv", "normalised conv1.weight", "conv1", **conv),
        node("BatchNormalization", f"conv1 {bn('bn1')}", "bn1", epsilon=1e-5),
        node("Relu", "bn1", "relu1"),
        node("Conv", "relu1 conv2.weight conv2.bias", "conv2", **conv),
        node("Relu", "conv2", "relu2"),
        node("MaxPool", "relu2", "pool2", **pool),
        node("Conv", "pool2 conv3.weight", "conv3", **conv),
        node("BatchNormalization", f"conv3 {bn('bn3')}", "bn3", epsilon=1e-5),
        node("Relu", "bn3", "relu3"),
        node("Conv", "relu3 conv4.weight", "conv4", **conv),
        node("BatchNormalization", f"conv4 {bn('bn4')}", "bn4", epsilon=1e-5),
        node("Add", "bn4 pool2", "add4"),
        node("Relu", "add4", "relu4"),
        node("AveragePool", "relu4", "pool4", **pool),
        node("Flatten", "pool4", "flat", axis=1),
        node("Gemm", "flat fc1.weight fc1.bias", "fc1", transB=1),
        node("Relu", "fc1", "relu5"),
        node("Gemm", "relu5 fc2.weight fc2.bias", "fc2", transB=1),
        node("Softmax", "fc2", "prob", axis=1),
    ]


def to_onnx(trained: Trained) -> onnx.ModelProto:
    """The trained network as a checked ONNX model (opset 17, IR 8, symbolic batch `N`)."""
    graph = helper.make_graph(
        onnx_nodes(),
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(array, name) for name, array in weights_of(trained).items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(
        graph, ir_version=8, opset_imports=opset, producer_name="irconv-train-digits"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def run_onnx(model: onnx.ModelProto, images: Images) -> NDArray[np.float32]:
    """What onnxruntime answers for all `images`: probabilities, float32 `[n, 10]`."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (prob,) = session.run(["prob"], {"image": images.astype(np.float32)})
    return np.asarray(prob, dtype=np.float32)


def smallest_margin(prob: NDArray[np.float32]) -> float:
    """The least difference between the best and the second best class of any image."""
    best = np.sort(prob, axis=1)
    return float((best[:, -1] - best[:, -2]).min())


def write(folder: Path, model: onnx.ModelProto, test: Digits) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "digits.onnx")
    np.savez_compressed(folder / "digits_test.npz", images=test.images, labels=test.labels)
    for name in ("digits.onnx", "digits_test.npz"):
        print(f"wrote {folder / name}: {(folder / name).stat().st_size} bytes")


def report(trained: Trained, model: onnx.ModelProto, test: Digits) -> None:
    """Prints the held-out figures; raises where the file is not what was trained."""
    expected, prob = trained.predict(test.images), run_onnx(model, test.images)
    error, margin = float(np.abs(expected - prob).max()), smallest_margin(prob)
    wrong = int((prob.argmax(1) != test.labels).sum())
    score = accuracy(prob, test.labels)
    print(f"held out: accuracy {score:.2%} ({wrong} wrong of {len(prob)})")
    print(
        f"smallest top-1/top-2 margin {margin:.2e}; onnxruntime differs from torch by {error:.1e}"
    )
    if error > FLOAT32_ROUNDING:
        raise RuntimeError(f"onnxruntime and torch differ by {error:.1e}")
    if margin <= 10 * FLOAT32_ROUNDING:
        raise RuntimeError(f"an image is {margin:.1e} from a tie; train with another --seed")
    if score < 0.98:
        raise RuntimeError(f"accuracy {score:.2%} is below the 98 % that the demo states")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=DATA_FOLDER, help="folder to write to")
    parser.add_argument("--seed", type=int, default=Settings.seed, help="seed of the training")
    parser.add_argument("--cross-validate", action="store_true", help="judge the settings only")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order: the same weights whatever the machine's load
    torch.use_deterministic_algorithms(True)
    settings = Settings(seed=options.seed)
    fit, test = load_parts()
    if options.cross_validate:
        scores = cross_validate(fit, settings)
        print("folds:", " ".join(f"{s:.2%}" for s in scores), f"mean {np.mean(scores):.2%}")
        return
    trained = train(fit, settings)
    model = to_onnx(trained)
    report(trained, model, test)
    write(options.output, model, test)


if __name__ == "__main__":
    main()
