# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of pixels share: image_server as an object, comparing with Pillow, running tests as TAP. Tests are skipped where
Pillow or NumPy is missing (MISSING)."""
import struct
import subprocess
import sys

try:
    import numpy
    from PIL import Image, ImageEnhance, ImageOps
    MISSING = None
except ImportError as error:
    numpy = Image = ImageEnhance = ImageOps = None
    MISSING = str(error)

FILTERS = ('bilinear', 'bicubic', 'box', 'cv_linear', 'cv_cubic')
# enum pixel_operation
OPERATIONS = ('autocontrast', 'equalize', 'invert', 'posterize', 'solarize', 'solarize_add', 'color', 'contrast', 'brightness',
              'sharpness', 'hue', 'rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y')
NEAREST, BILINEAR, BICUBIC = range(3)


class Skip(Exception):
    pass


class Server:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, *parts):
        for part in parts:
            self.process.stdin.write(part)
        self.process.stdin.flush()

    def take(self, size):
        data = self.process.stdout.read(size)
        if len(data) != size:
            raise AssertionError(f'image_server ended: {len(data)} of {size} bytes')
        return data

    def resample(self, pixels, box, size, name='bilinear'):
        """box: left, top, right, bottom; size: width, height, as Pillow has them."""
        height, width, channels = pixels.shape
        left, top, right, bottom = box
        self.ask(b'r', struct.pack('=10i', channels, height, width, top, left, bottom - top, right - left, size[1], size[0],
                                   FILTERS.index(name)), pixels.tobytes())
        return numpy.frombuffer(self.take(channels * size[0] * size[1]), numpy.uint8).reshape(size[1], size[0], channels)

    def decode(self, data):
        self.ask(b'd', struct.pack('=i', len(data)), data)
        status, height, width = struct.unpack('=3i', self.take(12))
        pixels = numpy.frombuffer(self.take(height * width * 3), numpy.uint8).reshape(height, width, 3)
        return status, pixels

    def change(self, pixels, operation, value=0.0, filter=NEAREST, fill=(0, 0, 0)):
        height, width, channels = pixels.shape
        self.ask(b'p', struct.pack('=2id', OPERATIONS.index(operation), filter, value), bytes(fill) + b'\0',
                 struct.pack('=3i', channels, height, width), pixels.tobytes())
        return numpy.frombuffer(self.take(pixels.size), numpy.uint8).reshape(pixels.shape)

    def augmentations(self, spec, height, width, count):
        """A list for each draw: (operation, filter, value) of what it applies."""
        self.ask(b'a', struct.pack('=i', len(spec)), spec.encode(), struct.pack('=3i', height, width, count))
        result = []
        for _ in range(count):
            calls = struct.unpack('=i', self.take(4))[0]
            result.append([(OPERATIONS[operation], filter, value) for operation, filter, value in
                           (struct.unpack('=2id', self.take(16)) for _ in range(calls))])
        return result

    def view(self, spec, pixels, seed=0, sample=0, view=0):
        height, width, channels = pixels.shape
        self.ask(b'v', struct.pack('=i', len(spec)), spec.encode(),
                 struct.pack('=3i2QI', channels, height, width, seed, sample, view), pixels.tobytes())
        status, channels, height, width = struct.unpack('=4i', self.take(16))
        assert status == 0, f'{spec}: status {status}'
        return numpy.frombuffer(self.take(channels * height * width), numpy.uint8).reshape(height, width, channels)

    def view_of_file(self, spec, data, size, seed=0, sample=0, view=0):
        self.ask(b'f', struct.pack('=i', len(spec)), spec.encode(), struct.pack('=i', len(data)), data,
                 struct.pack('=2i2QI', *size, seed, sample, view))
        status, = struct.unpack('=i', self.take(4))
        assert status == 0, f'{spec}: status {status}'
        return numpy.frombuffer(self.take(3 * size[0] * size[1]), numpy.uint8).reshape(*size, 3)


def same(ours, theirs, what):
    theirs = numpy.asarray(theirs)
    theirs = theirs.reshape(theirs.shape[0], theirs.shape[1], -1)
    assert ours.shape == theirs.shape, f'{what}: shape {ours.shape}, Pillow {theirs.shape}'
    differing = int((ours != theirs).sum())
    assert differing == 0, f'{what}: {differing} of {ours.size} bytes differ'


def to_pillow(pixels):
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def run(tests):
    """As TAP; a second argument of the program is what the names of wanted tests contain. Returns whether one failed."""
    failed = 0
    wanted = sys.argv[2] if len(sys.argv) > 2 else ''
    print(f'1..{len(tests)}')
    for number, test in enumerate(tests, 1):
        if MISSING or wanted not in test.__name__:
            print(f'ok {number} - {test.__name__} # SKIP {MISSING or "not asked for"}')
            continue
        try:
            test(Server(sys.argv[1]))
            print(f'ok {number} - {test.__name__}', flush=True)
        except Skip as reason:
            print(f'ok {number} - {test.__name__} # SKIP {reason}', flush=True)
        except Exception as error:  # a test that cannot run has failed, and the others still run
            failed += 1
            print(f'# {type(error).__name__}: {error}\nnot ok {number} - {test.__name__}', flush=True)
    return failed != 0
