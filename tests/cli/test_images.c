/* SPDX-License-Identifier: BSD-2-Clause */
/* The program on files of images: bad ones, shards, content hashes, images in memory. */
#include "run.h"

#include "image/samples.h"

#define FILES 48
#define SPEC "--views \"gray rrc(28) flip(0.5) normalize(0.286,0.353)\" "
#define TEACH "--teacher @/teacher.onnx --no-check "
#define STUDY "--model PPLCNet_x0_25 --variant small --batch 12 --lr 0.01 --epochs 2 "

static void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(in_folder(name), "wb");
    CHECK(file && fwrite(bytes, 1, size, file) == size && !fclose(file), "%s cannot be written", name);
}

static const char *name_of(int number, char name[64])
{
    snprintf(name, 64, "%s/%s/%02d.%s", "pics", number < FILES / 2 ? "a" : "b", number, number % 3 == 2 ? "png" : "jpg");
    return name;
}

/* FILES images in two classes; list.txt is of them, too. Made anew by each test. */
static void write_pictures(void)
{
    char name[64], list[FILES * 32] = "";
    mkdir(in_folder("pics"), 0755);
    mkdir(in_folder("pics/a"), 0755);
    mkdir(in_folder("pics/b"), 0755);
    unlink(in_folder("pics/.ssld-manifest"));
    for (int i = 0; i < FILES; i++) {
        name_of(i, name);
        if (i % 3 == 0)
            write_file(name, jpeg_colour, sizeof jpeg_colour);
        else if (i % 3 == 1)
            write_file(name, jpeg_grey, sizeof jpeg_grey);
        else
            write_file(name, png_colour, sizeof png_colour);
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s %d\n", name, i < FILES / 2 ? 0 : 1);
    }
    write_file("list.txt", list, strlen(list));
}

/* Images 5, 30 and 31: empty, no image, cut off. */
static void spoil_pictures(void)
{
    char name[64];
    write_file(name_of(5, name), "", 0);
    write_file(name_of(30, name), "no picture", 10);
    write_file(name_of(31, name), jpeg_grey, sizeof jpeg_grey / 2);
}

TEST(bad_image_stops_the_work_and_is_named)
{
    set_up();
    write_pictures();
    spoil_pictures();
    CHECK_RUN(1, "label --data dir:@/pics " SPEC TEACH "--labels @/s.ssld --batch 16");
    CHECK_SAYS(errors, "pics/a/05.png: 0 bytes that are neither a JPEG nor a PNG");
    CHECK_RUN(1, "train --data list:@/list.txt " SPEC STUDY);
    CHECK_SAYS(errors, "/pics/");
    CHECK_RUN(1, "eval --data dir:@/pics " SPEC "--model @/teacher.onnx");
    CHECK_SAYS(errors, "05.png");
    CHECK_RUN(2, "train --data list:@/list.txt " SPEC STUDY "--bad-images replace");
    CHECK_SAYS(errors, "'replace' is not one of stop|skip");
}

TEST(bad_images_are_left_out_listed_and_tried_again)
{
    set_up();
    write_pictures();
    spoil_pictures();
    char report[4096];
    const char *line = "label --data dir:@/pics " SPEC TEACH "--labels @/skip.ssld --batch 16 --view-count 2 --bad-images skip "
                       "--bad-report @/bad.txt";
    CHECK_RUN(0, "%s", line);
    CHECK_SAYS(output, "90 views (90 new)");
    CHECK_SAYS(output, "6 views of images that cannot be read have no label; train with --bad-images skip");
    CHECK_SAYS(errors, "3 images were left out because they cannot be read; ");
    read_text(in_folder("bad.txt"), report, sizeof report);
    CHECK(!strncmp(report, "5\tFORMAT\t", 9) && strstr(report, "pics/a/05.png: 0 bytes") &&
              strstr(report, "\n30\tFORMAT\t") && strstr(report, "\n31\tCORRUPT\t"), "the report: %.600s", report);
    /* Again: what is missing is tried once more, and the end comes. */
    CHECK_RUN(0, "%s", line);
    CHECK_SAYS(output, "90 of 96 views are there already");
    CHECK_SAYS(output, "90 views (0 new)");
    CHECK_RUN(1, "train --data dir:@/pics " SPEC STUDY "--labels @/skip.ssld");
    CHECK_SAYS(errors, "has 90 of 96 labels this run needs");
    CHECK_RUN(0, "train --data dir:@/pics " SPEC STUDY "--labels @/skip.ssld --bad-images skip --out @/skip.onnx");
    CHECK_SAYS(output, "rows were images that stood twice in their batch, in the place of bad ones");
    CHECK_SAYS(output, "reader ");
    CHECK_SAYS(errors, "3 images were left out because they cannot be read:");
    CHECK_SAYS(errors, "31\tCORRUPT\t");
    CHECK_RUN(0, "eval --data dir:@/pics " SPEC "--model @/skip.onnx --bad-images skip");
    CHECK_SAYS(output, "on 45 images");
    CHECK_SAYS(output, "waiting for images ");
    /* Mended, the rest is labelled; the sizes are others then, so it is bound to other files: to the same list of names. */
    write_pictures();
    CHECK_RUN(1, "%s", line);
    CHECK_SAYS(errors, "data set");
}

