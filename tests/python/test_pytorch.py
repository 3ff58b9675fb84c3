# SPDX-License-Identifier: BSD-2-Clause
"""Whole networks against PyTorch: the same weights and pixels give the same logits, the same gradient of every parameter, and
the same losses over ten steps. The networks are defined here once more, in PyTorch's terms, so that the zoo is checked too.

Both sides round in single precision, and ReLU turns a rounding difference at zero into a gradient that is there or not: of
ResNet18's first gradients PyTorch in single precision is up to 8e-3 (in the norm) from itself in double. So its batch norms
are shifted for that comparison: few values are near a ReLU's zero then. And the ten steps, which multiply differences, are
small: at ten times the rate PyTorch is 5e-3 from itself in double at their end.

Optimizers and schedules are compared by themselves: PyTorch's are given our gradients, so that only their own rounding counts."""

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


def ten_steps(name, network, loss, nesterov=False):
    """SGD with momentum and L2 on all but batch norm, on changing batches."""
    torch.set_num_threads(2)
    rate, momentum, l2 = 0.002, 0.9, 1e-3
    with ssld.Context(threads=2) as context:
        student, ours, theirs = pair(context, name, network, loss, learning_rate=rate, momentum=momentum, l2=l2,
                                     nesterov=nesterov)
        norm = [p for key, p in theirs.items() if ".bn." in key]
        rest = [p for key, p in theirs.items() if ".bn." not in key]
        optimizer = torch.optim.SGD([{"params": rest, "weight_decay": l2}, {"params": norm}], lr=rate, momentum=momentum,
                                    nesterov=nesterov)
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


def follow(make_optimizer, make_scheduler=None, clip_norm=None, ema_decay=None, **options):
    """Ten updates of a student and of a PyTorch optimizer that is given its gradients: make_optimizer(params of batch norm,
    of the last layer, of the others), make_scheduler(optimizer)."""
    with ssld.Context(threads=2) as context:
        model = ssld.Model(context, "PPLCNet_x0_25", classes=CLASSES, channels=3, height=28, variant=ssld.VARIANT_SMALL, seed=5)
        student = ssld.Student(context, model, batch=BATCH, clip_norm=clip_norm, ema_decay=ema_decay, **options)
        ours = student.parameters
        theirs = {parameter.name: nn.Parameter(torch.from_numpy(parameter.value)) for parameter in ours}
        average = {key: parameter.detach().clone() for key, parameter in theirs.items()}
        norm = [p for key, p in theirs.items() if ".bn." in key]
        last = [p for key, p in theirs.items() if key.startswith("fc.")]
        rest = [p for key, p in theirs.items() if ".bn." not in key and not key.startswith("fc.")]
        optimizer = make_optimizer(norm, last, rest)
        scheduler = make_scheduler(optimizer) if make_scheduler else None
        start = {parameter.name: parameter.value for parameter in ours}
        for step in range(10):
            pixels, teacher, classes = data(3, 28, 200 + step)
            batch = ssld.Batch.wrap(context, pixels, labels=classes)
            student.forward(batch)
            student.backward(batch, ssld.Labels.wrap_logits(context, teacher))
            for parameter in ours:
                theirs[parameter.name].grad = torch.from_numpy(parameter.gradient)
            if clip_norm:
                torch.nn.utils.clip_grad_norm_(theirs.values(), clip_norm)
            student.update()
            optimizer.step()
            if scheduler:
                scheduler.step()
            for key, parameter in theirs.items():
                average[key] += (1 - (ema_decay or 0)) * (parameter.detach() - average[key])
        for parameter in ours:
            # Against how far the weights went: a wrong update cannot hide behind large weights. Ten roundings of a weight,
            # and float options (0.999 as a float is 1e-8 off), stay far below it.
            went = numpy.linalg.norm(theirs[parameter.name].detach().numpy() - start[parameter.name])
            error = numpy.linalg.norm(parameter.value - theirs[parameter.name].detach().numpy())
            check(error <= 1e-3 * went + 1e-7, "%s differs by %g after going %g", parameter.name, error, went)
        if ema_decay:
            for parameter in ssld.Student(context, student.get_ema_model(), batch=BATCH).parameters:
                went = numpy.linalg.norm(average[parameter.name].numpy() - start[parameter.name])
                error = numpy.linalg.norm(parameter.value - average[parameter.name].numpy())
                check(error <= 1e-3 * went + 1e-7, "average of %s differs by %g after going %g", parameter.name, error, went)
        student.close()


