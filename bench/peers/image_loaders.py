# SPDX-License-Identifier: BSD-2-Clause
"""What people load images with today, a JSON line a run:

    image_loaders.py prepare --pictures FOLDER --folder DIR --count N
    image_loaders.py KIND --folder DIR [--pipeline plain|randaugment] [--seconds S]

prepare makes N photographs of 500 x 375 as JPEG (quality 90, 4:2:0) out of larger ones: crops of 20 to 100 % of their
area. A KIND reads them again and again with one thread, and makes batches of 64 of the pipeline's views: random resized
crop to 224 (area 8 to 100 %), flip, RandAugment if asked for, normalisation, float32 (N, 3, 224, 224).

    torchvision  Pillow and torchvision's transforms, in a DataLoader without worker processes
    timm         Pillow and timm's create_transform(), likewise
    opencv       what PaddleClas's operators call: OpenCV to decode, crop, resize (INTER_LINEAR) and flip, NumPy for the rest
    dali         NVIDIA DALI on the CPU: decoding of the crop alone, triangular filter"""

import argparse
import json
import math
import os
import random
import resource
import time

SIZE, BATCH = 224, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
RANDAUGMENT = "rand-m9-mstd0.5-inc1"


def paths_of(folder):
    return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".jpg"))


# -- Photographs ------------------------------------------------------------------------------------------------------


def prepare(given):
    from PIL import Image
    Image.MAX_IMAGE_PIXELS = None
    draw = random.Random(1)
    sources = sorted(os.path.join(folder, name) for folder, _, names in os.walk(given.pictures) for name in names
                     if name.endswith(".jpg"))
    pictures = [Image.open(path).convert("RGB") for path in sources]
    # Smaller ones would be enlarged, and small copies of large ones show nothing new.
    pictures = [picture for picture in pictures if min(picture.width / 500, picture.height / 375) >= 2]
    os.makedirs(given.folder, exist_ok=True)
    for number in range(given.count):
        picture = pictures[number % len(pictures)]
        most = min(picture.width / 500, picture.height / 375)
        zoom = max(1.0, most * math.sqrt(draw.uniform(0.2, 1)))
        width, height = 500 * zoom, 375 * zoom
        x, y = draw.uniform(0, picture.width - width), draw.uniform(0, picture.height - height)
        photograph = picture.resize((500, 375), Image.BICUBIC, (x, y, x + width, y + height))
        photograph.save(os.path.join(given.folder, "%04d.jpg" % number), quality=90, subsampling=2)
    sizes = [os.path.getsize(path) for path in paths_of(given.folder)]
    print(json.dumps({"images": len(sizes), "bytes": sum(sizes), "pictures": len(pictures)}))


# -- Kinds: a generator of batches ------------------------------------------------------------------------------------


def pillow_batches(paths, transform):
    """Batches of a DataLoader, for ever."""
    import torch
    from PIL import Image

    class Files(torch.utils.data.Dataset):
        def __len__(self):
            return len(paths)

        def __getitem__(self, index):
            with open(paths[index], "rb") as file:
                return transform(Image.open(file).convert("RGB"))

    torch.set_num_threads(1)
    loader = torch.utils.data.DataLoader(Files(), BATCH, num_workers=0, drop_last=True)
    while True:
        yield from loader


def torchvision_batches(paths, pipeline):
    import torchvision
    from torchvision import transforms
    if pipeline != "plain":
        raise SystemExit("torchvision's own RandAugment has other operations and magnitudes; kind timm has the pipeline")
    yield "%s, Pillow %s" % (torchvision.__version__, pillow_version())
    yield from pillow_batches(paths, transforms.Compose([
        transforms.RandomResizedCrop(SIZE, SCALE, RATIO, transforms.InterpolationMode.BILINEAR),
        transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]))


def timm_batches(paths, pipeline):
    import timm
    from timm.data import create_transform
    yield "%s, Pillow %s" % (timm.__version__, pillow_version())
    yield from pillow_batches(paths, create_transform(
        SIZE, is_training=True, scale=SCALE, ratio=RATIO, hflip=0.5, color_jitter=None, interpolation="bilinear",
        auto_augment=RANDAUGMENT if pipeline == "randaugment" else None, mean=MEAN, std=STD, re_prob=0))


