/* SPDX-License-Identifier: BSD-2-Clause */
/* sources.h - the same images in each source that has manifests. */
#ifndef SSLD_TESTS_DATA_SOURCES_H
#define SSLD_TESTS_DATA_SOURCES_H

#include "data/archive.h"

enum { DIRECTORY, LIST, SHARDS, SOURCES };

/* The same four images as a folder of classes, as a list and as shards, in the same order. */
static inline struct folder make_images(void)
{
    static struct archive archive;
    struct folder folder = make_folder();
    add_folder(&folder, "c");
    add_folder(&folder, "c/cat");
    add_folder(&folder, "c/cat/more");
    add_folder(&folder, "c/dog");
    add_file(&folder, "c/cat/a.jpg", jpeg_colour, sizeof jpeg_colour);
    add_file(&folder, "c/cat/more/b.jpg", jpeg_grey, sizeof jpeg_grey);
    add_file(&folder, "c/dog/a.png", png_colour, sizeof png_colour);
    add_text(&folder, "list.txt", "c/cat/a.jpg 0\nc/cat/more/b.jpg 0\nc/dog/a.png 1\n");
    archive.size = 0;
    add_member(&archive, "1.jpg", jpeg_colour, sizeof jpeg_colour);
    add_label(&archive, "1.cls", "0");
    add_member(&archive, "2.jpg", jpeg_grey, sizeof jpeg_grey);
    add_label(&archive, "2.cls", "0");
    end_archive(&archive);
    add_folder(&folder, "t");
    write_archive(&archive, &folder, "t/s-0.tar");
    archive.size = 0;
    add_member(&archive, "3.png", png_colour, sizeof png_colour);
    add_label(&archive, "3.cls", "1");
    end_archive(&archive);
    write_archive(&archive, &folder, "t/s-1.tar");
    return folder;
}

static inline const char *text_of(const struct folder *folder, int source)
{
    static const char *const prefixes[] = { "dir:", "list:", "tar:" };
    static const char *const names[] = { "c", "list.txt", "t/s-{0..1}.tar" };
    return place(prefixes[source], folder, names[source]);
}

/* What was written a moment ago is looked at again in any case: see docs/manifest-format.md. */
static inline void settle(void)
{
    usleep(1600000);
}

#endif
