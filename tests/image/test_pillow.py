#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Pixels against Pillow, byte for byte, and random views against a second implementation of their draws.

usage: test_pillow.py IMAGE_SERVER [NAME]          prints TAP; every test is skipped where Pillow or NumPy is missing"""
import io
import math
import struct
import sys
import warnings
import zlib

from image_server import Image, ImageOps, Skip, numpy, run, same, to_pillow

warnings.simplefilter('ignore')  # Pillow's advice on palettes


def noise(random, height, width, channels):
    kind = random.randint(3)
    if kind == 0:
        return random.randint(0, 256, (height, width, channels)).astype(numpy.uint8)
    if kind == 1:  # edges: the places where clipping and rounding show
        return (random.randint(0, 2, (height, width, channels)) * 255).astype(numpy.uint8)
    y, x, c = numpy.mgrid[0:height, 0:width, 0:channels]
    return ((x * 5 + y * 3 + c * 31) % 256).astype(numpy.uint8)


# -- Resampling ---------------------------------------------------------------------------------------------------------

def random_resize(random, case):
    """Pixels, a box of them and the size it is resized to: every third of a kind, some keep a side."""
    channels = (1, 3)[case % 2]
    most = (8, 60, 300)[case % 3]
    height, width = random.randint(1, most + 1, 2)
    pixels = noise(random, height, width, channels)
    left, top = random.randint(0, width), random.randint(0, height)
    right, bottom = random.randint(left, width) + 1, random.randint(top, height) + 1
    size = tuple(int(s) for s in random.randint(1, (20, 100, 260)[case // 3 % 3], 2))
    if case % 10 == 0:
        size = (right - left, size[1])
    if case % 15 == 0:
        size = (size[0], bottom - top)
    return pixels, (left, top, right, bottom), size


def resampled_crops_equal_pillow(server):
    for name, method in (('bilinear', Image.BILINEAR), ('bicubic', Image.BICUBIC), ('box', Image.BOX)):
        random = numpy.random.RandomState(1)
        for case in range(500):
            pixels, box, size = random_resize(random, case)
            theirs = to_pillow(pixels).crop(box).resize(size, method)
            height, width = pixels.shape[:2]
            same(server.resample(pixels, box, size, name), theirs, f'{name} {width} x {height} box {box} to {size}')


def long_thin_images_equal_pillow(server):
    random = numpy.random.RandomState(2)
    for height, width, size in ((1, 5000, (3, 7)), (5000, 1, (7, 3)), (2, 3000, (2999, 2)), (1, 1, (50, 40)), (999, 1001, (1, 1))):
        for name, method in (('bilinear', Image.BILINEAR), ('bicubic', Image.BICUBIC), ('box', Image.BOX)):
            pixels = noise(random, height, width, 3)
            same(server.resample(pixels, (0, 0, width, height), size, name), to_pillow(pixels).resize(size, method),
                 f'{name} {width} x {height} to {size}')


def resampled_crops_are_within_one_level_of_opencv(server):
    """OpenCV's vector code for INTER_CUBIC sums in float what ours sums exactly, and its plain code for a row's end rounds
    halves up: one level in one value of a thousand is what the views promise. Without Intel's IPP, which gives other pixels on
    the machines that have it. INTER_LINEAR is equal."""
    try:
        import cv2
    except ImportError as error:
        raise Skip(str(error))
    if hasattr(cv2, 'ipp'):
        cv2.ipp.setUseIPP(False)
    for name, method in (('cv_linear', cv2.INTER_LINEAR), ('cv_cubic', cv2.INTER_CUBIC)):
        random = numpy.random.RandomState(8)
        values = differing = 0
        for case in range(500):
            pixels, (left, top, right, bottom), size = random_resize(random, case)
            if case % 7 == 0 and right - left > 1 and bottom - top > 1:  # halving is a case of its own
                right, bottom = right - (right - left) % 2, bottom - (bottom - top) % 2
                size = ((right - left) // 2, (bottom - top) // 2)
            theirs = cv2.resize(numpy.ascontiguousarray(pixels[top:bottom, left:right]), size, interpolation=method)
            ours = server.resample(pixels, (left, top, right, bottom), size, name)
            apart = numpy.abs(ours.astype(int) - theirs.reshape(ours.shape).astype(int))
            assert apart.max() <= 1, f'{name} {pixels.shape} box {left, top, right, bottom} to {size}: {apart.max()} levels apart'
            values, differing = values + apart.size, differing + int((apart > 0).sum())
        assert differing <= (values / 1000 if name == 'cv_cubic' else 0), f'{name}: {differing} of {values} values differ'
        print(f'# {name}: {differing} of {values} values differ from OpenCV {cv2.__version__}')


# -- JPEG ---------------------------------------------------------------------------------------------------------------

def smooth(random, height, width, channels):
    """Photographic: low frequencies with some noise."""
    small = Image.fromarray(random.randint(0, 256, (5, 6, channels)).astype(numpy.uint8).squeeze())
    large = numpy.asarray(small.resize((width, height), Image.BICUBIC)).reshape(height, width, channels).astype(int)
    return numpy.clip(large + random.randint(-12, 13, large.shape), 0, 255).astype(numpy.uint8)


def jpeg_files_decode_as_pillow_decodes(server):
    random = numpy.random.RandomState(3)
    count = 0
    for height, width in ((8, 8), (16, 16), (17, 31), (1, 1), (1, 33), (40, 3), (65, 127), (100, 100)):
        for mode, channels in (('RGB', 3), ('L', 1), ('CMYK', 4)):
            for options in ({'quality': 90}, {'quality': 40, 'progressive': True}, {'quality': 75, 'subsampling': 0},
                            {'quality': 75, 'subsampling': 1}, {'quality': 95, 'subsampling': 2, 'optimize': True}):
                pixels = smooth(random, height, width, channels)
                image = Image.frombytes(mode, (width, height), pixels.tobytes())
                data = io.BytesIO()
                image.save(data, 'JPEG', **options)
                status, ours = server.decode(data.getvalue())
                what = f'{mode} {width} x {height} {options}'
                assert status == 0, f'{what}: status {status}'
                same(ours, Image.open(io.BytesIO(data.getvalue())).convert('RGB'), what)
                count += 1
    assert count == 120, count


def orientations_are_pillows_exif_transpose(server):
    random = numpy.random.RandomState(9)
    for orientation in range(1, 9):
        for height, width in ((50, 70), (61, 33)):
            for form in ('JPEG', 'PNG'):
                exif = Image.Exif()
                exif[0x112] = orientation
                data = io.BytesIO()
                Image.fromarray(smooth(random, height, width, 3)).save(data, form, exif=exif)
                upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data.getvalue()))).convert('RGB')
                size = (upright.height, upright.width)
                what = f'{form} orientation {orientation} {height} x {width}'
                same(server.view_of_file('exif', data.getvalue(), size), upright, what)
                same(server.view_of_file('exif resize(20x31)', data.getvalue(), (20, 31)), upright.resize((31, 20), Image.BILINEAR),
                     what + ' resized')
                top, left, h, w = resized_box(Stream(3, orientation, 1, 1), *size, (0.08, 1), (3 / 4, 4 / 3))
                crop = upright.crop((left, top, left + w, top + h)).resize((16, 16), Image.BICUBIC)
                same(server.view_of_file('exif rrc(16, filter=bicubic)', data.getvalue(), (16, 16), 3, orientation, 1), crop,
                     what + ' cropped')


# -- PNG ----------------------------------------------------------------------------------------------------------------

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type: values a pixel
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def packed_rows(values, depth):
    """values: (height, width, n) of `depth` bits; each row with filter type 0."""
    out = b''
    for row in values:
        flat = row.reshape(-1)
        if depth == 16:
            line = flat.astype('>u2').tobytes()
        elif depth == 8:
            line = flat.astype(numpy.uint8).tobytes()
        else:
            bits = ((flat[:, None] >> numpy.arange(depth - 1, -1, -1)) & 1).astype(numpy.uint8)
            line = numpy.packbits(bits.reshape(-1)).tobytes()
        out += b'\0' + line
    return out


def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def write_png(values, kind, depth, interlaced, palette=None, transparent=None):
    height, width = values.shape[:2]
    if interlaced:
        passes = [values[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        raw = b''.join(packed_rows(part, depth) for part in passes if part.size)
    else:
        raw = packed_rows(values, depth)
    data = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>2I5B', width, height, depth, kind, 0, 0, int(interlaced)))
    if palette is not None:
        data += chunk(b'PLTE', palette.tobytes())
    if transparent is not None:
        data += chunk(b'tRNS', transparent)
    return data + chunk(b'IDAT', zlib.compress(raw)) + chunk(b'IEND', b'')


def expected_rgb(values, kind, depth, palette):
    if kind == 3:
        return palette[values[:, :, 0]]
    colour = values[:, :, :SAMPLES[kind] - (kind >= 4)]
    if depth == 16:
        colour = colour >> 8
    elif depth < 8:
        colour = colour * (255 // ((1 << depth) - 1))
    return numpy.repeat(colour, 3, 2) if colour.shape[2] == 1 else colour


def png_files_decode_by_definition_and_as_pillow(server):
    random = numpy.random.RandomState(4)
    compared = 0
    for kind, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            for interlaced in (False, True):
                for height, width in ((1, 1), (7, 5), (16, 33)):
                    for transparency in (False, True):
                        if transparency and kind >= 4:
                            continue
                        values = random.randint(0, 1 << depth, (height, width, SAMPLES[kind]))
                        palette = random.randint(0, 256, (1 << depth, 3)).astype(numpy.uint8) if kind == 3 else None
                        transparent = None
                        if transparency:
                            transparent = bytes([0, 128]) if kind == 3 else b'\0\1' * SAMPLES[kind]
                        data = write_png(values, kind, depth, interlaced, palette, transparent)
                        what = f'colour type {kind} depth {depth} interlaced {interlaced} tRNS {transparency}'
                        status, ours = server.decode(data)
                        assert status == 0, f'{what}: status {status}'
                        same(ours, expected_rgb(values, kind, depth, palette).astype(numpy.uint8), what)
                        # Pillow makes 16-bit grey an integer mode and clips it.
                        if not (kind == 0 and depth == 16):
                            same(ours, Image.open(io.BytesIO(data)).convert('RGB'), what + ' against Pillow')
                            compared += 1
    assert compared > 100, compared


# -- Views --------------------------------------------------------------------------------------------------------------

class Stream:
    """Philox4x32-10 with the counter (sample, sample >> 32, view, operation << 16 | block)."""

    def __init__(self, seed, sample, view, operation):
        self.key = (seed & 0xffffffff, seed >> 32)
        self.head = (sample & 0xffffffff, sample >> 32, view)
        self.operation, self.block, self.words = operation, 0, []

    def word(self):
        if not self.words:
            c0, c1, c2 = self.head
            c3 = self.operation << 16 | self.block
            k0, k1 = self.key
            for _ in range(10):
                a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
                c0, c1, c2, c3 = b >> 32 ^ c1 ^ k0, b & 0xffffffff, a >> 32 ^ c3 ^ k1, a & 0xffffffff
                k0, k1 = k0 + 0x9E3779B9 & 0xffffffff, k1 + 0xBB67AE85 & 0xffffffff
            self.words, self.block = [c0, c1, c2, c3], self.block + 1
        return self.words.pop(0)

    def uniform(self, low=0.0, high=1.0):
        return low + (high - low) * (self.word() / 4294967296)

    def below(self, bound):
        return self.word() * bound >> 32


def resized_box(stream, height, width, scale, ratio):
    """The rule of torchvision's RandomResizedCrop."""
    for _ in range(10):
        area = height * width * stream.uniform(*scale)
        aspect = math.exp(stream.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = int(round(math.sqrt(area * aspect))), int(round(math.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            top = stream.below(height - h + 1)
            return top, stream.below(width - w + 1), h, w
    w, h = width, height
    if width / height < ratio[0]:
        h = max(1, int(round(w / ratio[0])))
    elif width / height > ratio[1]:
        w = max(1, int(round(h * ratio[1])))
    return (height - h) // 2, (width - w) // 2, h, w


def random_resized_crops_are_torchvisions_rule_on_pillow(server):
    random = numpy.random.RandomState(5)
    fallbacks = 0
    for case in range(400):
        height, width = (int(n) for n in random.randint(1, (120, 20)[case % 2], 2))
        if case % 8 == 0:
            height, width = 3, 200
        pixels = noise(random, height, width, (1, 3)[case % 2])
        seed, sample, view = (int(n) for n in random.randint(0, 2**31, 3))
        seed = seed << 32 | case
        sample = sample << 7
        scale, ratio = ((0.08, 1), (3 / 4, 4 / 3)) if case % 3 else ((0.5, 0.9), (0.5, 0.6))
        spec = f'rrc(24x17, scale={scale[0]}..{scale[1]}, ratio={ratio[0]!r}..{ratio[1]!r}) flip(0.5)'
        top, left, h, w = resized_box(Stream(seed, sample, view, 0), height, width, scale, ratio)
        theirs = to_pillow(pixels).crop((left, top, left + w, top + h)).resize((17, 24), Image.BILINEAR)
        if Stream(seed, sample, view, 1).uniform() < 0.5:
            theirs = theirs.transpose(Image.FLIP_LEFT_RIGHT)
        same(server.view(spec, pixels, seed, sample, view), theirs, f'{width} x {height} {spec} {seed} {sample} {view}')
        fallbacks += width / height > ratio[1] * 20
    assert fallbacks > 20, fallbacks


def deterministic_operations_equal_pillow(server):
    random = numpy.random.RandomState(6)
    for case in range(60):
        height, width = (int(n) for n in random.randint(20, 90, 2))
        pixels = noise(random, height, width, 3)
        image = to_pillow(pixels)
        same(server.view('gray', pixels), image.convert('L'), 'gray')
        same(server.view('gray rgb', pixels), image.convert('L').convert('RGB'), 'gray rgb')
        same(server.view('flip(1)', pixels), image.transpose(Image.FLIP_LEFT_RIGHT), 'flip(1)')
        same(server.view('resize(30x41)', pixels), image.resize((41, 30), Image.BILINEAR), 'resize(30x41)')
        short, long = min(height, width), max(height, width)
        other = int(33 * long / short)
        size = (33, other) if width <= height else (other, 33)
        same(server.view('resize(33)', pixels), image.resize(size, Image.BILINEAR), 'resize(33)')
        top, left = int(round((height - 19) / 2)), int(round((width - 16) / 2))
        same(server.view('center_crop(19x16)', pixels), image.crop((left, top, left + 16, top + 19)), 'center_crop')


def padded_crops_are_pillows_crops_of_a_padded_image(server):
    random = numpy.random.RandomState(7)
    for case in range(100):
        height, width = (int(n) for n in random.randint(1, 40, 2))
        pad = int(random.randint(0, 12))
        out = [int(random.randint(1, n + 2 * pad + 1)) for n in (height, width)]
        pixels = noise(random, height, width, (1, 3)[case % 2])
        stream = Stream(9, case, 3, 0)
        top, left = stream.below(height + 2 * pad - out[0] + 1), stream.below(width + 2 * pad - out[1] + 1)
        # Pillow fills with black what a crop has beyond the image.
        theirs = to_pillow(pixels).crop((left - pad, top - pad, left - pad + out[1], top - pad + out[0]))
        spec = f'pad_crop({out[0]}x{out[1]}, {pad})'
        same(server.view(spec, pixels, 9, case, 3), theirs, f'{width} x {height} {spec}')


TESTS = [resampled_crops_equal_pillow, long_thin_images_equal_pillow, resampled_crops_are_within_one_level_of_opencv,
         jpeg_files_decode_as_pillow_decodes, orientations_are_pillows_exif_transpose, png_files_decode_by_definition_and_as_pillow, random_resized_crops_are_torchvisions_rule_on_pillow,
         deterministic_operations_equal_pillow, padded_crops_are_pillows_crops_of_a_padded_image]


sys.exit(run(TESTS))
