# SPDX-License-Identifier: BSD-2-Clause
"""Data sets, view specs, loaders: samples and views as NumPy arrays."""

from tap import check, check_equal, check_raises, main, test

import gc
import gzip
import io
import os
import tarfile

import numpy
import ssld
from helper import Account, folder, idx, images, png


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    return path


# -- Dataset -------------------------------------------------------------------------------------------------------

@test
def pixels_in_memory_are_a_data_set():
    with ssld.Context() as context:
        pixels, classes = images(10)
        data = ssld.Dataset.from_pixels(context, pixels, classes)
        check_equal((len(data), data.classes, data.image), (10, 4, (1, 28, 28)), "data set")
        check_equal([data.label(sample) for sample in range(11)], classes.tolist() + [-1], "labels")
        check_equal(data.name(7), "#7", "name")
        again = ssld.Dataset.from_pixels(context, pixels.copy())
        check_equal((again.fingerprint, again.classes), (data.fingerprint, 0), "the same pixels without labels")
        pixels[9, 27, 27] += 1
        check(ssld.Dataset.from_pixels(context, pixels).fingerprint != data.fingerprint, "another pixel, same fingerprint")
        colour = ssld.Dataset.from_pixels(context, numpy.zeros((2, 6, 8, 3), dtype=numpy.uint8))
        check_equal(colour.image, (3, 6, 8), "image of colour pixels")
        check_raises(TypeError, "pixels: expected a C-contiguous uint8 array", ssld.Dataset.from_pixels, context,
                     pixels.astype(numpy.float32))


@test
def idx_files_are_a_data_set():
    pixels, classes = images(12)
    with ssld.Context() as context, folder() as path:
        files = [write(path + "/images", idx(pixels)),
                 write(path + "/labels.gz", gzip.compress(idx(classes.astype("u1"))))]
        data = ssld.Dataset(context, "idx:" + ",".join(files))
        check_equal((len(data), data.classes, data.image, data.label(2)), (12, 4, (1, 28, 28), 2), "data set")
        check_equal(data.fingerprint, ssld.Dataset.from_pixels(context, pixels).fingerprint, "fingerprint of the pixels")
        check_equal(len(ssld.Dataset(context, "idx:" + ",".join(files), limit=5)), 5, "samples with limit=5")


@test
def lists_and_folders_are_data_sets():
    pixels, _ = images(3)
    with ssld.Context() as context, folder() as path:
        for number, name in enumerate(("cat/a b.png", "cat/z.png", "dog/a.png")):
            write(path + "/" + name, png(pixels[number]))
        write(path + "/list.txt", b"cat/a b.png 0\ncat/z.png 0\ndog/a.png 1\n")
        listed = ssld.Dataset(context, "list:%s/list.txt" % path)
        check_equal((len(listed), listed.classes, listed.label(2), listed.name(0)), (3, 2, 1, "cat/a b.png"), "list")
        found = ssld.Dataset(context, "dir:" + path, classes=5)
        check_equal((len(found), found.classes, found.label(2)), (3, 5, 1), "folder")
        os.rename(path + "/list.txt", path + "/dog/list.txt")
        rooted = ssld.Dataset(context, "list:%s/dog/list.txt" % path, root=path)
        check_equal(rooted.fingerprint, listed.fingerprint, "fingerprint of the same list")


@test
def bad_data_sets_are_refused_by_name():
    with ssld.Context() as context, folder() as path:
        check_raises(ssld.NotFoundError, path + "/none.txt", ssld.Dataset, context, "list:%s/none.txt" % path)
        check_raises(ssld.InvalidArgumentError, "tape:", ssld.Dataset, context, "tape:/dev/null")
        write(path + "/a.png", png(images(1)[0][0]))
        write(path + "/list.txt", b"a.png 0\na.png x\n")
        check_raises(ssld.FormatError, "list.txt:2", ssld.Dataset, context, "list:%s/list.txt" % path)
        write(path + "/images", idx(images(3)[0])[:-1])
        check_raises(ssld.FormatError, path + "/images", ssld.Dataset, context, "idx:%s/images" % path)
        check_raises(ValueError, "zero byte", ssld.Dataset, context, "list:a\0b")


