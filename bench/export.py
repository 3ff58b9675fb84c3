# SPDX-License-Identifier: BSD-2-Clause
"""The classifiers that teacher.py measures, as PyTorch exports them: export.py FOLDER. Run by teacher.py in its environment;
files that are there already stay. Weights are random; the batch is open."""

import os
import sys
import warnings

import torch

SIZE, OPSET = 224, 17


def of_torchvision(name):
    import torchvision
    return torchvision.models.get_model(name, weights=None)


def of_timm(name):
    import timm
    return timm.create_model(name, pretrained=False)


def large_resnext():
    """ResNeXt101 of 32 groups of 16: what PaddleClas's ResNeXt101_32x16d_wsl weighs, 776 MB."""
    from torchvision.models.resnet import Bottleneck, ResNet
    return ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=16)


NETWORKS = {
    "resnet50": of_torchvision,
    "mobilenet_v3_large": of_torchvision,
    "vit_small_patch16_224": of_timm,
    "resnext101_32x16d": lambda name: large_resnext(),
}


def main():
    folder = sys.argv[1]
    warnings.filterwarnings("ignore")
    os.makedirs(folder, exist_ok=True)
    for name, make in NETWORKS.items():
        path = os.path.join(folder, name + ".onnx")
        if os.path.exists(path):
            continue
        torch.manual_seed(1)
        torch.onnx.export(make(name).eval(), (torch.randn(1, 3, SIZE, SIZE),), path + ".part", opset_version=OPSET, dynamo=False,
                          input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}})
        os.replace(path + ".part", path)


if __name__ == "__main__":
    main()
