#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Views a second on one core: JPEG files of 500 x 375 to random resized crops of 224, flipped at random, normalised, as floats.

usage: views.py [--images FOLDER] [--seconds S] [--rounds R] [--randaugment]

--randaugment: with rand-m9-mstd0.5-inc1 behind the flip, against timm's on Pillow.

libssld and the peers that can be imported (Pillow with torchvision's transforms; OpenCV as PaddleClas uses it) take turns
on the same core over the same files, so that whatever the machine does meanwhile happens to all. Without a folder of JPEG
files, images with the spectrum of photographs are made: 4:2:0, quality 90, about 80 KB each.
Medians of the rounds; a ratio is the median of the rounds' ratios. Python's own share of libssld's time is inside."""
import argparse
import glob
import io
import os
import statistics
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

import numpy  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photographs(count, height=375, width=500):
    """JPEG bytes: noise whose amplitude falls with frequency, differing in colour less than in light, with some edges."""
    from PIL import Image
    random = numpy.random.RandomState(0)
    down, across = numpy.fft.fftfreq(height)[:, None], numpy.fft.rfftfreq(width)[None]
    frequency = numpy.sqrt(down * down + across * across)
    frequency[0, 0] = 1

    def field(power):
        spectrum = random.randn(height, width // 2 + 1) + 1j * random.randn(height, width // 2 + 1)
        values = numpy.fft.irfft2(spectrum / frequency ** power, s=(height, width))
        return (values - values.mean()) / values.std()

    files = []
    for _ in range(count):
        light = field(1.15 + 0.3 * random.rand())
        pixels = numpy.stack([light * 50 + field(1.6) * 18 + 120 for _ in range(3)], 2)
        for _ in range(12):
            y, x, h, w = random.randint(0, height), random.randint(0, width), *random.randint(20, 150, 2)
            pixels[y:y + h, x:x + w] += random.randn(3) * 30
        out = io.BytesIO()
        Image.fromarray(numpy.clip(pixels, 0, 255).astype(numpy.uint8)).save(out, "JPEG", quality=90, subsampling=2)
        files.append(out.getvalue())
    return files


def ssld_views(files, text="rrc(224) flip(0.5) normalize(imagenet)"):
    import ssld
    context = ssld.Context(threads=1)
    spec = ssld.ViewSpec(context, text)
    arrays = [numpy.frombuffer(file, numpy.uint8) for file in files]
    out = numpy.empty(spec.shape(), numpy.float32)

    def render(i):
        spec.render(arrays[i % len(arrays)], 1, i, 0, out)
    return render


def pillow_decode(files):
    from PIL import Image

    def render(i):
        Image.open(io.BytesIO(files[i % len(files)])).convert("RGB")
    return render


def torchvision_views(files):
    import torch
    from PIL import Image
    from torchvision import transforms
    torch.set_num_threads(1)
    pipeline = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
                                   transforms.Normalize(MEAN, STD)])

    def render(i):
        pipeline(Image.open(io.BytesIO(files[i % len(files)])).convert("RGB"))
    return render


def opencv_views(files):
    """PaddleClas's DecodeImage, RandCropImage, RandFlipImage, NormalizeImage and ToCHWImage in few words."""
    import math
    import random
    import cv2
    cv2.setNumThreads(1)
    mean, std = numpy.array(MEAN, numpy.float32).reshape(1, 1, 3), numpy.array(STD, numpy.float32).reshape(1, 1, 3)

    def render(i):
        image = cv2.imdecode(numpy.frombuffer(files[i % len(files)], numpy.uint8), 1)[:, :, ::-1]
        height, width = image.shape[:2]
        aspect = math.sqrt(random.uniform(3 / 4, 4 / 3))
        bound = min(width / height / aspect ** 2, height / width * aspect ** 2)
        area = height * width * random.uniform(min(0.08, bound), min(1, bound))
        side = math.sqrt(area)
        w, h = int(side * aspect), int(side / aspect)
        x, y = random.randint(0, width - w), random.randint(0, height - h)
        image = cv2.resize(image[y:y + h, x:x + w], (224, 224), interpolation=cv2.INTER_LINEAR)
        if random.randint(0, 1):
            image = cv2.flip(image, 1)
        image = (image.astype("float32") * numpy.float32(1 / 255) - mean) / std
        image.transpose((2, 0, 1)).copy()
    return render


