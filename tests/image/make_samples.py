#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes samples.h: small JPEG and PNG files as bytes, so that golden hashes do not hang on an encoder's version.

Run once with Pillow; what it wrote is kept in the repository."""
import io
import sys

import numpy
from PIL import Image


def picture(height, width):
    """Gradients with an edge and some noise: every kind of coefficient occurs."""
    noise = numpy.random.RandomState(7)
    y, x = numpy.mgrid[0:height, 0:width]
    planes = [x * 255 // width, y * 255 // height, ((x // 7 + y // 5) % 2) * 180 + noise.randint(0, 60, (height, width))]
    return Image.fromarray(numpy.stack(planes, 2).astype(numpy.uint8), 'RGB')


def encoded(image, **options):
    out = io.BytesIO()
    image.save(out, **options)
    return out.getvalue()


def main():
    samples = {
        'jpeg_colour': encoded(picture(29, 37), format='JPEG', quality=60, optimize=True),
        'jpeg_progressive': encoded(picture(29, 37), format='JPEG', quality=60, progressive=True),
        'jpeg_grey': encoded(picture(17, 16).convert('L'), format='JPEG', quality=60, optimize=True),
        'png_colour': encoded(picture(13, 19), format='PNG', optimize=True),
    }
    out = sys.stdout
    out.write('/* SPDX-License-Identifier: BSD-2-Clause */\n')
    out.write('/* samples.h - small image files, written by make_samples.py: the JPEG files but the grey one are 37 x 29, the grey\n'
              ' * one 16 x 17, the PNG file 19 x 13 (width x height). */\n')
    out.write('#ifndef SSLD_TESTS_IMAGE_SAMPLES_H\n#define SSLD_TESTS_IMAGE_SAMPLES_H\n\n#include <stdint.h>\n')
    for name, data in samples.items():
        out.write(f'\nstatic const uint8_t {name}[{len(data)}] = {{\n')
        for at in range(0, len(data), 20):
            out.write('    ' + ' '.join(f'{byte},' for byte in data[at:at + 20]) + '\n')
        out.write('};\n')
    out.write('\n#endif\n')


main()