/* Damage that leaves the size: the fingerprint is the same when the image is mended. */
TEST(mended_images_are_labelled_by_the_same_command)
{
    char name[64];
    uint8_t bad[sizeof jpeg_grey];
    const char *line = "label --data dir:@/pics " SPEC TEACH "--labels @/mend.ssld --batch 16 --view-count 3 --bad-images skip";
    set_up();
    write_pictures();
    memset(bad, 7, sizeof bad);
    write_file(name_of(31, name), bad, sizeof bad);
    CHECK_RUN(0, "%s", line);
    CHECK_SAYS(output, "141 views (141 new)");
    write_file(name_of(31, name), jpeg_grey, sizeof jpeg_grey);
    CHECK_RUN(0, "%s", line);
    CHECK_SAYS(output, "144 views (3 new)");
    CHECK(!strstr(output, "cannot be read") && !strstr(errors, "left out"), "it says: %.600s%.600s", output, errors);
    CHECK_RUN(0, LABEL "--labels @/none.ssld --bad-images skip --bad-report @/none.txt");
    CHECK(size_of(in_folder("none.txt")) == 0, "a report of nothing has %d bytes", (int)size_of(in_folder("none.txt")));
}

TEST(labels_by_content_serve_folders_and_shards)
{
    char command[256];
    set_up();
    if (system("tar --version > /dev/null 2>&1"))
        SKIP("there is no program tar");
    write_pictures();
    snprintf(command, sizeof command, "cd '%s/pics' && tar --sort=name -cf ../t-0.tar a && tar --sort=name -cf ../t-1.tar b", folder);
    CHECK(system(command) == 0, "tar fails");
    CHECK_RUN(0, "label --data dir:@/pics --hash-contents " SPEC TEACH "--labels @/hash.ssld --batch 16");
    CHECK(size_of(in_folder("pics/.ssld-manifest")) > 0, "no manifest of hashed contents");
    CHECK_RUN(0, "train --data tar:@/t-{0..1}.tar --hash-contents --manifest none " SPEC STUDY "--labels @/hash.ssld --epochs 1");
    CHECK(size_of(in_folder("t-{0..1}.tar.ssld-manifest")) < 0, "a manifest that was not wanted");
    CHECK_RUN(0, "train --data list:@/list.txt --hash-contents --manifest @/l.m " SPEC STUDY "--labels @/hash.ssld --epochs 1");
    CHECK(size_of(in_folder("l.m")) > 0, "no manifest where it was wanted");
    CHECK_RUN(1, "train --data tar:@/t-{0..1}.tar " SPEC STUDY "--labels @/hash.ssld --epochs 1");
    CHECK_SAYS(errors, "data set");
}

TEST(training_with_images_in_memory_is_the_same)
{
    set_up();
    write_pictures();
    CHECK_RUN(0, "train --data list:@/list.txt " SPEC STUDY "--seed 4 --out @/read.onnx");
    CHECK_RUN(0, "train --data list:@/list.txt " SPEC STUDY "--seed 4 --out @/kept.onnx --cache 8 --check-files --log @/kept.log");
    CHECK(same_bytes(in_folder("read.onnx"), in_folder("kept.onnx")), "another student");
    static char log[65536];
    read_text(in_folder("kept.log"), log, sizeof log);
    CHECK(strstr(log, "\"cache_hits\":") && !strstr(log, "\"cache_bytes\":0,") && strstr(log, "\"reader_ms\":"), "the log: %.900s",
          log);
}

TEST_MAIN(TEST_ROW(bad_image_stops_the_work_and_is_named), TEST_ROW(bad_images_are_left_out_listed_and_tried_again),
          TEST_ROW(mended_images_are_labelled_by_the_same_command), TEST_ROW(labels_by_content_serve_folders_and_shards),
          TEST_ROW(training_with_images_in_memory_is_the_same))