@test
def sgd_with_nesterov_and_groups_is_pytorchs():
    follow(lambda norm, last, rest: torch.optim.SGD(
        [{"params": norm}, {"params": last, "lr": 0.1, "weight_decay": 0}, {"params": rest, "weight_decay": 1e-2}], lr=0.01,
        momentum=0.9, nesterov=True),
        learning_rate=0.01, nesterov=True, l2=1e-2, parameter_groups="fc.*: rate=10, decay=0")


@test
def adamw_with_clipping_and_average_is_pytorchs():
    follow(lambda norm, last, rest: torch.optim.AdamW(
        [{"params": norm, "weight_decay": 0}, {"params": last + rest}], lr=1e-3, weight_decay=0.5, betas=(0.8, 0.99)),
        optimizer=ssld.OPTIMIZER_ADAMW, learning_rate=1e-3, weight_decay=0.5, beta1=0.8, beta2=0.99, clip_norm=0.25,
        ema_decay=0.75)


@test
def one_cycle_training_is_pytorchs():
    follow(lambda norm, last, rest: torch.optim.SGD(norm + last + rest, lr=0.1, momentum=0.9),
           lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=11, cycle_momentum=False),
           learning_rate=0.02, schedule=ssld.SCHEDULE_ONE_CYCLE, total_steps=11)


def rates(scheduler_of, **options):
    """The rates of ten steps with rate 0.1, ours and those of a PyTorch scheduler."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = scheduler_of(optimizer)
    with ssld.Context(threads=2) as context:
        model = ssld.Model(context, "PPLCNet_x0_25", classes=CLASSES, channels=1, height=28, variant=ssld.VARIANT_SMALL)
        student = ssld.Student(context, model, batch=2, loss="hard_ce", learning_rate=0.1, parameter_groups="*: rate=0",
                               **options)
        batch = ssld.Batch.wrap(context, data(1, 28, 9)[0][:2], labels=[0, 1])
        for step in range(10):
            ours, theirs = student.step(batch).learning_rate, scheduler.get_last_lr()[0]
            # Options are single precision.
            check(abs(ours - theirs) < 1e-6 * 0.1, "step %d: %g, PyTorch's is %g", step, ours, theirs)
            optimizer.step()
            scheduler.step()
        student.close()


@test
def schedules_are_pytorchs():
    schedulers = torch.optim.lr_scheduler
    for total in (11, 15, 40):
        rates(lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=total, pct_start=0.4, div_factor=10, final_div_factor=50),
              schedule=ssld.SCHEDULE_ONE_CYCLE, total_steps=total, rise=0.4, start_divisor=10, final_divisor=50)
    rates(lambda o: schedulers.CosineAnnealingLR(o, 12, eta_min=0.01), schedule=ssld.SCHEDULE_COSINE, total_steps=12,
          final_rate=0.01)
    rates(lambda o: schedulers.StepLR(o, 3, gamma=0.5), schedule=ssld.SCHEDULE_STEP, decay_steps=3, gamma=0.5)
    rates(lambda o: schedulers.MultiStepLR(o, [2, 3, 7], gamma=0.2), schedule=ssld.SCHEDULE_MULTISTEP, milestones=[2, 3, 7],
          gamma=0.2)


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
def pplcnet_learns_ten_steps_with_nesterov_as_pytorch_does():
    ten_steps("PPLCNet_x0_25", PPLCNetSmall(0.25, 3), "sym_kl", nesterov=True)


@test
def resnet18_learns_ten_steps_as_pytorch_does():
    ten_steps("ResNet18", ResNet18Small(3), "sym_kl")


main()
