# SPDX-License-Identifier: BSD-2-Clause
"""What people keep teacher labels in today, a JSON line a run:

    label_stores.py prepare --logits LOGITS.npy --topk K --views N --records RECORDS.npy
    label_stores.py KIND --records RECORDS.npy --classes C --folder DIR [--seconds S]

prepare makes TinyViT's records of logits: seed (int32), K classes (int16), their probabilities (float16). A KIND writes
the same records, then reads them by number, 256 at a time, in order and at random, and spreads each batch out to all
classes (float32, the rest of the probability evenly over the others), which is what a loss is computed from. Records are
ready before the clock of writing starts, and files are on the disk (fsync) when it stops."""

import argparse
import json
import os
import resource
import shutil
import statistics
import struct
import time

import numpy

BATCH = 256
LMDB_VIEWS = 10000  # of a transaction
CHUNK = 4096        # records that HDF5 and Blosc2 compress together: 256 in a block of Blosc2's


# -- Records ----------------------------------------------------------------------------------------------------------


def make_records(logits, top_k, views):
    """(views, 2 + 2 K) uint16: the rows again and again."""
    rows = len(logits)
    records = numpy.empty((rows, 2 + 2 * top_k), numpy.uint16)
    for first in range(0, rows, BATCH):
        part = logits[first:first + BATCH].astype(numpy.float64)
        part = numpy.exp(part - part.max(1, keepdims=True))
        part /= part.sum(1, keepdims=True)
        ids = numpy.argsort(-part, 1, kind="stable")[:, :top_k]
        records[first:first + BATCH, 2:2 + top_k] = ids.astype(numpy.int16).view(numpy.uint16)
        records[first:first + BATCH, 2 + top_k:] = \
            numpy.take_along_axis(part, ids, 1).astype(numpy.float16).view(numpy.uint16)
    records = records[numpy.arange(views) % rows]
    seeds = numpy.random.default_rng(1).integers(0, 1 << 31, views, numpy.int32)
    records[:, :2] = seeds.view(numpy.uint16).reshape(views, 2)
    return records


def spread(records, classes):
    """(n, classes) float32 probabilities of (n, 2 + 2 K) uint16 records."""
    top_k = (records.shape[1] - 2) // 2
    ids = records[:, 2:2 + top_k].view(numpy.int16).astype(numpy.int64)
    values = numpy.ascontiguousarray(records[:, 2 + top_k:]).view(numpy.float16).astype(numpy.float32)
    rest = numpy.maximum(0, 1 - values.sum(1, keepdims=True)) / max(1, classes - top_k)
    labels = numpy.repeat(rest, classes, 1)
    numpy.put_along_axis(labels, ids, values, 1)
    return labels


# -- Kinds: write(records), open(), read(places) -> records -----------------------------------------------------------


def sync(path):
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


class TinyViT:
    """Keys as text and values side by side, read as TinyViT's programs read: a dictionary of keys, a seek a record."""

    def __init__(self, folder):
        self.keys, self.values = os.path.join(folder, "rank0-keys.txt"), os.path.join(folder, "rank0-values.bin")

    def write(self, records):
        with open(self.keys, "w") as keys, open(self.values, "wb") as values:
            for place, record in enumerate(records):
                keys.write("%d\n" % place)
                values.write(record.tobytes())
        sync(self.keys)
        sync(self.values)

    def open(self, shape):
        self.width = shape[1]
        with open(self.keys) as file:
            self.places = {line.strip(): row for row, line in enumerate(file)}
        self.file = open(self.values, "rb")

    def read(self, places):
        size, got = 2 * self.width, []
        for place in places:
            self.file.seek(self.places[str(place)] * size)
            got.append(self.file.read(size))
        return numpy.frombuffer(b"".join(got), numpy.uint16).reshape(len(places), self.width)


class Lmdb:
    """A key of image and view, a record a value."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "lmdb")

    @staticmethod
    def key(place):
        return struct.pack(">QI", place, 0)

    def write(self, records):
        import lmdb
        environment = lmdb.open(self.folder, map_size=1 << 40)
        for first in range(0, len(records), LMDB_VIEWS):
            with environment.begin(write=True) as transaction:
                for place in range(first, min(first + LMDB_VIEWS, len(records))):
                    transaction.put(self.key(place), records[place].tobytes(), append=True)
        environment.sync(True)
        environment.close()

    def open(self, shape):
        import lmdb
        self.width = shape[1]
        self.environment = lmdb.open(self.folder, readonly=True, lock=False, readahead=False)
        self.transaction = self.environment.begin(buffers=True)

    def read(self, places):
        get, key = self.transaction.get, self.key
        return numpy.frombuffer(b"".join([get(key(int(place))) for place in places]),
                                numpy.uint16).reshape(len(places), self.width)


class Hdf5:
    """One data set of records, chunks of 256 with shuffle and gzip: the smallest that reads at random bear."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "labels.h5")

    def write(self, records):
        import h5py
        with h5py.File(self.path, "w") as file:
            data = file.create_dataset("labels", records.shape, records.dtype, chunks=(BATCH, records.shape[1]),
                                       compression="gzip", shuffle=True)
            for first in range(0, len(records), CHUNK):
                data[first:first + CHUNK] = records[first:first + CHUNK]
        sync(self.path)

    def open(self, shape):
        import h5py
        self.data = h5py.File(self.path, "r")["labels"]

    def read(self, places):
        first, last = int(places[0]), int(places[-1])
        if last - first + 1 == len(places):
            return self.data[first:last + 1]
        return numpy.stack([self.data[int(place)] for place in places])


