# SPDX-License-Identifier: BSD-2-Clause
"""Whole networks against PyTorch: the same weights and pixels give the same logits, the same gradient of every parameter, and
the same losses over ten steps. The networks are defined here once more, in PyTorch's terms, so that the zoo is checked too.

Both sides round in single precision, and ReLU turns a rounding difference at zero into a gradient that is there or not: of
ResNet18's first gradients PyTorch in single precision is up to 8e-3 (in the norm) from itself in double. So its batch norms
are shifted for that comparison: few values are near a ReLU's zero then. And the ten steps, which multiply differences, are
small: at ten times the rate PyTorch is 5e-3 from itself in double at their end."""

import sys

from tap import check, main, test

try:
    import torch
except ImportError:
    print("1..0 # SKIP no PyTorch for %s (Debian: python3-torch)" % sys.executable)
    sys.exit()

import numpy
from torch import nn

import ssld

BATCH = 16
CLASSES = 10


class ConvBN(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, activation=None):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = activation or nn.Identity()

    def forward(self, x):
        return self.activation(self.bn(self.conv(x)))


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 4, 1)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x):
        gate = self.conv2(torch.relu(self.conv1(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(gate)


class Separable(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, squeeze_excite):
        super().__init__()
        self.dw_conv = ConvBN(inputs, inputs, kernel, stride, inputs, nn.Hardswish())
        self.se = SqueezeExcite(inputs) if squeeze_excite else nn.Identity()
        self.pw_conv = ConvBN(inputs, outputs, 1, activation=nn.Hardswish())

    def forward(self, x):
        return self.pw_conv(self.se(self.dw_conv(x)))


class PPLCNetSmall(nn.Module):
    """PPLCNet for small images: stem and first strided block at stride 1."""

    def __init__(self, scale, channels):
        super().__init__()

        def width(value):
            rounded = max(8, int(value * scale + 4) // 8 * 8)
            return rounded + 8 if rounded < 0.9 * value * scale else rounded

        rows = {2: [(3, 16, 32, 1, 0)],
                3: [(3, 32, 64, 1, 0), (3, 64, 64, 1, 0)],
                4: [(3, 64, 128, 2, 0), (3, 128, 128, 1, 0)],
                5: [(3, 128, 256, 2, 0)] + [(5, 256, 256, 1, 0)] * 5,
                6: [(5, 256, 512, 2, 1), (5, 512, 512, 1, 1)]}
        self.conv1 = ConvBN(channels, width(16), 3, activation=nn.Hardswish())
        for stage, blocks in rows.items():
            self.add_module("blocks%d" % stage, nn.Sequential(
                *[Separable(width(i), width(o), k, s, se) for k, i, o, s, se in blocks]))
        self.last_conv = nn.Conv2d(width(512), 1280, 1, bias=False)
        self.fc = nn.Linear(1280, CLASSES)

    def forward(self, x):
        x = self.blocks6(self.blocks5(self.blocks4(self.blocks3(self.blocks2(self.conv1(x))))))
        x = nn.functional.hardswish(self.last_conv(x.mean((2, 3), keepdim=True)))
        return self.fc(x.flatten(1))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, shortcut):
        super().__init__()
        self.conv0 = ConvBN(inputs, outputs, 3, stride, activation=nn.ReLU())
        self.conv1 = ConvBN(outputs, outputs, 3)
        self.short = ConvBN(inputs, outputs, 1, stride) if shortcut else nn.Identity()

    def forward(self, x):
        return torch.relu(self.conv1(self.conv0(x)) + self.short(x))


class ResNet18Small(nn.Module):
    """ResNet18 for small images, PaddleClas's: a convolution in the first stage's shortcut too."""

    def __init__(self, channels):
        super().__init__()
        self.stem = nn.Sequential(ConvBN(channels, 64, 3, activation=nn.ReLU()))
        blocks, inputs = [], 64
        for stage in range(4):
            for i in range(2):
                outputs = 64 << stage
                blocks.append(BasicBlock(inputs, outputs, 2 if stage and i == 0 else 1, i == 0))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(512, CLASSES)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


def pair(context, name, network, loss, channels=3, size=28, shift=0, **options):
    """A student and a PyTorch network with its weights; `shift` is added to what every batch norm gives."""
    model = ssld.Model(context, name, classes=CLASSES, channels=channels, height=size, variant=ssld.VARIANT_SMALL, dropout=-1,
                       seed=5)
    student = ssld.Student(context, model, batch=BATCH, loss=loss, **options)
    theirs = dict(network.named_parameters())
    ours = {parameter.name: parameter for parameter in student.parameters}
    network.train()
    check(set(ours) == set(theirs), "parameters differ: %s", sorted(set(ours) ^ set(theirs)))
    for key, parameter in ours.items():
        if key.endswith(".bn.bias"):
            parameter.value = parameter.value + shift
    with torch.no_grad():
        for key, parameter in theirs.items():
            parameter.copy_(torch.from_numpy(ours[key].value.reshape(tuple(parameter.shape))))
    return student, ours, theirs


def data(channels, size, seed):
    random = numpy.random.default_rng(seed)
    pixels = random.standard_normal((BATCH, channels, size, size)).astype(numpy.float32)
    logits = (2 * random.standard_normal((BATCH, CLASSES))).astype(numpy.float32)
    classes = random.integers(0, CLASSES, BATCH).astype(numpy.int32)
    return pixels, logits, classes


def torch_loss(kind, z, teacher, classes):
    if kind == "hard_ce":
        return nn.functional.cross_entropy(z, torch.from_numpy(classes.astype(numpy.int64)))
    p, q = torch.softmax(z, 1), torch.softmax(torch.from_numpy(teacher), 1)
    return 0.5 * ((q - p) * torch.log((q + 1e-12) / (p + 1e-12))).sum(1).mean()


def difference(ours, theirs):
    """Norm of the difference, relative to PyTorch's norm."""
    return float(numpy.linalg.norm(ours - theirs) / max(numpy.linalg.norm(theirs), 1e-12))


def one_step(name, network, loss, shift=0):
    """Logits and every gradient."""
    torch.manual_seed(0)
    torch.set_num_threads(2)
    with ssld.Context(threads=2) as context:
        student, ours, theirs = pair(context, name, network, loss, shift=shift)
        pixels, teacher, classes = data(3, 28, 7)
        batch = ssld.Batch.wrap(context, pixels, labels=classes)
        labels = ssld.Labels.wrap_logits(context, teacher)
        z = network(torch.from_numpy(pixels))
        value = torch_loss(loss, z, teacher, classes)
        value.backward()
        logits = student.forward(batch)
        error = difference(logits, z.detach().numpy())
        check(error < 1e-4, "logits differ by %g", error)
        got = student.backward(batch, labels)
        check(abs(got - value.item()) < 1e-4 * abs(value.item()), "loss %g, PyTorch's is %g", got, value.item())
        for key, parameter in theirs.items():
            error = difference(ours[key].gradient.reshape(tuple(parameter.shape)), parameter.grad.numpy())
            check(error < 1e-3, "gradient of %s differs by %g", key, error)
        student.close()


def ten_steps(name, network, loss):
    """SGD with momentum and L2 on all but batch norm, on changing batches."""
    torch.set_num_threads(2)
    rate, momentum, l2 = 0.002, 0.9, 1e-3
    with ssld.Context(threads=2) as context:
        student, ours, theirs = pair(context, name, network, loss, learning_rate=rate, momentum=momentum, l2=l2)
        norm = [p for key, p in theirs.items() if ".bn." in key]
        rest = [p for key, p in theirs.items() if ".bn." not in key]
        optimizer = torch.optim.SGD([{"params": rest, "weight_decay": l2}, {"params": norm}], lr=rate, momentum=momentum)
        for step in range(10):
            pixels, teacher, classes = data(3, 28, 100 + step)
            batch = ssld.Batch.wrap(context, pixels, labels=classes)
            labels = ssld.Labels.wrap_logits(context, teacher)
            optimizer.zero_grad()
            value = torch_loss(loss, network(torch.from_numpy(pixels)), teacher, classes)
            value.backward()
            optimizer.step()
            got = student.step(batch, labels).loss
            error = abs(got - value.item()) / abs(value.item())
            check(error < 1e-3, "step %d: loss %g, PyTorch's is %g", step, got, value.item())
        student.close()


@test
def pplcnet_gives_pytorchs_logits_and_gradients():
    one_step("PPLCNet_x0_25", PPLCNetSmall(0.25, 3), "sym_kl")


@test
def resnet18_gives_pytorchs_logits_and_gradients():
    one_step("ResNet18", ResNet18Small(3), "hard_ce", shift=3)


@test
def pplcnet_learns_ten_steps_as_pytorch_does():
    ten_steps("PPLCNet_x0_25", PPLCNetSmall(0.25, 3), "sym_kl")


@test
def resnet18_learns_ten_steps_as_pytorch_does():
    ten_steps("ResNet18", ResNet18Small(3), "sym_kl")


main()
