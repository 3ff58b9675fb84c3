# SPDX-License-Identifier: BSD-2-Clause
"""Training steps of a student in PyTorch, 1.13 (Debian 12) to current: forward, SSLD's symmetric KL to soft labels,
backward, SGD with momentum 0.9 and L2. Prints one JSON line. Written as a careful PyTorch user would: channels_last,
torch.compile, the optimizer's fused form where there is one, gradients freed rather than zeroed."""

import time

import measure
import networks

MODES = {
    "channels_last": "channels-last tensors",
    "contiguous": "PyTorch's default layout",
    "channels_last+compile": "channels-last, compiled (PyTorch 2)",
    "compile": "the default layout, compiled (PyTorch 2)",
}
given = measure.arguments(MODES, "Training steps of a student in PyTorch.")

import torch  # noqa: E402 (after the environment is set)
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import_rss_mb = measure.peak_rss_mb()

# -- The network ----------------------------------------------------------------------------------------------------


def activation(name):
    # In place only where backward needs the output alone; hard-swish in place would first copy its input.
    return {None: None, networks.RELU: nn.ReLU(inplace=True), networks.HARD_SWISH: nn.Hardswish()}[name]


def convolution(row):
    modules = [nn.Conv2d(row.inputs, row.outputs, row.kernel, row.stride, row.kernel // 2, groups=row.groups,
                         bias=row.bias)]
    if row.norm:
        modules.append(nn.BatchNorm2d(row.outputs))
    if row.activation:
        modules.append(activation(row.activation))
    return nn.Sequential(*modules)


class SqueezeExcitation(nn.Module):
    def __init__(self, row):
        super().__init__()
        self.slope = row.slope
        self.gate = nn.Sequential(*map(convolution, networks.squeeze_excitation_convs(row)))

    def forward(self, x):
        gate = self.gate(functional.adaptive_avg_pool2d(x, 1))
        # PyTorch's own function where the slope is PyTorch's.
        gate = functional.hardsigmoid(gate) if self.slope == 1 / 6 else (self.slope * gate + 0.5).clamp(0, 1)
        return x * gate


class Residual(nn.Module):
    def __init__(self, row):
        super().__init__()
        self.body, self.shortcut = sequence(row.body), sequence(row.shortcut)
        self.activation = activation(row.activation)

    def forward(self, x):
        x = self.body(x) + self.shortcut(x)
        return self.activation(x) if self.activation else x


class Dropout(nn.Module):
    def __init__(self, row):
        super().__init__()
        self.rate = row.rate

    def forward(self, x):
        return functional.dropout(x, self.rate, self.training) * (1 - self.rate)


MODULES = {
    networks.Conv: convolution,
    networks.SqueezeExcitation: SqueezeExcitation,
    networks.Residual: Residual,
    networks.MaxPool: lambda row: nn.MaxPool2d(row.kernel, row.stride, row.padding),
    networks.MeanPool: lambda row: nn.AvgPool2d(row.kernel, ceil_mode=True, count_include_pad=False),
    networks.GlobalMeanPool: lambda row: nn.AdaptiveAvgPool2d(1),
    networks.Dropout: Dropout,
    networks.Linear: lambda row: nn.Sequential(nn.Flatten(), nn.Linear(row.inputs, row.outputs)),
}


def sequence(rows):
    return nn.Sequential(*[MODULES[type(row)](row) for row in rows])


# -- The step -------------------------------------------------------------------------------------------------------


def sym_kl(logits, labels):
    """The mean over the batch of sum_c (q - p) ln((q + e) / (p + e)) / 2."""
    p = functional.softmax(logits.float(), 1)
    return ((labels - p) * torch.log((labels + 1e-12) / (p + 1e-12))).sum(1).mean() / 2


def optimizer(model):
    norms = {id(p) for module in model.modules() if isinstance(module, nn.BatchNorm2d) for p in module.parameters()}
    free = set() if networks.decays_batch_norm(given.model) else norms
    groups = [{"params": [p for p in model.parameters() if id(p) not in free], "weight_decay": 4e-5},
              {"params": [p for p in model.parameters() if id(p) in free], "weight_decay": 0}]
    groups = [group for group in groups if group["params"]]
    try:
        return torch.optim.SGD(groups, lr=0.01, momentum=0.9, fused=True)  # one pass over all of them
    except (TypeError, RuntimeError):  # before 2.4
        return torch.optim.SGD(groups, lr=0.01, momentum=0.9)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    created = time.perf_counter()
    model = sequence(networks.build(given.model)).train()
    create_s = time.perf_counter() - created
    networks.check_parameters(given.model, sum(p.numel() for p in model.parameters()))

    images = torch.randn(given.batch, 3, given.size, given.size)
    labels = functional.softmax(torch.randn(given.batch, 1000) * 3, 1)
    if "channels_last" in given.mode:
        model, images = (x.to(memory_format=torch.channels_last) for x in (model, images))
    update = optimizer(model)

    def forward_loss(images, labels):
        return sym_kl(model(images), labels)

    if "compile" in given.mode:
        if not hasattr(torch, "compile"):
            raise SystemExit("PyTorch %s cannot compile" % torch.__version__)
        forward_loss = torch.compile(forward_loss)

    def step():
        update.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=given.precision == "bf16"):
            loss = forward_loss(images, labels)
        loss.backward()
        update.step()
        return loss.item()

    measure.run(given, "PyTorch", torch.__version__, step, create_s, import_rss_mb)


main()