@test
def shards_manifests_and_hashes_are_reached():
    pixels, _ = images(3)
    with ssld.Context() as context, folder() as path:
        with tarfile.open(path + "/s-0.tar", "w") as archive:
            for number in range(3):
                for name, content in (("%d.png" % number, png(pixels[number])), ("%d.cls" % number, b"%d" % (number % 2))):
                    member = tarfile.TarInfo("x" * 120 + "/" + name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        data = ssld.Dataset(context, "tar:%s/s-{0..0}.tar" % path, hash_contents=1, manifest_path=path + "/m")
        check_equal((len(data), data.classes, data.label(1), data.name(2)), (3, 2, 1, "x" * 120 + "/2.png"), "shards")
        check(os.path.exists(path + "/m"), "no manifest")
        check_equal(len(data.content_hash(2)), 16, "bytes of a hash")
        plain = ssld.Dataset(context, "tar:" + path, manifest=ssld.MANIFEST_NONE)
        check(plain.fingerprint != data.fingerprint, "names and contents have one fingerprint")
        check_raises(ssld.NotFoundError, "open the data set with hash_contents", plain.content_hash, 0)


@test
def samples_come_from_a_function():
    pixels, classes = images(12, height=20, width=16)
    with ssld.Context() as context:
        def read(sample):
            if sample == 7:
                raise KeyError("no sample 7")
            if sample % 2:
                return png(pixels[sample])
            return numpy.repeat(pixels[sample][:, :, None], 3, axis=2)

        data = ssld.Dataset.from_source(context, 12, read, labels=classes, fingerprint=bytes(range(16)))
        check_equal((len(data), data.classes, data.fingerprint, data.name(3)), (12, 4, bytes(range(16)), "#3"), "data set")
        spec = ssld.ViewSpec(context, "gray center_crop(12) normalize(0, 1)")
        loader = ssld.Loader(context, data, spec, batch=4, threads=2, bad=ssld.BAD_SKIP)
        seen = {}
        for batch in loader.epoch(0):
            for row, sample in enumerate(batch.samples.tolist()):
                seen[sample] = batch.pixels[row].copy()
        check_equal(sorted(seen), [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11], "samples")
        for sample, view in seen.items():
            check(numpy.array_equal(view, spec.render(png(pixels[sample]), 0, sample, 0)), "sample %d differs", sample)
        check_equal([(bad.sample, bad.status) for bad in loader.bad], [(7, ssld.IO)], "bad images")
        check("sample #7: KeyError: 'no sample 7'" in loader.bad[0].text, "it says: %s", loader.bad[0].text)
        del batch  # which the loader lives as long as
        loader.close()
        check_equal(data._handle.keep.given, {}, "what was not given back")
        check_raises(ValueError, "expected 16 bytes", ssld.Dataset.from_source, context, 1, read, fingerprint=b"short")


# -- ViewSpec ------------------------------------------------------------------------------------------------------

@test
def canonical_text_is_a_fixed_point():
    with ssld.Context() as context:
        spec = ssld.ViewSpec(context, "rrc(24) flip(0.5) normalize(imagenet)")
        again = ssld.ViewSpec(context, spec.text)
        check_equal(again.text, spec.text, "canonical text")
        check_equal((str(spec), spec.shape()), (spec.text, (3, 24, 24)), "text and shape")
        check_raises(ssld.InvalidArgumentError, "frobnicate", ssld.ViewSpec, context, "flip(0.5) frobnicate(3)")
        check_raises(ssld.InvalidArgumentError, "", ssld.ViewSpec(context, "resize(20)").shape)
        check_equal(ssld.ViewSpec(context, "resize(20)").shape((3, 40, 60)), (3, 20, 30), "shape of a known image")
        check_equal(spec.normalization, ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "normalization")


@test
def view_without_geometry_is_the_formula():
    with ssld.Context() as context:
        pixels = images(1, height=9, width=7)[0][0]
        spec = ssld.ViewSpec(context, "normalize(0.25, 0.5)")
        seen = spec.render_pixels(pixels, seed=1, sample=2, view=3)
        expected = (pixels / 255.0 - 0.25) / 0.5
        # One rounding of a value below 2 to float, and at most two more on the way.
        check(seen.shape == (1, 9, 7) and numpy.abs(seen[0] - expected).max() < 3e-7, "largest difference %g",
              numpy.abs(seen[0] - expected).max())


@test
def views_are_pure_functions_of_their_place():
    with ssld.Context() as context:
        pixels = numpy.random.default_rng(5).integers(0, 256, (40, 30, 3), dtype=numpy.uint8)
        spec = ssld.ViewSpec(context, "rrc(16) flip(0.5) normalize(imagenet)")
        first = spec.render_pixels(pixels, seed=1, sample=2 ** 63, view=2 ** 32 - 1)
        out = numpy.empty((3, 16, 16), dtype=numpy.float32)
        again = spec.render(png(pixels), 1, 2 ** 63, 2 ** 32 - 1, out=out)
        check(again is out and numpy.array_equal(first, again), "the file's view is not that of its pixels")
        check(numpy.array_equal(first, spec.render(memoryview(bytearray(png(pixels))), 1, 2 ** 63, 2 ** 32 - 1)),
              "the buffer's view is not that of the bytes")
        others = [spec.render_pixels(pixels, *place) for place in ((2, 2 ** 63, 0), (1, 0, 0), (1, 2 ** 63, 0))]
        check(not any(numpy.array_equal(first, other) for other in others), "another place gave the same view")


@test
def bf16_views_are_the_upper_halves_of_rounded_floats():
    with ssld.Context() as context:
        spec = ssld.ViewSpec(context, "normalize(imagenet)")
        file = png(numpy.arange(192, dtype=numpy.uint8).reshape(8, 8, 3))
        bits = spec.render(file, 0, 0, 0, out=numpy.empty((3, 8, 8), numpy.float32)).view(numpy.uint32)
        halves = spec.render_bf16(file, 0, 0, 0, out=numpy.empty((3, 8, 8), numpy.uint16))
        check(numpy.array_equal(halves, (bits + 0x7fff + (bits >> 16 & 1)) >> 16), "they are something else")


@test
def images_are_verified_whole_and_within_limits():
    file = png(numpy.zeros((8, 9, 3), dtype=numpy.uint8))
    with ssld.Context(image_pixels_limit=72) as context:
        check(ssld.verify_image(context, file) == (3, 8, 9), "%s", ssld.verify_image(context, file))
        check_raises(ssld.CorruptError, "damaged or cut-off", ssld.verify_image, context, file[:-3])
    with ssld.Context(image_pixels_limit=71) as context:
        check_raises(ssld.UnsupportedError, "image_pixels_limit is 71", ssld.verify_image, context, file)


@test
def bad_images_and_receivers_are_refused():
    with ssld.Context() as context:
        spec = ssld.ViewSpec(context, "center_crop(8) normalize(imagenet)")
        good = png(numpy.zeros((8, 8, 3), dtype=numpy.uint8))
        check_raises(ssld.FormatError, "", spec.render, b"GIF89a and so on", 0, 0, 0)
        check_raises(ssld.CorruptError, "", spec.render, good[:len(good) // 2], 0, 0, 0)
        check_raises(ssld.InvalidArgumentError, "", spec.render, good, 0, 0, 0,
                     out=numpy.empty((3, 8, 7), dtype=numpy.float32))
        check_raises(TypeError, "out: expected a C-contiguous float32 array", spec.render, good, 0, 0, 0,
                     out=numpy.empty((3, 8, 8)))
        fixed = numpy.empty((3, 8, 8), dtype=numpy.float32)
        fixed.flags.writeable = False
        check_raises(TypeError, "read-only", spec.render, good, 0, 0, 0, out=fixed)
        check_raises(OverflowError, "view: -1", spec.render, good, 0, 0, -1)


@test
def philox_gives_the_published_vector():
    # Random123's known answers for philox4x32, 10 rounds.
    check_equal([hex(word) for word in ssld.philox4x32([0xffffffff] * 4, [0xffffffff] * 2)],
                ["0x408f276d", "0x41c83b0e", "0xa20bc7c6", "0x6d5451fd"], "words")


# -- Loader --------------------------------------------------------------------------------------------------------

def make_loader(context, count=10, **options):
    pixels, classes = images(count)
    data = ssld.Dataset.from_pixels(context, pixels, classes)
    return ssld.Loader(context, data, ssld.ViewSpec(context, "pad_crop(28, 2) normalize(0.286, 0.353)"), **options)


@test
def epoch_visits_every_sample_once():
    with ssld.Context() as context:
        loader = make_loader(context, batch=4, views=3, first_view=1)
        check_equal((loader.batches, len(loader), loader.shape), (3, 3, (1, 28, 28)), "loader")
        seen = [(batch.samples.tolist(), batch.views.tolist(), batch.labels.tolist()) for batch in loader.epoch(4)]
        check_equal([samples for samples, _, _ in seen], [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]], "samples")
        check_equal({view for _, views, _ in seen for view in views}, {2}, "views of epoch 4: (1 + 4) mod 3")
        check_equal([labels for _, _, labels in seen][2], [0, 1], "labels of samples 8 and 9")
        check_equal(len(list(loader)), 3, "batches of the next epoch")
        check(loader.wait_seconds >= 0, "%g seconds", loader.wait_seconds)


@test
def shuffled_epoch_is_a_permutation_of_its_seed():
    with ssld.Context() as context:
        orders = []
        for seed in (1, 1, 2):
            loader = make_loader(context, batch=3, order=ssld.ORDER_SHUFFLED, last=ssld.LAST_DROP, order_seed=seed)
            orders.append([sample for batch in loader.epoch(1) for sample in batch.samples.tolist()])
            check_equal(loader.batches, 3, "whole batches of 3 in 10")
        check(orders[0] == orders[1] != orders[2], "orders %s", orders)
        check_equal(len(set(orders[0])), 9, "different samples")


@test
def loaded_pixels_are_the_rendered_view():
    with ssld.Context() as context:
        pixels, _ = images(10)
        loader = make_loader(context, batch=4, view_seed=9)
        spec = ssld.ViewSpec(context, "pad_crop(28, 2) normalize(0.286, 0.353)")
        batch = next(loader.epoch(2, batch_number=1))
        check_equal(batch.samples.tolist(), [4, 5, 6, 7], "samples of batch 1")
        for row in range(4):
            expected = spec.render_pixels(pixels[4 + row], seed=9, sample=4 + row, view=2)
            check(numpy.array_equal(batch.pixels[row], expected), "row %d differs", row)


@test
def loaded_pixels_are_not_copied():
    with ssld.Context() as context:
        loader = make_loader(context, batch=4)
        batch = ssld.Batch(context)
        check(loader.next(batch), "no batch")
        first, second = batch.pixels, batch.pixels[1:]
        check(numpy.shares_memory(first, second) and not first.flags.owndata, "a copy was made")


@test
def seek_goes_on_as_if_uninterrupted():
    with ssld.Context() as context:
        loader = make_loader(context, batch=2, order=ssld.ORDER_SHUFFLED)
        whole = [batch.pixels.copy() for batch in loader.epoch(3)]
        part = [batch.pixels.copy() for batch in loader.epoch(3, batch_number=2)]
        check(len(part) == 3 and all(map(numpy.array_equal, part, whole[2:])), "%d batches, or other pixels", len(part))
        check_raises(ssld.InvalidArgumentError, "", loader.seek, 0, 5)


@test
def next_tells_the_end_of_an_epoch_from_a_batch():
    with ssld.Context() as context:
        loader = make_loader(context, batch=5)
        batch = ssld.Batch(context)
        check_equal([loader.next(batch) for _ in range(6)], [True, True, False, True, True, False], "two epochs")


@test
def unreadable_image_is_named_and_the_rest_goes_on():
    with ssld.Context() as context, folder() as path:
        pixels, _ = images(4)
        for number in range(4):
            write("%s/c/%d.png" % (path, number), png(pixels[number]))
        data = ssld.Dataset(context, "dir:" + path)
        write(path + "/c/1.png", b"no picture")
        loader = ssld.Loader(context, data, ssld.ViewSpec(context, "gray center_crop(28)"), batch=2)
        batch = ssld.Batch(context)
        check_raises(ssld.FormatError, "1.png", loader.next, batch)
        check(loader.next(batch) and batch.samples.tolist() == [2, 3], "after the error: %s", batch.samples)


@test
def ranks_cache_and_statistics_are_reached():
    with ssld.Context() as context, folder() as path:
        pixels, _ = images(10)
        for number in range(10):
            write("%s/c/%d.png" % (path, number), png(pixels[number]))
        data = ssld.Dataset(context, "dir:" + path)
        spec = ssld.ViewSpec(context, "gray center_crop(28)")
        parts = []
        for rank in range(2):
            loader = ssld.Loader(context, data, spec, batch=2, rank=rank, ranks=2, cache_bytes=1 << 20, last=ssld.LAST_DROP,
                                 priority=ssld.PRIORITY_NORMAL)
            parts.append([batch.samples.tolist() for batch in loader.epoch(0)])
            check_equal(loader.position, (1, 0), "the next batch")
            statistics = loader.statistics
            check_equal((statistics.batches, statistics.images, statistics.skipped), (2, 4, 0), "statistics")
            check(0 < statistics.cache_bytes <= 1 << 20 and statistics.cache_images >= 4, "in memory: %s", statistics)
        check_equal(parts, [[[0, 1], [4, 5]], [[2, 3], [6, 7]]], "parts")


@test
def loader_refuses_the_impossible():
    with ssld.Context() as context:
        check_raises(ssld.InvalidArgumentError, "", make_loader, context, batch=-1)
        data = ssld.Dataset.from_pixels(context, images(4)[0])
        check_raises(ssld.InvalidArgumentError, "", ssld.Loader, context, data, ssld.ViewSpec(context, "center_crop(29)"))
        check_raises(TypeError, "expected a ssld.ViewSpec, got str", ssld.Loader, context, data, "center_crop(28)")


@test
def closing_in_any_order_frees_in_the_right_one():
    for order in ((0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)):
        account = Account()
        context = ssld.Context(threads=2, allocator=account.allocator)
        pixels, classes = images(10)
        data = ssld.Dataset.from_pixels(context, pixels, classes)
        spec = ssld.ViewSpec(context, "normalize(0, 1)")
        loader = ssld.Loader(context, data, spec, batch=4)
        batch = ssld.Batch(context)
        loader.next(batch)
        seen = batch.pixels
        value = seen[3, 0, 5, 6]
        objects = [context, data, spec, loader, batch]
        for number in order:
            objects[number].close()
        gc.collect()
        check_equal(seen[3, 0, 5, 6], value, "a pixel after closing in order %s" % (order,))
        check(account.out, "the loader was freed under an array")
        del seen
        check_equal(account.out, {}, "what is still out")
        check_equal(account.given_back[-1], 0, "the last to come back; 0 is the context")


@test
def left_loop_leaves_its_batch_and_the_loader_usable():
    with ssld.Context(threads=1) as context:
        loader = make_loader(context, batch=2, prefetch=1)
        for _ in range(5):
            for batch in loader.epoch(0):
                first = batch.samples.tolist()
                break
        check_equal((first, batch.samples.tolist()), ([0, 1], [0, 1]), "samples in the loop, and behind it")
        check_equal(len(list(loader.epoch(0))), 5, "batches after five loops that were left")


main()