def timm_views(files):
    """timm's training pipeline with rand-m9-mstd0.5-inc1. Its RandAugment is loaded by itself: the rest wants a newer
    torchvision than may be there."""
    import importlib.util
    import torch
    from PIL import Image
    from torchvision import transforms
    torch.set_num_threads(1)
    package = importlib.util.find_spec("timm")
    if not package:
        raise ImportError("No module named 'timm'")
    spec = importlib.util.spec_from_file_location(
        "auto_augment", os.path.join(package.submodule_search_locations[0], "data", "auto_augment.py"))
    auto_augment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(auto_augment)
    # Pillow since 13 refuses the 0 bits that timm asks for at level 10.
    posterize = auto_augment.posterize
    auto_augment.NAME_TO_OP["PosterizeIncreasing"] = lambda image, bits, **_: posterize(image, max(1, bits))
    parameters = dict(translate_const=100, img_mean=(124, 116, 104), interpolation=Image.BICUBIC)
    augment = auto_augment.rand_augment_transform("rand-m9-mstd0.5-inc1", parameters)
    pipeline = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), augment,
                                   transforms.ToTensor(), transforms.Normalize(MEAN, STD)])

    def render(i):
        pipeline(Image.open(io.BytesIO(files[i % len(files)])).convert("RGB"))
    return render


def contestants(files, randaugment):
    if randaugment:
        augmented = "rrc(224) flip(0.5) randaugment(9) normalize(imagenet)"
        rows = (("libssld", lambda f: ssld_views(f, augmented)), ("timm", timm_views),
                ("libssld, all augmented", lambda f: ssld_views(f, augmented.replace("(9)", "(9, p=1)"))),
                ("libssld, without", ssld_views), ("Pillow + torchvision, without", torchvision_views))
    else:
        rows = plain_rows()
    for name, make in rows:
        try:
            yield name, make(files)
        except ImportError as error:
            print(f"{name}: left out, {error}")


def plain_rows():
    paddle = "rrc(224, draw=paddle, filter=cv_linear) flip(0.5) normalize(imagenet)"
    return (("libssld", ssld_views), ("libssld, cv_linear", lambda f: ssld_views(f, paddle)),
            ("Pillow + torchvision", torchvision_views), ("OpenCV as PaddleClas", opencv_views),
            ("Pillow, decoding alone", pillow_decode))


def rate(render, seconds):
    begin, count = time.perf_counter(), 0
    while True:
        for _ in range(16):
            render(count)
            count += 1
        spent = time.perf_counter() - begin
        if spent > seconds:
            return count / spent


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", help="a folder of JPEG files")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--randaugment", action="store_true")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    files = photographs(32)
    if args.images:
        files = [open(path, "rb").read() for path in sorted(glob.glob(os.path.join(args.images, "*.jp*g")))]
    print(f"{len(files)} files of {sum(map(len, files)) // len(files)} bytes on average")
    runs = list(contestants(files, args.randaugment))
    for _, render in runs:
        rate(render, 0.3)
    results = {name: [] for name, _ in runs}
    for _ in range(args.rounds):
        for name, render in runs:
            results[name].append(rate(render, args.seconds))
    for name in results:
        ratios = [a / b for a, b in zip(results["libssld"], results[name])]
        print(f"{name:30} {statistics.median(results[name]):7.0f} views/s   libssld is {statistics.median(ratios):5.2f} times as fast")


if __name__ == "__main__":
    main()
