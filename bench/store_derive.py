# SPDX-License-Identifier: BSD-2-Clause
"""Labels for bench/store.py, made of those that labels.py has saved; runs where NumPy is:

    store_derive.py LABELS_FOLDER OUT_FOLDER

    logits_1000.npy   EfficientNet-Lite0's, in an order in which the first half and the second show different pictures;
                      student_NAME_1000.npy are the students' in the same order
    logits_100.npy    its probabilities summed over every ten classes that follow each other in ImageNet's order
    logits_10.npy     the Fashion-MNIST teacher's; without it sums over a hundred classes
    logits_21841.npy  each of its classes split into 22 by a softmax of random directions in its logits: made up, but
                      with the shape of a real distribution

Prints the row where the second half of logits_1000.npy begins."""

import csv
import os
import sys

import numpy

SPLIT_ROWS = 3000  # of logits_21841.npy, 0.26 GB
CHILDREN, MANY = 22, 21841


def log_sums(logits, group):
    """ln of the sums of probabilities over groups of classes."""
    shaped = logits.astype(numpy.float64).reshape(len(logits), -1, group)
    return numpy.logaddexp.reduce(shaped, 2).astype(numpy.float32)


def split_classes(logits):
    draw = numpy.random.default_rng(5)
    directions = draw.normal(0, 1 / numpy.sqrt(logits.shape[1]), (logits.shape[1], 64)).astype(numpy.float32)
    low = (logits - logits.mean(1, keepdims=True)) @ directions
    children = draw.normal(0, 0.5, (64, logits.shape[1] * CHILDREN)).astype(numpy.float32)
    own = (low @ children).reshape(len(logits), -1, CHILDREN)
    own -= numpy.logaddexp.reduce(own, 2, keepdims=True)
    return (logits[:, :, None] + own).reshape(len(logits), -1)[:, :MANY].astype(numpy.float32)


def halves(folder, views):
    """An order of rows, and where pictures begin that the rows before do not show."""
    with open(os.path.join(folder, "effnet_crops.csv")) as file:
        pictures = [row["picture"] for row in csv.DictReader(file)]
    names = sorted(set(pictures))
    first = set(names[::2])
    seen = numpy.array([name in first for name in pictures])
    assert len(seen) == views, "effnet_crops.csv and effnet_logits.npy are not of one run"
    return numpy.concatenate([numpy.flatnonzero(seen), numpy.flatnonzero(~seen)]), int(seen.sum())


def main():
    folder, out = sys.argv[1:]
    logits = numpy.load(os.path.join(folder, "effnet_logits.npy"))
    order, second = halves(folder, len(logits))
    numpy.save(os.path.join(out, "logits_1000.npy"), logits[order])
    for name in ("untrained", "half", "trained"):
        path = os.path.join(folder, "student_%s_logits.npy" % name)
        numpy.save(os.path.join(out, "student_%s_1000.npy" % name), numpy.load(path)[order])
    numpy.save(os.path.join(out, "logits_100.npy"), log_sums(logits, 10))
    fashion = os.path.join(folder, "fashion_logits.npy")
    numpy.save(os.path.join(out, "logits_10.npy"),
               numpy.load(fashion) if os.path.exists(fashion) else log_sums(logits, 100))
    numpy.save(os.path.join(out, "logits_%d.npy" % MANY), split_classes(logits[:SPLIT_ROWS]))
    print(second)


if __name__ == "__main__":
    main()
