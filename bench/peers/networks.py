# SPDX-License-Identifier: BSD-2-Clause
"""The networks of the benchmark as data, layer by layer as PaddleClas defines them (mobilenet_v3.py, pp_lcnet.py and
resnet.py in ppcls/arch/backbone/legendary_models). Each peer turns the same rows into modules of its own framework, so
no peer can differ from another by a slip. Standard library only: build() and parameters() need no framework."""

from dataclasses import dataclass

RELU, HARD_SWISH = "relu", "hard_swish"


@dataclass(frozen=True)
class Conv:
    """Convolution with "same" padding for odd kernels, then batch norm if norm, then the activation."""
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    norm: bool = True
    bias: bool = False
    activation: str = None


@dataclass(frozen=True)
class SqueezeExcitation:
    """x * hard_sigmoid(conv(relu(conv(mean x)))), hard_sigmoid(v) = clamp(slope * v + 1/2, 0, 1); reduction by 4."""
    channels: int
    slope: float


@dataclass(frozen=True)
class Residual:
    """activation(body(x) + shortcut(x)); an empty shortcut is the identity."""
    body: tuple
    shortcut: tuple = ()
    activation: str = None


@dataclass(frozen=True)
class MaxPool:
    kernel: int
    stride: int
    padding: int


@dataclass(frozen=True)
class MeanPool:
    """kernel = stride; an incomplete window at the border is averaged over the pixels it has."""
    kernel: int


@dataclass(frozen=True)
class GlobalMeanPool:
    pass


@dataclass(frozen=True)
class Dropout:
    """PaddleClas's downscale_in_infer: in training the mask alone, without a factor."""
    rate: float


@dataclass(frozen=True)
class Linear:
    inputs: int
    outputs: int


# kernel, expanded channels, output channels, squeeze-and-excitation, activation, stride
MOBILENET_V3_LARGE = (
    (3, 16, 16, False, RELU, 1), (3, 64, 24, False, RELU, 2), (3, 72, 24, False, RELU, 1),
    (5, 72, 40, True, RELU, 2), (5, 120, 40, True, RELU, 1), (5, 120, 40, True, RELU, 1),
    (3, 240, 80, False, HARD_SWISH, 2), (3, 200, 80, False, HARD_SWISH, 1), (3, 184, 80, False, HARD_SWISH, 1),
    (3, 184, 80, False, HARD_SWISH, 1), (3, 480, 112, True, HARD_SWISH, 1), (3, 672, 112, True, HARD_SWISH, 1),
    (5, 672, 160, True, HARD_SWISH, 2), (5, 960, 160, True, HARD_SWISH, 1), (5, 960, 160, True, HARD_SWISH, 1),
)

# kernel, output channels, stride, squeeze-and-excitation
PPLCNET = (
    (3, 32, 1, False), (3, 64, 2, False), (3, 64, 1, False), (3, 128, 2, False), (3, 128, 1, False), (3, 256, 2, False),
    (5, 256, 1, False), (5, 256, 1, False), (5, 256, 1, False), (5, 256, 1, False), (5, 256, 1, False),
    (5, 512, 2, True), (5, 512, 1, True),
)


def _head(channels, classes):
    """From the last feature map to the logits, the same in both mobile networks."""
    return (GlobalMeanPool(), Conv(channels, 1280, norm=False, activation=HARD_SWISH), Dropout(0.2),
            Linear(1280, classes))


def _mobilenet_v3_large(classes):
    layers, inputs = [Conv(3, 16, 3, 2, activation=HARD_SWISH)], 16
    for kernel, middle, outputs, excited, activation, stride in MOBILENET_V3_LARGE:
        body = (Conv(inputs, middle, activation=activation),
                Conv(middle, middle, kernel, stride, groups=middle, activation=activation),
                *([SqueezeExcitation(middle, 0.2)] if excited else []),
                Conv(middle, outputs))
        layers += [Residual(body)] if stride == 1 and inputs == outputs else body
        inputs = outputs
    return (*layers, Conv(inputs, 960, activation=HARD_SWISH), *_head(960, classes))


def _pplcnet(classes):
    layers, inputs = [Conv(3, 16, 3, 2, activation=HARD_SWISH)], 16
    for kernel, outputs, stride, excited in PPLCNET:
        layers += (Conv(inputs, inputs, kernel, stride, groups=inputs, activation=HARD_SWISH),
                   *([SqueezeExcitation(inputs, 1 / 6)] if excited else []),
                   Conv(inputs, outputs, activation=HARD_SWISH))
        inputs = outputs
    return (*layers, *_head(inputs, classes))


def _resnet50_vd(classes):
    layers = [Conv(3, 32, 3, 2, activation=RELU), Conv(32, 32, 3, activation=RELU), Conv(32, 64, 3, activation=RELU),
              MaxPool(3, 2, 1)]
    inputs = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        width, outputs = 64 << stage, 256 << stage
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            body = (Conv(inputs, width, activation=RELU), Conv(width, width, 3, stride, activation=RELU),
                    Conv(width, outputs))
            shortcut = ()
            if block == 0:
                shortcut = (*([MeanPool(2)] if stride == 2 else []), Conv(inputs, outputs))
            layers.append(Residual(body, shortcut, RELU))
            inputs = outputs
    return (*layers, GlobalMeanPool(), Linear(inputs, classes))


# name: builder, documented trainable parameters for 1000 classes in millions, L2 on batch norm's scale and shift
NETWORKS = {
    "MobileNetV3_large_x1_0": (_mobilenet_v3_large, 5.480, False),
    "PPLCNet_x1_0": (_pplcnet, 2.953, False),
    "ResNet50_vd": (_resnet50_vd, 25.576, True),
}


def build(name, classes=1000):
    """The layers of a network, first to last."""
    return NETWORKS[name][0](classes)


def decays_batch_norm(name):
    return NETWORKS[name][2]


def parameters(layers):
    """Trainable values of a list of layers."""
    total = 0
    for layer in layers:
        if isinstance(layer, Conv):
            total += layer.outputs * (layer.inputs // layer.groups * layer.kernel ** 2 + layer.bias + 2 * layer.norm)
        elif isinstance(layer, SqueezeExcitation):
            total += parameters(squeeze_excitation_convs(layer))
        elif isinstance(layer, Residual):
            total += parameters(layer.body) + parameters(layer.shortcut)
        elif isinstance(layer, Linear):
            total += layer.outputs * (layer.inputs + 1)
    return total


def squeeze_excitation_convs(layer):
    inner = layer.channels // 4
    return (Conv(layer.channels, inner, norm=False, bias=True, activation=RELU),
            Conv(inner, layer.channels, norm=False, bias=True))


def check_parameters(name, counted):
    """Fail unless a framework's count is that of the rows and, to its three decimals, the documented one."""
    expected, documented = parameters(build(name)), NETWORKS[name][1]
    if counted != expected or round(counted / 1e6, 3) != documented:
        raise SystemExit("%s: the framework counts %d parameters, the rows %d, the documents %.3f million"
                         % (name, counted, expected, documented))