class Memmap:
    """A .npy file of records, mapped."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "labels.npy")

    def write(self, records):
        numpy.save(self.path, records)
        sync(self.path)

    def open(self, shape):
        self.data = numpy.load(self.path, mmap_mode="r")

    def read(self, places):
        return self.data[places]


class Blosc2:
    """An array of records, Zstandard after shuffling bytes."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "labels.b2nd")

    def write(self, records):
        import blosc2
        width = records.shape[1]
        parameters = {"codec": blosc2.Codec.ZSTD, "clevel": 5, "filters": [blosc2.Filter.SHUFFLE], "typesize": 2,
                      "nthreads": 1}
        blosc2.asarray(records, urlpath=self.path, mode="w", chunks=(min(CHUNK, len(records)), width),
                       blocks=(BATCH, width), cparams=parameters)
        sync(self.path)

    def open(self, shape):
        import blosc2
        self.data = blosc2.open(self.path, mode="r", dparams={"nthreads": 1})

    def read(self, places):
        first, last = int(places[0]), int(places[-1])
        if last - first + 1 == len(places):
            return self.data[first:last + 1]
        return numpy.concatenate([self.data[int(place):int(place) + 1] for place in places])


KINDS = {"tinyvit": TinyViT, "lmdb": Lmdb, "hdf5": Hdf5, "memmap": Memmap, "blosc2": Blosc2}


# -- Measuring --------------------------------------------------------------------------------------------------------


def read_rate(store, batches, classes, seconds):
    """Views a second, over all batches or as many as the time allows; two at least."""
    done, begun = 0, time.perf_counter()
    for number, places in enumerate(batches):
        if number >= 2 and time.perf_counter() - begun > seconds:
            break
        labels = spread(store.read(places), classes)
        done += len(labels)
    return done / (time.perf_counter() - begun)


def bytes_in(folder):
    return sum(os.stat(os.path.join(path, name)).st_blocks * 512 if name.endswith(".mdb") else
               os.stat(os.path.join(path, name)).st_size
               for path, _, names in os.walk(folder) for name in names if name != "lock.mdb")


def measure(given):
    import importlib
    records = numpy.load(given.records)
    views = len(records)
    shutil.rmtree(given.folder, ignore_errors=True)
    os.makedirs(given.folder)
    store = KINDS[given.kind](given.folder)
    begun = time.perf_counter()
    store.write(records)
    write_s = time.perf_counter() - begun
    openings = []
    for _ in range(5):
        store = KINDS[given.kind](given.folder)
        begun = time.perf_counter()
        store.open(records.shape)
        openings.append(1e3 * (time.perf_counter() - begun))
    probe = numpy.arange(min(views, BATCH))
    assert (store.read(probe) == records[probe]).all(), "what is read is not what was written"
    ordered = [numpy.arange(first, min(first + BATCH, views)) for first in range(0, views, BATCH)]
    random = numpy.random.default_rng(2).integers(0, views, (len(ordered), BATCH))
    line = {
        "peer": given.kind, "classes": given.classes, "topk": (records.shape[1] - 2) // 2, "views": views,
        "bytes_per_view": bytes_in(given.folder) / views, "write_views_per_s": views / write_s,
        "ordered_views_per_s": read_rate(store, ordered, given.classes, given.seconds),
        "random_views_per_s": read_rate(store, random, given.classes, given.seconds),
        "open_ms": statistics.median(openings),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "version": numpy.__version__ if given.kind in ("tinyvit", "memmap") else
        importlib.import_module({"hdf5": "h5py"}.get(given.kind, given.kind)).__version__,
    }
    shutil.rmtree(given.folder)
    print(json.dumps(line))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["prepare", *KINDS])
    parser.add_argument("--logits")
    parser.add_argument("--records", required=True)
    parser.add_argument("--topk", type=int, default=10)
    parser.add_argument("--views", type=int, default=100000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--folder")
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    if given.kind == "prepare":
        numpy.save(given.records, make_records(numpy.load(given.logits, mmap_mode="r"), given.topk, given.views))
        print(json.dumps({"records": given.records}))
    else:
        measure(given)


if __name__ == "__main__":
    main()
