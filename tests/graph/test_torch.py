#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Files that PyTorch exports are read with the right sizes: test_torch.py MODEL_INFO. TAP; skipped without PyTorch."""
import os
import subprocess
import sys
import tempfile

try:
    import torch
    from torch import nn
except ImportError:
    print("1..0 # SKIP python3-torch is not installed")
    sys.exit(0)


class Block(nn.Module):
    """ResNet's basic block, with a convolution in the shortcut where shapes change."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.short = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.short = nn.Sequential(nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False),
                                       nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.short(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [16, 16, 32, 64]
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                                  nn.MaxPool2d(3, 2, 1))
        self.blocks = nn.Sequential(*[Block(widths[i], widths[i + 1], 1 if i == 0 else 2) for i in range(3)])
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(self.stem(x))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 4, 1)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x):
        gate = x.mean([2, 3], keepdim=True)
        return x * nn.functional.hardsigmoid(self.conv2(torch.relu(self.conv1(gate))))


class PPLCNet(nn.Module):
    """Depthwise and pointwise convolutions with hard swish, as PPLCNet has them."""

    def __init__(self):
        super().__init__()
        layers, channels = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish()], 8
        for kernel, outputs, stride, gate in [(3, 16, 1, False), (3, 32, 2, False), (5, 64, 2, True)]:
            layers += [nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False),
                       nn.BatchNorm2d(channels), nn.Hardswish()]
            layers += [SqueezeExcite(channels)] if gate else []
            layers += [nn.Conv2d(channels, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Hardswish()]
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.last = nn.Conv2d(64, 128, 1, bias=False)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(128, 10)

    def forward(self, x):
        x = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        x = self.dropout(nn.functional.relu6(nn.functional.hardswish(self.last(x))))
        return torch.softmax(self.fc(x.flatten(1)), 1)


class Mixed(nn.Module):
    """Channels split, sliced and joined, and every activation with a spelling of its own."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.PReLU(16))
        self.left = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.GELU(), nn.Conv2d(8, 4, 1), nn.SiLU())
        self.right = nn.Sequential(nn.Conv2d(8, 6, 1), nn.LeakyReLU(0.1), nn.Conv2d(6, 6, 1), nn.Tanh(), nn.PReLU())
        self.where = nn.Conv2d(22, 1, 1)
        self.fc = nn.Linear(22, 10)

    def forward(self, x):
        a, b = self.stem(x).split([8, 8], 1)
        x = torch.cat([self.left(a), b, self.right(b), a[:, -4:]], 1)
        x = torch.sigmoid(self.where(x)) * x
        return self.fc(x.mean([2, 3]))


class Normed(Mixed):
    """The same behind a layer norm over the channels, ConvNeXt's way, and one over features."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.Identity())
        self.norm, self.where = nn.LayerNorm(16), nn.Identity()
        self.fc = nn.Sequential(nn.LayerNorm(22), nn.Linear(22, 10))

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        a, b = self.norm(x).permute(0, 3, 1, 2).split([8, 8], 1)
        return self.fc(torch.cat([self.left(a), b, self.right(b), a[:, :4]], 1).mean([2, 3]))


def export(model, path, opset, unfolded, dynamic):
    axes = {"x": {0: "batch", 2: "height", 3: "width"}, "y": {0: "batch"}} if dynamic else None
    mode = torch.onnx.TrainingMode.PRESERVE if unfolded else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(model.eval(), torch.zeros(1, 3, 64, 64), path, opset_version=opset, training=mode,
                      do_constant_folding=not unfolded, input_names=["x"], output_names=["y"], dynamic_axes=axes)


def read(tool, path):
    """What model_info says, as a dictionary."""
    line = subprocess.run([tool, path], stdout=subprocess.PIPE, text=True).stdout.strip()
    if not line.startswith("OK "):
        return {"status": line}
    return dict({"status": "OK"}, **{key: int(value) for key, value in (word.split("=") for word in line.split()[1:])})


def count(model, unfolded):
    """Trainable values, buffers and batch norms; folding makes a bias for each convolution of a batch norm."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    parameters = sum(value.numel() for value in model.parameters())
    channels = sum(norm.num_features for norm in norms)
    return (parameters, 2 * channels, len(norms)) if unfolded else (parameters - channels, 0, 0)


def main():
    torch.manual_seed(0)
    # PyTorch 1.13 cannot export ceil_mode at opset 9 with open sizes, nor hard swish before 14 but spelled out.
    cases = [(ResNet, 9, True, False), (ResNet, 9, False, False)]
    cases += [(network, opset, unfolded, dynamic) for network in (ResNet, PPLCNet) for opset in (11, 14, 16)
              for unfolded, dynamic in ((True, False), (False, True))]
    cases += [(Mixed, 11, True, False), (Mixed, 13, False, True), (Mixed, 16, True, True), (Normed, 17, True, False),
              (Normed, 17, False, True)]
    print("1..%d" % len(cases))
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, (network, opset, unfolded, dynamic) in enumerate(cases, 1):
            model, path = network(), os.path.join(folder, "model.onnx")
            name = "torch_%s_opset_%d_%s%s_is_read_with_its_sizes" % (network.__name__, opset,
                                                                     "unfolded" if unfolded else "folded",
                                                                     "_open" if dynamic else "")
            export(model, path, opset, unfolded, dynamic)
            found, (parameters, buffers, norms) = read(sys.argv[1], path), count(model, unfolded)
            size = 224 if dynamic else 64
            wanted = {"status": "OK", "classes": 10, "channels": 3, "height": size, "width": size, "parameters": parameters,
                      "buffers": buffers, "batch_norms": norms}
            differs = {key: (found.get(key), value) for key, value in wanted.items() if found.get(key) != value}
            if differs:
                print("# found, wanted: %s" % differs)
                failed += 1
            print("%sok %d - %s" % ("not " if differs else "", number, name), flush=True)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
