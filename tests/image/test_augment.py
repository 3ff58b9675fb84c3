#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Operations of augmentations against Pillow, byte for byte; RandAugment and AutoAugment against timm where it is there.

usage: test_augment.py IMAGE_SERVER [NAME]          prints TAP; tests are skipped where Pillow, NumPy or timm are missing"""
import importlib.util
import math
import os
import random
import sys

from image_server import BICUBIC, BILINEAR, NEAREST, Image, ImageEnhance, ImageOps, Skip, numpy, run, same, to_pillow

# Their numbers in Pillow, old and new.
PILLOW_FILTERS = {NEAREST: 0, BILINEAR: 2, BICUBIC: 3}
AFFINE = 0


def picture(generator, height, width, channels):
    kind = generator.randint(4)
    if kind == 0:
        return generator.randint(0, 256, (height, width, channels)).astype(numpy.uint8)
    if kind == 1:  # edges: where clipping and rounding show
        return (generator.randint(0, 2, (height, width, channels)) * 255).astype(numpy.uint8)
    if kind == 2:  # few levels, not over the whole range: what autocontrast and equalize stretch
        return (generator.randint(3, 9, (height, width, channels)) * generator.randint(1, 28)).astype(numpy.uint8)
    y, x, c = numpy.mgrid[0:height, 0:width, 0:channels]
    return ((x * 5 + y * 3 + c * 31) % 256).astype(numpy.uint8)


def pictures(seed, count, most=60):
    generator = numpy.random.RandomState(seed)
    for case in range(count):
        height, width = (int(n) for n in generator.randint(1, most, 2))
        yield picture(generator, height, width, (1, 3)[case % 3 > 0]), generator


# -- Point operations and enhancements ----------------------------------------------------------------------------------

def add_below_128(image, value):
    return image.point([min(255, i + value) if i < 128 else i for i in range(256)] * len(image.getbands()))


def posterized(image, bits):
    return ImageOps.posterize(image, bits) if bits else image.point(lambda _: 0)  # newer Pillows refuse 0 bits


def point_operations_equal_pillow(server):
    theirs = {'autocontrast': lambda image, _: ImageOps.autocontrast(image), 'equalize': lambda image, _: ImageOps.equalize(image),
              'invert': lambda image, _: ImageOps.invert(image), 'posterize': posterized,
              'solarize': lambda image, value: ImageOps.solarize(image, value), 'solarize_add': add_below_128}
    values = {'posterize': range(9), 'solarize': (0, 1, 25.6, 128, 200, 255, 256), 'solarize_add': (0, 1, 49, 110, 128)}
    for pixels, _ in pictures(1, 200):
        for operation, function in theirs.items():
            for value in values.get(operation, (0,)):
                same(server.change(pixels, operation, value), function(to_pillow(pixels), value),
                     f'{operation} {value} of {pixels.shape}')


def equalize_equals_pillow_on_large_and_flat_images(server):
    generator = numpy.random.RandomState(2)
    for case in range(60):
        pixels = picture(generator, 224, 224, 3)
        pixels = numpy.minimum(pixels, generator.randint(1, 256)).astype(numpy.uint8)
        same(server.change(pixels, 'equalize'), ImageOps.equalize(to_pillow(pixels)), f'case {case}')
        same(server.change(pixels, 'autocontrast'), ImageOps.autocontrast(to_pillow(pixels)), f'case {case}')


def enhancements_equal_pillow(server):
    theirs = {'color': 'Color', 'contrast': 'Contrast', 'brightness': 'Brightness', 'sharpness': 'Sharpness'}
    for pixels, generator in pictures(3, 300):
        factors = [0.0, 1.0, 0.1, 1.9, 2.0] + list(generator.uniform(0, 2, 4)) + [float(generator.uniform(2, 9))]
        for operation, name in theirs.items():
            for factor in factors:
                same(server.change(pixels, operation, factor), getattr(ImageEnhance, name)(to_pillow(pixels)).enhance(factor),
                     f'{operation} {factor!r} of {pixels.shape}')


def sharpness_equals_pillow_for_every_sum(server):
    """Every sum of a 3 x 3 neighbourhood from 0 to 13 * 255: rounding in whole numbers is Pillow's in float."""
    sums = numpy.arange(0, 13 * 255 + 1)
    pixels = numpy.zeros((3, 3 * len(sums), 1), numpy.uint8)
    for index, total in enumerate(sums):
        cells = [0] * 9
        cells[4] = min(255, int(total) // 5)
        rest = int(total) - 5 * cells[4]
        for cell in (0, 1, 2, 3, 5, 6, 7, 8):
            cells[cell] = min(255, rest)
            rest -= cells[cell]
        pixels[:, 3 * index:3 * index + 3, 0] = numpy.reshape(cells, (3, 3))
    for factor in (0.0, 0.37, 1.63):
        same(server.change(pixels, 'sharpness', factor), ImageEnhance.Sharpness(to_pillow(pixels)).enhance(factor), f'{factor}')


def hue_equals_pillow(server):
    def turned(pixels, shift):
        hue, saturation, value = to_pillow(pixels).convert('HSV').split()
        moved = (numpy.asarray(hue).astype(int) + shift) % 256
        return Image.merge('HSV', (Image.fromarray(moved.astype(numpy.uint8)), saturation, value)).convert('RGB')
    generator = numpy.random.RandomState(4)
    for case in range(40):
        pixels = picture(generator, 64, 256, 3)
        shift = int(generator.randint(-127, 128))
        same(server.change(pixels, 'hue', shift), turned(pixels, shift), f'hue {shift}')


# -- Affine transforms --------------------------------------------------------------------------------------------------

def colours(generator, channels):
    fill = tuple(int(n) for n in generator.randint(0, 256, 3))
    return fill, fill if channels == 3 else fill[0]


def shears_and_shifts_equal_pillow(server):
    matrices = {'shear_x': lambda v: (1, v, 0, 0, 1, 0), 'shear_y': lambda v: (1, 0, 0, v, 1, 0),
                'translate_x': lambda v: (1, 0, v, 0, 1, 0), 'translate_y': lambda v: (1, 0, 0, 0, 1, v)}
    for pixels, generator in pictures(5, 250):
        height, width, channels = pixels.shape
        for operation, matrix in matrices.items():
            most = 0.3 if operation.startswith('shear') else 0.45 * (width if operation == 'translate_x' else height)
            for value in list(generator.uniform(-most, most, 3)) + [0.0, round(most), -most]:
                for filter in PILLOW_FILTERS:
                    fill, fill_of_theirs = colours(generator, channels)
                    theirs = to_pillow(pixels).transform((width, height), AFFINE, matrix(value), PILLOW_FILTERS[filter],
                                                         fillcolor=fill_of_theirs)
                    same(server.change(pixels, operation, value, filter, fill), theirs,
                         f'{operation} {value!r} of {pixels.shape} filter {filter}')


def rotations_equal_pillow(server):
    for pixels, generator in pictures(6, 250):
        for degrees in list(generator.uniform(-30, 30, 4)) + [0.0, 30.0, -30.0, 24.0, 1e-9]:
            for filter in PILLOW_FILTERS:
                fill, fill_of_theirs = colours(generator, pixels.shape[2])
                theirs = to_pillow(pixels).rotate(degrees, PILLOW_FILTERS[filter], fillcolor=fill_of_theirs)
                same(server.change(pixels, 'rotate', degrees, filter, fill), theirs,
                     f'rotate {degrees!r} of {pixels.shape} filter {filter}')


def views_of_usual_size_equal_pillow(server):
    """224 x 224 and every filter: rows are whole vectors with a rest."""
    generator = numpy.random.RandomState(7)
    for case in range(24):
        height, width = ((224, 224), (225, 227), (192, 256))[case % 3]
        pixels = picture(generator, height, width, 3)
        for filter in PILLOW_FILTERS:
            degrees = float(generator.uniform(-30, 30))
            same(server.change(pixels, 'rotate', degrees, filter, (124, 116, 104)),
                 to_pillow(pixels).rotate(degrees, PILLOW_FILTERS[filter], fillcolor=(124, 116, 104)), f'rotate {degrees!r}')


def wide_images_are_walked_in_double_as_pillow_does(server):
    """Beyond 2^15 pixels 16.16 fixed point is too narrow."""
    pixels = picture(numpy.random.RandomState(8), 3, 40000, 1)
    for value in (0.21, -0.3):
        for operation, matrix in (('shear_x', (1, value, 0, 0, 1, 0)), ('shear_y', (1, 0, 0, value, 1, 0))):
            theirs = to_pillow(pixels).transform((40000, 3), AFFINE, matrix, 0, fillcolor=9)
            same(server.change(pixels, operation, value, NEAREST, (9, 9, 9)), theirs, f'{operation} {value}')


# -- Draws --------------------------------------------------------------------------------------------------------------

def timm_functions():
    """timm.data.auto_augment alone: the package would want PyTorch."""
    package = importlib.util.find_spec('timm')
    if not package:
        raise Skip('timm is not there')
    path = os.path.join(package.submodule_search_locations[0], 'data', 'auto_augment.py')
    spec = importlib.util.spec_from_file_location('auto_augment', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spy(auto_augment, height, width, calls):
    """timm's pixel functions replaced by ones that note what they were to do."""
    names = {'AutoContrast': 'autocontrast', 'Equalize': 'equalize', 'Invert': 'invert', 'Rotate': 'rotate', 'ShearX': 'shear_x',
             'ShearY': 'shear_y', 'TranslateXRel': 'translate_x', 'TranslateYRel': 'translate_y', 'TranslateX': 'translate_x',
             'TranslateY': 'translate_y', 'SolarizeAdd': 'solarize_add'}

    def replacement(name):
        operation = names.get(name) or next(o for o in ('posterize', 'solarize', 'color', 'contrast', 'brightness', 'sharpness')
                                            if name.lower().startswith(o))
        scale = width if operation == 'translate_x' else height if operation == 'translate_y' else 1

        def noted(image, *values, **_):
            calls.append((operation, float(values[0]) * scale if values else 0.0))
            return image
        return noted
    return {name: replacement(name) for name in auto_augment.NAME_TO_OP if not name.startswith(('Gaussian', 'Desaturate'))}


def compare_calls(ours, theirs, what):
    """The share of each operation, and the mean and deviation of each one's value, of two lists of draws: within 5 standard
    errors of their difference. The draws on both sides are fixed by seeds."""
    count = len(ours)
    for operation in sorted({o for draw in ours + theirs for o, _ in draw}):
        a = numpy.array([v for draw in ours for o, v in draw if o == operation])
        b = numpy.array([v for draw in theirs for o, v in draw if o == operation])
        error = math.sqrt(2 * max(len(a), len(b), 1) / count / count)
        assert abs(len(a) - len(b)) / count < 5 * error, f'{what}: {operation} {len(a)} times, timm {len(b)} times of {count}'
        spread = max(a.std(), b.std())
        assert abs(a.mean() - b.mean()) <= 5 * spread * math.sqrt(2 / len(a)) + 1e-12, \
            f'{what}: {operation} has mean {a.mean()}, timm {b.mean()}'
        # The error of a sample's variance: by its fourth moment, and by the error of its mean.
        fourth = ((a - a.mean()) ** 4).mean()
        slack = 5 * math.sqrt(2 * max(fourth - a.var() ** 2, 0) / len(a)) + 50 * a.var() / len(a) + 1e-9
        assert abs(a.var() - b.var()) <= slack, f'{what}: {operation} has variance {a.var()}, timm {b.var()}'
        assert a.min() >= b.min() - 1e-9 - spread and a.max() <= b.max() + 1e-9 + spread, \
            f'{what}: {operation} from {a.min()} to {a.max()}, timm from {b.min()} to {b.max()}'


def draws_have_timms_statistics(server):
    auto_augment = timm_functions()
    rows = [('rand-m9-mstd0.5-inc1', 'randaugment(9)'), ('rand-m7-mstd0.5-inc1', 'randaugment(7)'),
            ('rand-m5-n3-p0.8', 'randaugment(5, ops=3, p=0.8, mstd=0, list=plain)'), ('v0', 'autoaugment(v0)'),
            ('v0r-mstd0.5', 'autoaugment(v0r, mstd=0.5)'), ('original', 'autoaugment(original)'),
            ('originalr', 'autoaugment(originalr)')]
    before = dict(auto_augment.NAME_TO_OP)
    image = Image.new('RGB', (200, 100))
    for config, spec in rows:
        calls = []
        auto_augment.NAME_TO_OP.update(spy(auto_augment, 100, 200, calls))
        hparams = dict(translate_const=100, img_mean=(124, 116, 104))
        make = auto_augment.rand_augment_transform if config.startswith('rand') else auto_augment.auto_augment_transform
        transform = make(config, hparams)
        auto_augment.NAME_TO_OP.update(before)
        random.seed(5)
        numpy.random.seed(5)
        theirs = []
        for _ in range(30000):
            calls.clear()
            transform(image)
            theirs.append(list(calls))
        ours = [[(operation, value) for operation, _, value in draw] for draw in server.augmentations(spec, 100, 200, 30000)]
        compare_calls(ours, theirs, config)


def augmented_views_are_their_calls_on_pillow(server):
    """A RandAugment view is what Pillow makes of the image with the calls that were drawn."""
    functions = {'autocontrast': ImageOps.autocontrast, 'equalize': ImageOps.equalize, 'invert': ImageOps.invert}
    generator = numpy.random.RandomState(9)
    fill = (124, 116, 104)
    for spec in ('randaugment(9, ops=3, p=0.9)', 'autoaugment(original, resample=bilinear)', 'randaugment(5, list=plain)'):
        draws = server.augmentations(spec, 40, 50, 60)
        for sample, calls in enumerate(draws):
            pixels = picture(generator, 40, 50, 3)
            image = to_pillow(pixels)
            for operation, filter, value in calls:
                if operation in functions:
                    image = functions[operation](image)
                elif operation == 'posterize':
                    image = posterized(image, int(value))
                elif operation == 'solarize':
                    image = ImageOps.solarize(image, int(value))
                elif operation == 'solarize_add':
                    image = add_below_128(image, int(value))
                elif operation in ('color', 'contrast', 'brightness', 'sharpness'):
                    image = getattr(ImageEnhance, operation.title())(image).enhance(value)
                elif operation == 'rotate':
                    image = image.rotate(value, PILLOW_FILTERS[filter], fillcolor=fill)
                else:
                    matrix = {'shear_x': (1, value, 0, 0, 1, 0), 'shear_y': (1, 0, 0, value, 1, 0),
                              'translate_x': (1, 0, value, 0, 1, 0), 'translate_y': (1, 0, 0, 0, 1, value)}[operation]
                    image = image.transform(image.size, AFFINE, matrix, PILLOW_FILTERS[filter], fillcolor=fill)
            same(server.view(spec, pixels, seed=3, sample=sample), image, f'{spec} {calls}')


TESTS = [point_operations_equal_pillow, equalize_equals_pillow_on_large_and_flat_images, enhancements_equal_pillow,
         sharpness_equals_pillow_for_every_sum, hue_equals_pillow, shears_and_shifts_equal_pillow, rotations_equal_pillow,
         views_of_usual_size_equal_pillow, wide_images_are_walked_in_double_as_pillow_does,
         augmented_views_are_their_calls_on_pillow, draws_have_timms_statistics]


sys.exit(run(TESTS))
