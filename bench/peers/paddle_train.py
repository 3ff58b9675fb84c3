# SPDX-License-Identifier: BSD-2-Clause
"""Training steps of a student in PaddlePaddle, PaddleClas's own framework: forward, SSLD's symmetric KL to soft labels,
backward, Momentum 0.9 with L2. Prints one JSON line. PaddlePaddle 3 runs oneDNN's primitives only in programs made by
to_static, whatever the flag says (ONEDNN_VERBOSE=1 shows it); elsewhere it has kernels of its own."""

import os
import time

import measure
import networks

MODES = {
    "eager": "dynamic graph, oneDNN off",
    "static": "to_static, oneDNN off",
    "static+onednn": "to_static, oneDNN on",
}
given = measure.arguments(MODES, "Training steps of a student in PaddlePaddle.")
for name in ("FLAGS_use_onednn", "FLAGS_use_mkldnn"):  # the newer and the older name
    os.environ[name] = "1" if "onednn" in given.mode else "0"

import paddle  # noqa: E402 (after the environment is set)
from paddle import nn  # noqa: E402
from paddle.nn import functional  # noqa: E402

import_rss_mb = measure.peak_rss_mb()

# -- The network ----------------------------------------------------------------------------------------------------


def activation(name):
    return {None: None, networks.RELU: nn.ReLU(), networks.HARD_SWISH: nn.Hardswish()}[name]


def convolution(row):
    layers = [nn.Conv2D(row.inputs, row.outputs, row.kernel, row.stride, row.kernel // 2, groups=row.groups,
                        bias_attr=None if row.bias else False)]
    if row.norm:
        layers.append(nn.BatchNorm2D(row.outputs))
    if row.activation:
        layers.append(activation(row.activation))
    return nn.Sequential(*layers)


class SqueezeExcitation(nn.Layer):
    def __init__(self, row):
        super().__init__()
        self.slope = row.slope
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.gate = nn.Sequential(*map(convolution, networks.squeeze_excitation_convs(row)))

    def forward(self, x):
        return x * functional.hardsigmoid(self.gate(self.pool(x)), slope=self.slope, offset=0.5)


class Residual(nn.Layer):
    def __init__(self, row):
        super().__init__()
        self.body = sequence(row.body)
        self.shortcut = sequence(row.shortcut) if row.shortcut else None
        self.activation = activation(row.activation)

    def forward(self, x):
        x = self.body(x) + (x if self.shortcut is None else self.shortcut(x))
        return x if self.activation is None else self.activation(x)


MODULES = {
    networks.Conv: convolution,
    networks.SqueezeExcitation: SqueezeExcitation,
    networks.Residual: Residual,
    networks.MaxPool: lambda row: nn.MaxPool2D(row.kernel, row.stride, row.padding),
    networks.MeanPool: lambda row: nn.AvgPool2D(row.kernel, ceil_mode=True),  # leaves out padding by default
    networks.GlobalMeanPool: lambda row: nn.AdaptiveAvgPool2D(1),
    networks.Dropout: lambda row: nn.Dropout(row.rate, mode="downscale_in_infer"),
    networks.Linear: lambda row: nn.Sequential(nn.Flatten(), nn.Linear(row.inputs, row.outputs)),
}


def sequence(rows):
    return nn.Sequential(*[MODULES[type(row)](row) for row in rows])


class Training(nn.Layer):
    """From pixels and labels to the loss: the mean over the batch of sum_c (q - p) ln((q + e) / (p + e)) / 2."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, labels):
        p = functional.softmax(self.network(images).astype("float32"))
        # The mean comes last: with oneDNN on, PaddlePaddle 3.3 crashes on a program that ends with a sum or a scaling.
        return (((labels - p) * paddle.log((labels + 1e-12) / (p + 1e-12))).sum(1) / 2).mean()


# -- The step -------------------------------------------------------------------------------------------------------


def optimizer(model):
    norms = {id(p) for layer in model.sublayers() if isinstance(layer, nn.BatchNorm2D) for p in layer.parameters()}
    free = set() if networks.decays_batch_norm(given.model) else norms
    groups = [{"params": [p for p in model.parameters() if id(p) not in free], "weight_decay": 4e-5},
              {"params": [p for p in model.parameters() if id(p) in free], "weight_decay": 0.0}]
    return paddle.optimizer.Momentum(0.01, 0.9, parameters=[group for group in groups if group["params"]])


def refuse_bf16_that_is_f32():
    """On CPUs auto_cast may change nothing at all; then there is no bf16 to measure."""
    with paddle.amp.auto_cast(dtype="bfloat16"):
        if nn.Conv2D(3, 16, 3)(paddle.zeros([1, 3, 8, 8])).dtype != paddle.bfloat16:
            raise SystemExit("PaddlePaddle %s has no bf16 training here: auto_cast leaves convolutions in f32"
                             % paddle.__version__)


def main():
    paddle.seed(0)
    paddle.set_device("cpu")
    if given.precision == "bf16":
        refuse_bf16_that_is_f32()
    created = time.perf_counter()
    model = Training(sequence(networks.build(given.model)))
    model.train()
    create_s = time.perf_counter() - created
    networks.check_parameters(given.model, sum(p.size for p in model.parameters() if not p.stop_gradient))

    images = paddle.randn([given.batch, 3, given.size, given.size])
    labels = functional.softmax(paddle.randn([given.batch, 1000]) * 3)
    update = optimizer(model)
    if "static" in given.mode:
        model = paddle.jit.to_static(model, full_graph=True)

    def step():
        with paddle.amp.auto_cast(given.precision == "bf16", dtype="bfloat16"):
            loss = model(images, labels)
        loss.backward()
        update.step()
        update.clear_grad(set_to_zero=False)
        return float(loss)

    measure.run(given, "PaddlePaddle", paddle.__version__, step, create_s, import_rss_mb)


main()
