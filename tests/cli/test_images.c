/* SPDX-License-Identifier: BSD-2-Clause */
/* The program on files of images: bad ones, shards, content hashes, images in memory. */
#include "run.h"

#include <math.h>
#include <stdint.h>

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
    CHECK_SAYS(errors, "pics/a/05.png: 0 bytes: the file is empty");
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

/* What a user meets: the file, and the line in it, that is wrong. */
TEST(data_that_cannot_be_used_is_named)
{
    static const struct {
        const char *list, *data, *said;
    } cases[] = {
        { "pics/a/00.jpg 0\npics/a/01.jpg cat\n", "list:@/wrong.txt", "wrong.txt:2: 'cat' is not a label" },
        { "pics/a/00.jpg 0\npics/a/01.jpg\n", "list:@/wrong.txt", "wrong.txt:2: 'pics/a/01.jpg' has no label" },
        { "pics/a/00.jpg 0\n\npics/a/99.jpg 1\n", "list:@/wrong.txt", "wrong.txt:3: cannot find '" },
        { "pics/a/00.jpg 0\npics/a/01.jpg -5\n", "list:@/wrong.txt", "wrong.txt:2: '-5' is not a label" },
        { "pics/a 0\n", "list:@/wrong.txt", "pics/a' is not a regular file" },
        { "", "list:@/wrong.txt", "wrong.txt: no image is listed" },
        { "", "list:@/pics", "pics: not a regular file" },
        { "", "dir:@/list.txt", "list.txt: cannot open the folder: Not a directory" },
        { "", "dir:@/pics/a", "a: no JPEG or PNG file in a folder of a class; expected" },
        { "", "tar:@/list.txt", "list.txt: this is no tar file: no header at offset 0" },
        { "", "idx:@/list.txt", "list.txt" },
        { "", "folder:@/pics", "folder" },
    };
    set_up();
    write_pictures();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file("wrong.txt", cases[i].list, strlen(cases[i].list));
        CHECK_RUN(1, "label --data %s " SPEC TEACH "--labels @/wrong.ssld --bad-images skip", cases[i].data);
        CHECK_SAYS(errors, cases[i].said);
    }
    CHECK(size_of(in_folder("wrong.ssld")) < 0, "a store was left behind");
}

/* A mixed view needs two images: one bad image takes others' views with it, in labelling and training alike. */
TEST(views_mixed_with_a_bad_image_have_no_label_and_train_without)
{
    static const char mixed[] = "--views \"gray rrc(28) normalize(0.286,0.353) mixup_or_cutmix(0.8, 1)\" ";
    unsigned views = 0;
    char report[4096];
    set_up();
    write_pictures();
    CHECK_RUN(0, "label --data dir:@/pics %s" TEACH "--labels @/sound.ssld --batch 16", mixed);
    CHECK_SAYS(output, "48 views (48 new)");
    spoil_pictures();
    CHECK_RUN(1, "label --data dir:@/pics %s" TEACH "--labels @/mixed.ssld --batch 16", mixed);
    CHECK(strstr(errors, "05.png: ") || strstr(errors, "30.jpg: ") || strstr(errors, "31.jpg: "), "it says: %.600s", errors);
    unlink(in_folder("mixed.ssld"));
    CHECK_RUN(0, "label --data dir:@/pics %s" TEACH "--labels @/mixed.ssld --batch 16 --bad-images skip --bad-report @/mixed.txt",
              mixed);
    const char *count = strstr(output, "mixed.ssld: ");
    CHECK(count && sscanf(count, "mixed.ssld: %u views", &views) == 1 && views < FILES - 3, "%u views: %.600s", views, output);
    CHECK_SAYS(output, "views of images that cannot be read, or are mixed with one, have no label");
    CHECK_SAYS(errors, "3 images were left out");
    read_text(in_folder("mixed.txt"), report, sizeof report);
    CHECK(strstr(report, "05.png: ") && strstr(report, "30.jpg: ") && strstr(report, "31.jpg: "), "the report: %.600s", report);
    CHECK_RUN(0, "train --data dir:@/pics %s" STUDY "--labels @/mixed.ssld --bad-images skip", mixed);
    CHECK_SAYS(output, "rows were images that stood twice in their batch");
}

