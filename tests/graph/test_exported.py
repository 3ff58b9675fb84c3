#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Classifiers as PyTorch exports them, and those of the zoo as libssld writes them, have ONNX Runtime's logits:
test_exported.py TEACHER_LOGITS [NAME ...].

TAP; skipped without PyTorch, onnxruntime and torchvision or timm. They may be in another Python: SSLD_TORCH_PYTHON names
it. The zoo needs the Python package ssld (PYTHONPATH, SSLD_LIBRARY). Weights are random; batch norm has the statistics of random
images, so that every layer's output depends on the image.
"""
import logging
import os
import subprocess
import sys
import tempfile
import warnings

try:
    import numpy
    import onnxruntime
    import torch
except ImportError as error:
    python = os.environ.pop("SSLD_TORCH_PYTHON", None)
    if python:
        os.execv(python, [python] + sys.argv)
    print("1..0 # SKIP %s; SSLD_TORCH_PYTHON may name a Python that has it" % error)
    sys.exit(0)

# name, library, image size, opset, and whether by PyTorch's newer exporter (dynamo=True), which writes opset 18 and later
MODELS = [
    ("resnet50", "torchvision", 224, 17, False), ("mobilenet_v3_large", "torchvision", 224, 17, False),
    ("efficientnet_b0", "torchvision", 224, 17, False), ("densenet121", "torchvision", 224, 17, False),
    ("shufflenet_v2_x1_0", "torchvision", 224, 17, False), ("convnext_tiny", "torchvision", 224, 17, False),
    ("swin_t", "torchvision", 224, 17, False), ("vit_b_16", "torchvision", 224, 17, False),
    ("regnet_y_800mf", "torchvision", 224, 13, False), ("mobilenet_v2", "torchvision", 160, 11, False),
    ("squeezenet1_1", "torchvision", 224, 9, False), ("googlenet", "torchvision", 224, 13, False),
    ("densenet169", "torchvision", 96, 11, False), ("resnet18", "torchvision", 96, 7, False),
    ("shufflenet_v2_x0_5", "torchvision", 96, 11, False), ("efficientnet_b0", "torchvision", 96, 11, False),
    ("vit_b_32", "torchvision", 224, 14, False), ("swin_t", "torchvision", 224, 13, False),
    ("vit_small_patch16_224", "timm", 224, 17, False), ("deit_small_patch16_224", "timm", 224, 14, False),
    ("swin_tiny_patch4_window7_224", "timm", 224, 16, False), ("convnext_tiny", "timm", 224, 17, False),
    ("resnet50d", "timm", 160, 12, False), ("tf_efficientnet_b0", "timm", 192, 17, False),
    ("mobilenetv3_large_100", "timm", 224, 17, False), ("mixer_s32_224", "timm", 224, 17, False),
    ("hgnet_tiny", "timm", 224, 17, False), ("mobilevit_s", "timm", 256, 17, False), ("ghostnet_100", "timm", 224, 17, False),
    ("resnet50", "torchvision", 96, 18, True), ("mobilenet_v3_large", "torchvision", 96, 18, True),
    ("efficientnet_b0", "torchvision", 96, 20, True), ("densenet169", "torchvision", 96, 18, True),
    ("shufflenet_v2_x1_0", "torchvision", 96, 18, True), ("convnext_tiny", "torchvision", 96, 20, True),
    ("swin_t", "torchvision", 224, 18, True), ("vit_b_32", "torchvision", 224, 18, True),
    ("vit_small_patch16_224", "timm", 224, 20, True), ("deit_small_patch16_224", "timm", 224, 23, True),
    ("swin_tiny_patch4_window7_224", "timm", 224, 21, True), ("convnext_tiny", "timm", 96, 18, True),
    ("mobilevit_s", "timm", 256, 18, True),
    ("PPLCNet_x1_0", "zoo", 224, 17, False), ("ResNet50_vd", "zoo", 224, 17, False),
    ("PPLCNetV2_base", "zoo", 224, 17, False), ("MobileNetV3_large_x1_0", "zoo", 224, 17, False),
    ("Res2Net50_vd_26w_4s", "zoo", 96, 17, False), ("PPHGNet_tiny", "zoo", 96, 17, False),
]
IMAGES = 2
# Single precision against single precision, in other orders and by Winograd's algorithm: measured at most 5e-5 of the logits'
# range. The promise is 1e-4.
TOLERANCE = 1e-4
# Of what tells two images' logits apart: a network that ignores its image would pass the first. Measured at most 3e-4.
TOLERANCE_OF_DIFFERENCES = 1e-3


def make(name, library, size):
    """The network with its statistics, or None without the library."""
    torch.manual_seed(3)
    try:
        if library == "torchvision":
            import torchvision
            more = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
            model = torchvision.models.get_model(name, weights=None, **more)
        else:
            import timm
            model = timm.create_model(name, pretrained=False)
    except ImportError:
        return None
    images = torch.randn(8, 3, size, size)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the plain average of all batches
            module.reset_running_stats()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif float(parameter.abs().max()) == 0:
                parameter.copy_(0.02 * torch.randn_like(parameter))
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()
        model(images)
    return model.eval()


def export(model, path, size, opset, newer):
    names = {"opset_version": opset, "input_names": ["x"], "output_names": ["y"]}
    if newer:
        torch.onnx.export(model, (torch.randn(2, 3, size, size),), path, dynamo=True, verbose=False, external_data=False,
                          dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1024)},), **names)
    else:
        torch.onnx.export(model, (torch.randn(1, 3, size, size),), path, dynamo=False,
                          dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}}, **names)


def statistics_of(model):
    """Names of the means and variances of all batch norms."""
    return [name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]]


def observe_batch_norms(onnx, model):
    """The model with its batch norms seeing the batch's own means and variances, which become outputs after the logits."""
    seen, nodes = onnx.ModelProto(), []
    seen.CopyFrom(model)
    seen.graph.initializer.append(onnx.numpy_helper.from_array(numpy.float32(1e-5), "least_variance"))
    for node in seen.graph.node:
        if node.op_type == "BatchNormalization":
            x, mean, apart, variance = node.input[0], *(node.name + what for what in ("/mean", "/apart", "/variance"))
            for operator, inputs, output, more in (
                    ("ReduceMean", [x], mean, {"axes": [0, 2, 3]}), ("Sub", [x, mean], apart, {}),
                    ("Mul", [apart, apart], apart + "/2", {}), ("ReduceMean", [apart + "/2"], variance, {"axes": [0, 2, 3]}),
                    ("Add", [variance, "least_variance"], variance + "/1", {}),
                    ("Sqrt", [variance + "/1"], variance + "/root", {}), ("Div", [apart, variance + "/root"], x + "/even", {})):
                nodes.append(onnx.helper.make_node(operator, inputs, [output], **more))
            node.input[0] = x + "/even"  # its own mean and variance are still 0 and 1
            seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (mean, variance))
        nodes.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del seen.graph.node[:]
    seen.graph.node.extend(nodes)
    return seen