def pillow_version():
    import PIL
    from PIL import features
    turbo = features.version_feature("libjpeg_turbo")
    return PIL.__version__ + (" with libjpeg-turbo %s" % turbo if turbo else "")


def opencv_batches(paths, pipeline):
    import cv2
    import numpy
    if pipeline != "plain":
        raise SystemExit("PaddleClas's RandAugment is Pillow's, and another one than timm's")
    cv2.setNumThreads(0)
    yield cv2.__version__
    draw, mean, std = random.Random(1), numpy.array(MEAN, numpy.float32), numpy.array(STD, numpy.float32)

    def view(path):
        with open(path, "rb") as file:
            image = cv2.imdecode(numpy.frombuffer(file.read(), numpy.uint8), cv2.IMREAD_COLOR)
        height, width = image.shape[:2]
        # PaddleClas's draw: the aspect ratio's root uniform in its bounds, the area among what then fits.
        root = math.sqrt(draw.uniform(*RATIO))
        bound = min((width / height) / root ** 2, (height / width) * root ** 2)
        side = math.sqrt(width * height * draw.uniform(min(SCALE[0], bound), min(SCALE[1], bound)))
        w, h = int(side * root), int(side / root)
        x, y = draw.randint(0, width - w), draw.randint(0, height - h)
        image = cv2.resize(image[y:y + h, x:x + w, ::-1], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        if draw.random() < 0.5:
            image = cv2.flip(image, 1)
        return ((image.astype(numpy.float32) * numpy.float32(1 / 255) - mean) / std).transpose(2, 0, 1)

    while True:
        for first in range(0, len(paths) - BATCH + 1, BATCH):
            yield numpy.stack([view(path) for path in paths[first:first + BATCH]])


def dali_batches(paths, pipeline):
    import nvidia.dali
    from nvidia.dali import fn, pipeline_def, types
    if pipeline != "plain":
        raise SystemExit("DALI's RandAugment is written for GPUs")
    yield nvidia.dali.__version__

    @pipeline_def(batch_size=BATCH, num_threads=1, device_id=None)
    def build():
        files, _ = fn.readers.file(files=paths)
        images = fn.decoders.image_random_crop(files, device="cpu", output_type=types.RGB, random_area=list(SCALE),
                                               random_aspect_ratio=list(RATIO))
        images = fn.resize(images, resize_x=SIZE, resize_y=SIZE, interp_type=types.INTERP_TRIANGULAR)
        return fn.crop_mirror_normalize(images, dtype=types.FLOAT, output_layout="CHW", crop=(SIZE, SIZE),
                                        mean=[255 * value for value in MEAN], std=[255 * value for value in STD],
                                        mirror=fn.random.coin_flip())

    loader = build()
    loader.build()
    while True:
        yield loader.run()[0].as_array()


KINDS = {"torchvision": torchvision_batches, "timm": timm_batches, "opencv": opencv_batches, "dali": dali_batches}


# -- The program ------------------------------------------------------------------------------------------------------


def measure(given):
    batches = KINDS[given.kind](paths_of(given.folder), given.pipeline)
    version = next(batches)
    for _ in range(2):  # the first one loads what is loaded late
        next(batches)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < given.seconds:
        batch = next(batches)
        count += len(batch)
    seconds = time.perf_counter() - begun
    if tuple(batch.shape) != (BATCH, 3, SIZE, SIZE) or "float32" not in str(batch.dtype):
        raise SystemExit("a batch is %s of %s" % (tuple(batch.shape), batch.dtype))
    print(json.dumps({
        "peer": given.kind, "version": version, "pipeline": given.pipeline, "images": count,
        "images_per_s": round(count / seconds, 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["prepare", *KINDS])
    parser.add_argument("--folder", required=True, help="the photographs")
    parser.add_argument("--pictures", help="prepare: larger ones to make them of")
    parser.add_argument("--count", type=int, default=320, help="prepare: how many (default %(default)s)")
    parser.add_argument("--pipeline", choices=("plain", "randaugment"), default="plain")
    parser.add_argument("--seconds", type=float, default=5)
    given = parser.parse_args()
    prepare(given) if given.kind == "prepare" else measure(given)


if __name__ == "__main__":
    main()