/* -- Measuring ---------------------------------------------------------------------------------------------------- */

#define BENCH "bench loader --data dir:@/pics --images 100 --batch 16 "

TEST(bench_of_the_loader_tells_programs_everything_in_one_line)
{
    static const char *const parts[] = { "read_ms", "decode_ms", "resample_ms", "augment_ms", "write_ms" };
    static const struct {
        const char *key;
        double      value;
    } given[] = { { "channels", 3 }, { "height", 24 }, { "width", 20 }, { "batch", 16 }, { "threads", 2 } };
    static const size_t sizes[] = { sizeof jpeg_colour, sizeof jpeg_grey, sizeof png_colour };
    size_t least = SIZE_MAX, most = 0;
    set_up();
    write_pictures();
    CHECK_RUN(0, BENCH "--views \"rrc(24x20) color_jitter(0.4, 0.4) flip\" --threads 2 --json");
    CHECK(strchr(output, '\n') == output + strlen(output) - 1, "not one line: %.1200s", output);
    CHECK(!strncmp(output, "{\"data\":\"dir:", 13), "it says: %.1200s", output);
    CHECK_SAYS(output, "\"views\":\"rrc(size=24x20, ");
    CHECK_SAYS(output, "\"isa\":\"");
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
        CHECK(told(given[i].key) == given[i].value, "%s is %g, not %g", given[i].key, told(given[i].key), given[i].value);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        CHECK(told(parts[i]) > 0, "%s is %g", parts[i], told(parts[i]));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        least = sizes[i] < least ? sizes[i] : least;
        most = sizes[i] > most ? sizes[i] : most;
    }
    CHECK(told("images") >= 100 && told("images") < 100 + 16, "%g images", told("images"));
    CHECK(told("images_per_s") > 0 && told("peak_rss_mb") > 0, "it says: %.1200s", output);
    /* All are printed with six digits. */
    CHECK(fabs(told("images_per_s_core") * told("core_ms") / 1e3 - 1) < 1e-4, "%g images/s a core, %g ms", told("images_per_s_core"),
          told("core_ms"));
    CHECK(told("image_kb") > 1e-3 * (double)least && told("image_kb") < 1e-3 * (double)most, "%g kB an image, %zu to %zu bytes",
          told("image_kb"), least, most);
    CHECK_RUN(0, "bench loader " DATA "--images 100 --batch 40 --views \"flip normalize(0, 1)\" --json");
    CHECK(told("decode_ms") == 0 && told("image_kb") == 0 && told("write_ms") > 0, "pixels in memory: %.1200s", output);
}

TEST(bench_of_the_loader_shows_people_where_the_time_goes)
{
    static const char *const said[] = { "images       dir:", "48; ", "kB read for each", "3 x 24 x 24, 16 a batch", "images/s a core",
                                        "peak memory", "decode ", "resample ", "augment ", "write " };
    set_up();
    write_pictures();
    CHECK_RUN(0, BENCH "--views rrc(24)");
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        CHECK_SAYS(output, said[i]);
    spoil_pictures();
    CHECK_RUN(1, BENCH "--views rrc(24)");
    CHECK_SAYS(errors, "/pics/");
    CHECK_RUN(0, BENCH "--views rrc(24) --bad-images skip --json");
    CHECK_SAYS(errors, "3 images were left out because they cannot be read:");
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
          TEST_ROW(mended_images_are_labelled_by_the_same_command),
          TEST_ROW(data_that_cannot_be_used_is_named), TEST_ROW(views_mixed_with_a_bad_image_have_no_label_and_train_without),
          TEST_ROW(bench_of_the_loader_tells_programs_everything_in_one_line),
          TEST_ROW(bench_of_the_loader_shows_people_where_the_time_goes),
          TEST_ROW(labels_by_content_serve_folders_and_shards),
          TEST_ROW(training_with_images_in_memory_is_the_same))