def save_of_zoo(name, size, path):
    """None, or why there is none. As make(): vectors are moved, and batch norms get the statistics of random images."""
    try:
        import onnx
        import ssld
    except ImportError as error:
        return str(error)
    with ssld.Context() as context, ssld.Model(context, name, height=size, seed=3) as network:
        network.save(path)
    model, draw = onnx.load(path), numpy.random.RandomState(3)
    weights = {weight.name: weight for weight in model.graph.initializer}

    def put(weight, values):
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(numpy.float32), weight.name))

    statistics = statistics_of(model)
    for weight in weights.values():
        values = onnx.numpy_helper.to_array(weight)
        if weight.name not in statistics and values.ndim == 1 and values.dtype == numpy.float32:
            put(weight, values + 0.1 * draw.randn(*values.shape))
    seen = observe_batch_norms(onnx, model).SerializeToString()
    session = onnxruntime.InferenceSession(seen, providers=["CPUExecutionProvider"])
    images = draw.randn(8, 3, size, size).astype(numpy.float32)
    for weight, values in zip(statistics, session.run(None, {session.get_inputs()[0].name: images})[1:]):
        put(weights[weight], values.reshape(-1))
    onnx.save(model, path)
    return None


def save(name, library, size, opset, newer, path):
    """None, or why there is none."""
    if library == "zoo":
        return save_of_zoo(name, size, path)
    model = make(name, library, size)
    if model is None:
        return "%s is not installed" % library
    return export(model, path, size, opset, newer)


def runtime_logits(path, pixels):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: pixels})[0]


def our_logits(tool, path, pixels, folder, threads):
    given, answer = os.path.join(folder, "pixels"), os.path.join(folder, "logits")
    pixels.tofile(given)
    arguments = [tool, path, given] + [str(size) for size in pixels.shape] + ["f32", str(threads), answer]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout.strip() or "status %d" % done.returncode)
    return numpy.fromfile(answer, dtype=numpy.float32).reshape(len(pixels), -1)


def compare(tool, name, library, size, opset, newer, folder):
    """None, or why it is skipped."""
    path = os.path.join(folder, "model.onnx")
    missing = save(name, library, size, opset, newer, path)
    if missing:
        return missing
    pixels = numpy.random.RandomState(5).randn(IMAGES, 3, size, size).astype(numpy.float32)
    wanted = runtime_logits(path, pixels)
    for threads in 1, 2:
        found = our_logits(tool, path, pixels, folder, threads)
        most = float(numpy.abs(found - wanted).max())
        spread, apart = float(wanted.max() - wanted.min()), float(numpy.abs(wanted[0] - wanted[1]).max())
        print("# %s, %d threads: %.1e of the range %.3g, %.1e of the images' differences" %
              (name, threads, most / spread, spread, most / apart))
        if most > TOLERANCE * spread or most > TOLERANCE_OF_DIFFERENCES * apart:
            raise RuntimeError("a logit differs by %g; their range is %g, two images differ by %g" % (most, spread, apart))
    return None


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    tool, names = sys.argv[1], sys.argv[2:]
    models = [model for model in MODELS if not names or model[0] in names]
    failed = False
    print("1..%d" % len(models))
    for number, (name, library, size, opset, newer) in enumerate(models, 1):
        title = "%d - %s_of_%s_in_opset_%d%s_has_the_logits_of_onnx_runtime" % (
            number, name, library, opset, "_of_the_newer_exporter" if newer else "")
        try:
            with tempfile.TemporaryDirectory() as folder:
                skipped = compare(tool, name, library, size, opset, newer, folder)
            print("ok %s%s" % (title, " # SKIP " + skipped if skipped else ""), flush=True)
        except Exception as error:  # whatever an exporter throws is this case's failure
            failed = True
            print("# %s\nnot ok %s" % (str(error).replace("\n", "\n# "), title), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
