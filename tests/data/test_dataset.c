/* SPDX-License-Identifier: BSD-2-Clause */
/* Data sets: what each source makes of files and folders, and what it says when they are wrong. */
#include "data/files.h"

#include <zlib.h>

#include "data/dataset.h"
#include "data/order.h"

#define FASHION "/usr/share/datasets/fashion-mnist/"

static void check_sample(const ssld_dataset *dataset, uint64_t sample, const char *name, int32_t label)
{
    char given[256];
    size_t length = ssld_dataset_name(dataset, sample, given, sizeof given);
    CHECK(!strcmp(given, name) && length == strlen(name), "sample %d is '%s'", (int)sample, given);
    CHECK(ssld_dataset_label(dataset, sample) == label, "%s has label %d", name, ssld_dataset_label(dataset, sample));
}

static bool same_fingerprint(const ssld_dataset *a, const ssld_dataset *b)
{
    uint8_t first[16], second[16];
    ssld_dataset_fingerprint(a, first);
    ssld_dataset_fingerprint(b, second);
    return !memcmp(first, second, 16);
}

/* -- list: -------------------------------------------------------------------------------------------------------- */

TEST(list_has_a_sample_a_line)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    int32_t image[3];
    add_folder(&folder, "pictures");
    add_file(&folder, "pictures/a cat.jpg", jpeg_colour, sizeof jpeg_colour);
    add_file(&folder, "b.png", png_colour, sizeof png_colour);
    add_text(&folder, "list.txt", "pictures/a cat.jpg 3\r\n\nb.png 0  \nb.png -1");
    ssld_dataset *dataset = open_dataset(context, place("list:", &folder, "list.txt"), NULL);
    CHECK(ssld_dataset_count(dataset) == 3 && ssld_dataset_classes(dataset) == 4, "%d samples, %d classes",
          (int)ssld_dataset_count(dataset), ssld_dataset_classes(dataset));
    check_sample(dataset, 0, "pictures/a cat.jpg", 3);
    check_sample(dataset, 1, "b.png", 0);
    check_sample(dataset, 2, "b.png", -1);
    check_sample(dataset, 3, "#3", -1);
    ssld_dataset_image(dataset, image);
    CHECK(image[0] == 3 && !image[1] && !image[2], "%d x %d x %d", image[0], image[1], image[2]);
    char cut[4];
    CHECK(ssld_dataset_name(dataset, 1, cut, sizeof cut) == 5 && !strcmp(cut, "b.p"), "cut to '%s'", cut);
    CHECK(ssld_dataset_name(dataset, 1, NULL, 0) == 5, "no buffer");
    ssld_dataset_destroy(dataset);
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(list_without_labels_has_none)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    add_file(&folder, "a.png", png_colour, sizeof png_colour);
    add_text(&folder, "list.txt", "a.png\na.png\n");
    ssld_dataset *dataset = open_dataset(context, place("list:", &folder, "list.txt"), NULL);
    CHECK(ssld_dataset_count(dataset) == 2 && ssld_dataset_classes(dataset) == 0, "%d classes",
          ssld_dataset_classes(dataset));
    check_sample(dataset, 1, "a.png", -1);
    ssld_dataset_destroy(dataset);
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(list_paths_start_from_the_root_that_is_given)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    ssld_dataset_options options = make_dataset_options();
    char text[1024];
    add_folder(&folder, "elsewhere");
    add_file(&folder, "elsewhere/a.png", png_colour, sizeof png_colour);
    snprintf(text, sizeof text, "a.png 0\n%s 1\n", place("", &folder, "elsewhere/a.png"));
    add_text(&folder, "list.txt", text);
    check_refused(context, place("list:", &folder, "list.txt"), NULL, SSLD_NOT_FOUND, "list.txt:1: cannot find '");
    options.root = place("", &folder, "elsewhere");
    ssld_dataset *dataset = open_dataset(context, place("list:", &folder, "list.txt"), &options);
    check_sample(dataset, 0, "a.png", 0);
    check_sample(dataset, 1, place("", &folder, "elsewhere/a.png"), 1);
    char where[SSLD_MOST_PATH];
    for (uint64_t i = 0; i < 2; i++) {
        ssld_dataset_place(dataset, i, where);
        CHECK(!strcmp(where, place("", &folder, "elsewhere/a.png")), "sample %d is at %.200s", (int)i, where);
    }
    ssld_dataset_destroy(dataset);
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(wrong_list_lines_are_named)
{
    static const struct {
        const char *text;
        ssld_status status;
        const char *said;
        int32_t     classes;
    } rows[] = {
        { "a.png 0\na.png cat\n", SSLD_FORMAT, "list.txt:2: 'cat' is not a label; expected 'path label'", 0 },
        { "a.png 0\na.png\n", SSLD_FORMAT, "list.txt:2: 'a.png' has no label, but the lines before have one", 0 },
        { "a.png\n\na.png 5\n", SSLD_FORMAT, "list.txt:3: 'a.png 5' has a label, but the lines before have none", 0 },
        { "a.png -2\n", SSLD_FORMAT, "'-2' is not a label", 0 },
        { "a.png 1.5\n", SSLD_FORMAT, "'1.5' is not a label", 0 },
        { "a.png 99999999999999999999\n", SSLD_FORMAT, "'99999999999999999999' is not a label", 0 },
        { "a.png 2147483647\n", SSLD_FORMAT, "'2147483647' is not a label", 0 },
        { "a.png 9\na.png 10\n", SSLD_FORMAT, "list.txt:2: '10' is not a label from 0 to 9", 10 },
        { "   7\n", SSLD_FORMAT, "list.txt:1: no path before the label", 0 },
        { "a.png 0\nmissing.png 0\n", SSLD_NOT_FOUND, "list.txt:2: cannot find '", 0 },
        { "folder 0\n", SSLD_IO, "is not a regular file", 0 },
    };
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    add_file(&folder, "a.png", png_colour, sizeof png_colour);
    add_folder(&folder, "folder");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_dataset_options options = make_dataset_options();
        options.classes = rows[i].classes;
        add_text(&folder, "list.txt", rows[i].text);
        check_refused(context, place("list:", &folder, "list.txt"), &options, rows[i].status, rows[i].said);
    }
    add_file(&folder, "list.txt", "a.png\0 0\n", 9);
    check_refused(context, place("list:", &folder, "list.txt"), NULL, SSLD_FORMAT, "list.txt:1: a zero byte");
    static char long_line[SSLD_MOST_PATH + 8];
    memset(long_line, 'x', SSLD_MOST_PATH);
    add_text(&folder, "list.txt", long_line);
    check_refused(context, place("list:", &folder, "list.txt"), NULL, SSLD_FORMAT, "list.txt:1: the path is longer");
    remove_all(folder.path);
    ssld_context_destroy(context);
}

/* -- dir: --------------------------------------------------------------------------------------------------------- */

TEST(folders_are_classes_in_byte_order)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    static const char *const folders[] = { "dog", "Zebra", "cat", "cat/inner", ".hidden", "empty" };
    static const char *const files[] = { "dog/2.JPG",    "dog/10.jpeg", "Zebra/x.png",   "cat/inner/a.jpg", "cat/b.png",
                                         "cat/note.txt", "readme.txt",  "cat/._b.png", ".hidden/a.png" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        add_folder(&folder, folders[i]);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        add_file(&folder, files[i], png_colour, sizeof png_colour);
    ssld_dataset *dataset = open_dataset(context, place("dir:", &folder, ""), NULL);
    CHECK(ssld_dataset_count(dataset) == 5, "%d samples", (int)ssld_dataset_count(dataset));
    check_sample(dataset, 0, "Zebra/x.png", 0);
    check_sample(dataset, 1, "cat/b.png", 1);
    check_sample(dataset, 2, "cat/inner/a.jpg", 1);
    check_sample(dataset, 3, "dog/10.jpeg", 2); /* the byte order of 10 and 2 */
    check_sample(dataset, 4, "dog/2.JPG", 2);
    CHECK(ssld_dataset_classes(dataset) == 3, "%d classes",
          ssld_dataset_classes(dataset)); /* "empty" is 3 and has nothing */
    ssld_dataset_destroy(dataset);

    ssld_dataset_options options = make_dataset_options();
    options.limit = 2;
    dataset = open_dataset(context, place("dir:", &folder, ""), &options);
    CHECK(ssld_dataset_count(dataset) == 2 && ssld_dataset_classes(dataset) == 3, "limited to %d samples of %d classes",
          (int)ssld_dataset_count(dataset), ssld_dataset_classes(dataset));
    ssld_dataset_destroy(dataset);
    options.classes = 3;
    check_refused(context, place("dir:", &folder, ""), &options, SSLD_FORMAT,
                  "4 folders, but the number of classes is 3");
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(folder_without_classes_or_without_end_is_refused)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    char deep[128] = "class";
    add_file(&folder, "a.png", png_colour, sizeof png_colour);
    check_refused(context, place("dir:", &folder, ""), NULL, SSLD_FORMAT, "no JPEG or PNG file in a folder of a class");
    check_refused(context, place("dir:", &folder, "none"), NULL, SSLD_NOT_FOUND, "none");
    check_refused(context, place("dir:", &folder, "a.png"), NULL, SSLD_NOT_FOUND, "a.png");
    add_folder(&folder, deep);
    add_file(&folder, "class/a.png", png_colour, sizeof png_colour);
    CHECK(symlink("..", place("", &folder, "class/round")) == 0, "no symbolic link");
    ssld_dataset *dataset = open_dataset(context, place("dir:", &folder, ""), NULL);
    CHECK(ssld_dataset_count(dataset) == 1, "%d samples: the link was followed", (int)ssld_dataset_count(dataset));
    ssld_dataset_destroy(dataset);
    for (int i = 0; i < 40; i++) {
        strcat(deep, "/x");
        add_folder(&folder, deep);
    }
    check_refused(context, place("dir:", &folder, ""), NULL, SSLD_IO, "too deep");
    remove_all(folder.path);
    ssld_context_destroy(context);
}

/* -- What cannot be read ------------------------------------------------------------------------------------------ */

TEST(links_to_nothing_and_things_of_another_kind_are_named)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    add_folder(&folder, "cat");
    add_file(&folder, "cat/a.png", png_colour, sizeof png_colour);
    check_refused(context, place("list:", &folder, "cat"), NULL, SSLD_IO, "cat: not a regular file");
    check_refused(context, place("idx:", &folder, "cat"), NULL, SSLD_IO, "cat: not a regular file");
    check_refused(context, place("tar:", &folder, "cat"), NULL, SSLD_FORMAT, "cat: no .tar file in this folder");
    check_refused(context, place("tar:", &folder, "none.tar"), NULL, SSLD_NOT_FOUND, "none.tar: cannot open: No such file");
    check_refused(context, place("tar:", &folder, "cat/a.png/x.tar"), NULL, SSLD_NOT_FOUND,
                  "x.tar: cannot open: Not a directory");
    check_refused(context, place("list:", &folder, "none.txt"), NULL, SSLD_NOT_FOUND, "none.txt: cannot open: No such file");
    add_text(&folder, "empty.txt", "\n  \n");
    check_refused(context, place("list:", &folder, "empty.txt"), NULL, SSLD_FORMAT, "empty.txt: no image is listed; expected");
    add_text(&folder, "below.txt", "cat/a.png 0\n\ncat/a.png/b.png 0\n");
    check_refused(context, place("list:", &folder, "below.txt"), NULL, SSLD_NOT_FOUND, "below.txt:3: cannot find '");
    CHECK(mkfifo(place("", &folder, "cat/b.png"), 0644) == 0, "no pipe");
    add_text(&folder, "pipe.txt", "cat/b.png 0\n");
    check_refused(context, place("list:", &folder, "pipe.txt"), NULL, SSLD_IO, "cat/b.png' is not a regular file");
    ssld_dataset *dataset = open_dataset(context, place("dir:", &folder, ""), NULL);
    CHECK(ssld_dataset_count(dataset) == 1, "%d samples", (int)ssld_dataset_count(dataset));
    ssld_dataset_destroy(dataset);
    CHECK(symlink("nowhere", place("", &folder, "cat/c.png")) == 0, "no symbolic link");
    check_refused(context, place("dir:", &folder, ""), NULL, SSLD_NOT_FOUND, "/cat/c.png: a link to something that is not there");
    add_text(&folder, "link.txt", "cat/a.png 0\ncat/c.png 0\n");
    check_refused(context, place("list:", &folder, "link.txt"), NULL, SSLD_NOT_FOUND, "link.txt:2: cannot find '");
    CHECK(!unlink(place("", &folder, "cat/c.png")) && !symlink("nowhere", place("", &folder, "dog")), "no symbolic link");
    check_refused(context, place("dir:", &folder, ""), NULL, SSLD_NOT_FOUND, "/dog: a link to something that is not there");
    remove_all(folder.path);
    ssld_context_destroy(context);
}

/* Opening as a user who may enter the folder, but not everything in it. */
static void check_forbidden(ssld_context *context, const char *text, const char *said)
{
    ssld_dataset *dataset = NULL;
    bool root = become_nobody();
    ssld_status status = ssld_dataset_open(context, text, NULL, &dataset);
    become_root(root);
    CHECK_STATUS(context, status, SSLD_IO);
    CHECK_TEXT(context, said);
}

TEST(folders_and_files_that_may_not_be_read_are_named)
{
    static const struct {
        const char *forbidden, *text, *said;
    } rows[] = {
        { "cat", "dir:", "/cat: cannot open the folder: Permission denied" },
        { "dog/inner", "dir:", "/dog/inner: cannot open the folder: Permission denied" },
        { "", "dir:", ": cannot open the folder: Permission denied" },
        { "cat", "list:list.txt", "list.txt:2: cannot look at '" },
        { "list.txt", "list:list.txt", "list.txt: cannot open: Permission denied" },
        { "s.tar", "tar:s.tar", "s.tar: cannot open: Permission denied" },
        { "s.tar", "idx:s.tar", "s.tar: cannot open: Permission denied" },
        { "dog", "tar:dog", "dog: cannot open the folder: Permission denied" },
    };
    static const char *const folders[] = { "cat", "dog", "dog/inner" };
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        add_folder(&folder, folders[i]);
    add_file(&folder, "cat/a.png", png_colour, sizeof png_colour);
    add_file(&folder, "dog/a.png", png_colour, sizeof png_colour);
    add_text(&folder, "list.txt", "dog/a.png 0\ncat/a.png 1\n");
    add_text(&folder, "s.tar", "anything");
    chmod(folder.path, 0755);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char prefix[8];
        const char *colon = strchr(rows[i].text, ':') + 1, *path = place("", &folder, rows[i].forbidden);
        struct stat info;
        snprintf(prefix, sizeof prefix, "%.*s", (int)(colon - rows[i].text), rows[i].text);
        CHECK(!stat(path, &info) && !chmod(path, 0), "%s cannot be forbidden", path);
        check_forbidden(context, place(prefix, &folder, colon), rows[i].said);
        CHECK(!chmod(path, info.st_mode & 0777), "%s cannot be allowed again", path);
    }
    remove_all(folder.path);
    ssld_context_destroy(context);
}

/* -- Fingerprints ------------------------------------------------------------------------------------------------- */

TEST(fingerprint_of_files_is_of_names_and_sizes_in_order_not_of_labels)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    static const struct {
        const char *list;
        bool        same;
    } rows[] = { { "a.png 0\nb.jpg 1\n", true }, { "a.png\nb.jpg\n", true }, { "b.jpg 1\na.png 0\n", false },
                 { "a.png 0\n", false },         { "a.png 0\nc.jpg 1\n", false } };
    add_file(&folder, "a.png", png_colour, sizeof png_colour);
    add_file(&folder, "b.jpg", jpeg_colour, sizeof jpeg_colour);
    add_file(&folder, "c.jpg", jpeg_colour, sizeof jpeg_colour);
    add_text(&folder, "list.txt", rows[0].list);
    ssld_dataset *first = open_dataset(context, place("list:", &folder, "list.txt"), NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        add_text(&folder, "other.txt", rows[i].list);
        ssld_dataset *other = open_dataset(context, place("list:", &folder, "other.txt"), NULL);
        CHECK(same_fingerprint(first, other) == rows[i].same, "'%s' has %s fingerprint", rows[i].list,
              rows[i].same ? "another" : "the same");
        ssld_dataset_destroy(other);
    }
    add_file(&folder, "b.jpg", jpeg_grey, sizeof jpeg_grey);
    ssld_dataset *changed = open_dataset(context, place("list:", &folder, "list.txt"), NULL);
    CHECK(!same_fingerprint(first, changed), "another file under the same name is not noticed");
    ssld_dataset_destroy(changed);
    ssld_dataset_destroy(first);
    remove_all(folder.path);
    ssld_context_destroy(context);
}

/* -- idx: and pixels ---------------------------------------------------------------------------------------------- */

static void add_gzip(const struct folder *folder, const char *name, const char *mode, const void *bytes, unsigned size)
{
    gzFile file = gzopen(place("", folder, name), mode);
    CHECK(file && gzwrite(file, bytes, size) == (int)size && gzclose(file) == Z_OK, "cannot make %s", name);
}

TEST(idx_is_the_same_plain_and_compressed_and_as_the_hosts_pixels)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    uint8_t images[IDX_IMAGES_SIZE], labels[IDX_LABELS_SIZE];
    int32_t own_labels[IDX_COUNT], image[3];
    char text[3][1100];
    make_idx(images, labels);
    add_file(&folder, "images", images, sizeof images);
    add_file(&folder, "labels", labels, sizeof labels);
    add_gzip(&folder, "images.gz", "wb", images, sizeof images);
    add_gzip(&folder, "labels.gz", "wb", labels, sizeof labels);
    add_gzip(&folder, "two.gz", "wb", images, 100); /* two members, one behind the other */
    add_gzip(&folder, "two.gz", "ab", images + 100, sizeof images - 100);
    snprintf(text[0], sizeof text[0], "%s,%s", place("idx:", &folder, "images"), place("", &folder, "labels.gz"));
    snprintf(text[1], sizeof text[1], "%s,%s", place("idx:", &folder, "images.gz"), place("", &folder, "labels"));
    snprintf(text[2], sizeof text[2], "%s,%s", place("idx:", &folder, "two.gz"), place("", &folder, "labels"));
    for (int i = 0; i < IDX_COUNT; i++)
        own_labels[i] = labels[8 + i];
    ssld_dataset *host = NULL;
    CHECK_OK(context, ssld_dataset_from_pixels(context, IDX_COUNT, (const int32_t[3]){ 1, IDX_SIDE, IDX_SIDE },
                                               images + 16, own_labels, &host));
    for (int t = 0; t < 3; t++) {
        ssld_dataset *dataset = open_dataset(context, text[t], NULL);
        CHECK(ssld_dataset_count(dataset) == IDX_COUNT && ssld_dataset_classes(dataset) == 5,
              "%d samples of %d classes", (int)ssld_dataset_count(dataset), ssld_dataset_classes(dataset));
        ssld_dataset_image(dataset, image);
        CHECK(image[0] == 1 && image[1] == IDX_SIDE && image[2] == IDX_SIDE, "%d x %d x %d", image[0], image[1],
              image[2]);
        CHECK(!memcmp(dataset->pixels, images + 16, sizeof images - 16), "way %d: other pixels", t);
        check_sample(dataset, 7, "#7", labels[15]);
        CHECK(same_fingerprint(dataset, host), "way %d: another fingerprint", t);
        ssld_dataset_destroy(dataset);
    }
    ssld_dataset *unlabelled = open_dataset(context, place("idx:", &folder, "images.gz"), NULL);
    CHECK(ssld_dataset_classes(unlabelled) == 0 && ssld_dataset_label(unlabelled, 0) == -1, "labels from nowhere");
    CHECK(same_fingerprint(unlabelled, host), "labels are in the fingerprint");
    ssld_dataset_destroy(unlabelled);
    ssld_dataset_options options = make_dataset_options();
    options.limit = 3;
    ssld_dataset *limited = open_dataset(context, text[0], &options);
    CHECK(ssld_dataset_count(limited) == 3 && ssld_dataset_classes(limited) == 5, "%d samples",
          (int)ssld_dataset_count(limited));
    CHECK(!same_fingerprint(limited, host), "a part has the fingerprint of the whole");
    ssld_dataset_destroy(limited);
    options.classes = 4;
    check_refused(context, text[0], &options, SSLD_FORMAT,
                  "labels.gz: the label at offset 11 is 4, but the number of classes is 4");
    ssld_dataset_destroy(host);
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(idx_file_cut_off_or_changed_anywhere_is_refused)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    uint8_t images[IDX_IMAGES_SIZE], labels[IDX_LABELS_SIZE], packed[1024];
    make_idx(images, labels);
    add_gzip(&folder, "images.gz", "wb", images, sizeof images);
    FILE *file = fopen(place("", &folder, "images.gz"), "rb");
    size_t packed_size = fread(packed, 1, sizeof packed, file);
    fclose(file);
    for (size_t size = 0; size < sizeof images; size++) {
        char said[64];
        add_file(&folder, "cut", images, size);
        snprintf(said, sizeof said, "cut: the data ends at offset %zu", size);
        check_refused(context, place("idx:", &folder, "cut"), NULL, SSLD_FORMAT, said);
    }
    for (size_t size = 0; size < packed_size; size++) {
        add_file(&folder, "cut", packed, size);
        check_refused(context, place("idx:", &folder, "cut"), NULL, SSLD_FORMAT, "cut: ");
    }
    /* Before offset 10 is the name of the system that packed it. A few bits of deflate mean nothing: padding. */
    int harmless = 0;
    for (size_t at = 10; at < packed_size; at++) {
        ssld_dataset *dataset = NULL;
        packed[at] ^= 0x10;
        add_file(&folder, "cut", packed, packed_size);
        packed[at] ^= 0x10;
        ssld_status status = ssld_dataset_open(context, place("idx:", &folder, "cut"), NULL, &dataset);
        CHECK(status == (dataset ? SSLD_OK : SSLD_FORMAT), "byte %zu changed: %s", at, ssld_status_name(status));
        CHECK(!dataset || !memcmp(dataset->pixels, images + 16, sizeof images - 16),
              "byte %zu changed pixels unnoticed", at);
        harmless += dataset != NULL;
        ssld_dataset_destroy(dataset);
    }
    CHECK(harmless <= 2, "%d changed bytes were not noticed", harmless);
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(hostile_idx_files_take_no_memory_and_are_named)
{
    struct budget budget;
    ssld_context *context = make_poor_context(&budget, 1 << 20);
    struct folder folder = make_folder();
    uint8_t images[IDX_IMAGES_SIZE + 1], labels[IDX_LABELS_SIZE];
    char both[1100];
    make_idx(images, labels);
    images[IDX_IMAGES_SIZE] = 0;
    add_file(&folder, "long", images, sizeof images);
    check_refused(context, place("idx:", &folder, "long"), NULL, SSLD_FORMAT, "long: there is data behind offset 376");
    add_gzip(&folder, "long.gz", "wb", images, sizeof images);
    check_refused(context, place("idx:", &folder, "long.gz"), NULL, SSLD_FORMAT,
                  "long.gz: there is data behind offset 376");
    memset(images + 4, 0xff, 12); /* 2^32 - 1 images, rows and columns */
    add_file(&folder, "huge", images, sizeof images);
    check_refused(context, place("idx:", &folder, "huge"), NULL, SSLD_FORMAT,
                  "images of 4294967295 x 4294967295 pixels");
    memset(images + 8, 0, 8);
    images[11] = images[15] = 200;
    add_file(&folder, "huge", images, sizeof images);
    check_refused(context, place("idx:", &folder, "huge"), NULL, SSLD_FORMAT, "the header promises 171798691");
    add_gzip(&folder, "huge.gz", "wb", images, sizeof images);
    check_refused(context, place("idx:", &folder, "huge.gz"), NULL, SSLD_FORMAT, "the header promises 171798691");
    add_file(&folder, "labels", labels, sizeof labels);
    check_refused(context, place("idx:", &folder, "labels"), NULL, SSLD_FORMAT, "is it the IDX file of the images?");
    make_idx(images, labels);
    add_file(&folder, "images", images, IDX_IMAGES_SIZE);
    snprintf(both, sizeof both, "%s,%s", place("idx:", &folder, "images"), place("", &folder, "images"));
    check_refused(context, both, NULL, SSLD_FORMAT, "is it the IDX file of the labels?");
    labels[7] = 9;
    add_file(&folder, "labels", labels, sizeof labels - 1);
    snprintf(both, sizeof both, "%s,%s", place("idx:", &folder, "images"), place("", &folder, "labels"));
    check_refused(context, both, NULL, SSLD_FORMAT, "labels: 9 labels, but ");
    snprintf(both, sizeof both, "%s,%s", place("idx:", &folder, "images"), place("", &folder, "none"));
    check_refused(context, both, NULL, SSLD_NOT_FOUND, "none: cannot open");
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(fashion_mnist_is_read_from_its_debian_package)
{
    if (access(FASHION "train-images-idx3-ubyte.gz", R_OK))
        SKIP("the package dataset-fashion-mnist is not installed");
    ssld_context *context = make_context();
    ssld_dataset *dataset =
        open_dataset(context, "idx:" FASHION "t10k-images-idx3-ubyte.gz," FASHION "t10k-labels-idx1-ubyte.gz", NULL);
    int32_t image[3], counts[10] = { 0 };
    ssld_dataset_image(dataset, image);
    CHECK(ssld_dataset_count(dataset) == 10000 && ssld_dataset_classes(dataset) == 10 && image[1] == 28 &&
              image[2] == 28,
          "%d samples of %d classes", (int)ssld_dataset_count(dataset), ssld_dataset_classes(dataset));
    for (uint64_t i = 0; i < 10000; i++)
        counts[ssld_dataset_label(dataset, i)]++;
    for (int c = 0; c < 10; c++)
        CHECK(counts[c] == 1000, "%d images of class %d", counts[c], c);
    ssld_dataset_destroy(dataset);
    ssld_context_destroy(context);
}

TEST(impossible_pixels_are_refused)
{
    ssld_context *context = make_context();
    static const uint8_t pixels[12];
    static const int32_t labels[3] = { 0, -2, 1 };
    static const int32_t shapes[][3] = { { 2, 2, 2 }, { 3, 0, 2 }, { 3, 2, -1 }, { 1, 1 << 15, 1 << 14 } };
    ssld_dataset *dataset = NULL;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        CHECK_STATUS(context, ssld_dataset_from_pixels(context, 1, shapes[i], pixels, NULL, &dataset),
                     SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(context, ssld_dataset_from_pixels(context, 1, (const int32_t[3]){ 1, 2, 2 }, NULL, NULL, &dataset),
                 SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(
        context,
        ssld_dataset_from_pixels(context, UINT64_MAX / 2, (const int32_t[3]){ 1, 2, 2 }, pixels, NULL, &dataset),
        SSLD_INVALID_ARGUMENT);
    CHECK_STATUS(context, ssld_dataset_from_pixels(context, 3, (const int32_t[3]){ 1, 2, 2 }, pixels, labels, &dataset),
                 SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "label 1 is -2");
    CHECK(!dataset, "a refused data set was given");
    ssld_context_destroy(context);
}

/* -- Opening ------------------------------------------------------------------------------------------------------ */

TEST(unknown_data_sets_and_options_are_refused)
{
    ssld_context *context = make_context();
    ssld_dataset_options options = make_dataset_options();
    static const char *const texts[] = { "", "train.txt", "lmdb:train", "list", "list:", "lis:a", "LIST:a", "idx:" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_refused(context, texts[i], NULL, SSLD_INVALID_ARGUMENT,
                      "expected list:FILE, dir:FOLDER, tar:SHARDS or idx:IMAGES[,LABELS]");
    check_refused(context, NULL, NULL, SSLD_INVALID_ARGUMENT, "is no data set");
    check_refused(context, "list:/no/such/list", NULL, SSLD_NOT_FOUND, "/no/such/list: cannot open");
    check_refused(context, "list:/tmp", NULL, SSLD_IO, "/tmp: not a regular file");
    options.classes = -1;
    check_refused(context, "list:/tmp", &options, SSLD_INVALID_ARGUMENT, "classes is -1");
    options = make_dataset_options();
    options.struct_size = 3;
    check_refused(context, "list:/tmp", &options, SSLD_INVALID_ARGUMENT, "struct_size");
    ssld_context_destroy(context);
}

TEST(every_allocation_may_fail)
{
    struct folder folder = make_folder();
    uint8_t images[IDX_IMAGES_SIZE], labels[IDX_LABELS_SIZE];
    char texts[3][1100];
    make_idx(images, labels);
    add_gzip(&folder, "images.gz", "wb", images, sizeof images);
    add_file(&folder, "labels", labels, sizeof labels);
    add_folder(&folder, "class");
    add_file(&folder, "class/a.png", png_colour, sizeof png_colour);
    add_file(&folder, "class/b.png", png_colour, sizeof png_colour);
    add_text(&folder, "list.txt", "class/a.png 0\nclass/b.png 1\n");
    snprintf(texts[0], sizeof texts[0], "%s,%s", place("idx:", &folder, "images.gz"), place("", &folder, "labels"));
    snprintf(texts[1], sizeof texts[1], "%s", place("dir:", &folder, ""));
    snprintf(texts[2], sizeof texts[2], "%s", place("list:", &folder, "list.txt"));
    for (int t = 0; t < 4; t++)
        for (int allowed = 0;; allowed++) {
            struct budget budget;
            ssld_context *context = make_poor_context(&budget, allowed);
            ssld_dataset *dataset = NULL;
            ssld_status status = t < 3 ? ssld_dataset_open(context, texts[t], NULL, &dataset)
                                       : ssld_dataset_from_pixels(context, 2, (const int32_t[3]){ 1, 2, 2 }, images,
                                                                  (const int32_t[2]){ 0, 1 }, &dataset);
            CHECK(status == (dataset ? SSLD_OK : SSLD_OUT_OF_MEMORY), "source %d, %d allocations: %s", t, allowed,
                  ssld_status_name(status));
            ssld_dataset_destroy(dataset);
            CHECK(atomic_load(&budget.out) == 1, "source %d, %d allocations: %d blocks left", t, allowed,
                  atomic_load(&budget.out) - 1);
            ssld_context_destroy(context);
            if (!status)
                break;
        }
    remove_all(folder.path);
}

/* -- Order -------------------------------------------------------------------------------------------------------- */

/* The permutation is a contract: runs are resumed by it. */
TEST(order_of_an_epoch_is_a_pinned_permutation)
{
    static uint64_t order[600000], other[600000];
    static uint8_t seen[600000];
    static const uint64_t first[10] = { 1, 9, 0, 4, 2, 7, 3, 8, 6, 5 };
    ssld_order_shuffle(1, 2, 10, order);
    for (int i = 0; i < 10; i++)
        CHECK(order[i] == first[i], "{ %d, %d, %d, %d, %d, %d, %d, %d, %d, %d }", (int)order[0], (int)order[1],
              (int)order[2], (int)order[3], (int)order[4], (int)order[5], (int)order[6], (int)order[7], (int)order[8],
              (int)order[9]);
    /* Longer than two streams of 2^18 words. */
    ssld_order_shuffle(1, 2, 600000, order);
    uint64_t fixed = 0, hash = 0;
    for (uint64_t i = 0; i < 600000; i++) {
        CHECK(order[i] < 600000 && !seen[order[i]], "place %d has %d again", (int)i, (int)order[i]);
        seen[order[i]] = 1;
        fixed += order[i] == i;
        hash = hash * 6364136223846793005u + order[i];
    }
    CHECK(fixed < 12, "%d samples stayed where they were, 1 is expected", (int)fixed);
    CHECK(hash == 0x5af3350b6cc59038u, "0x%016llx", (unsigned long long)hash);
    ssld_order_shuffle(1, 3, 600000, other);
    CHECK(memcmp(order, other, sizeof order), "epochs 2 and 3 have the same order");
    ssld_order_shuffle(2, 2, 600000, other);
    CHECK(memcmp(order, other, sizeof order), "seeds 1 and 2 have the same order");
    ssld_order_shuffle(1, 2, 600000, other);
    CHECK(!memcmp(order, other, sizeof order), "the same epoch has another order");
}

TEST_MAIN(TEST_ROW(list_has_a_sample_a_line), TEST_ROW(list_without_labels_has_none),
          TEST_ROW(list_paths_start_from_the_root_that_is_given), TEST_ROW(wrong_list_lines_are_named),
          TEST_ROW(folders_are_classes_in_byte_order), TEST_ROW(folder_without_classes_or_without_end_is_refused),
          TEST_ROW(links_to_nothing_and_things_of_another_kind_are_named),
          TEST_ROW(folders_and_files_that_may_not_be_read_are_named),
          TEST_ROW(fingerprint_of_files_is_of_names_and_sizes_in_order_not_of_labels),
          TEST_ROW(idx_is_the_same_plain_and_compressed_and_as_the_hosts_pixels),
          TEST_ROW(idx_file_cut_off_or_changed_anywhere_is_refused),
          TEST_ROW(hostile_idx_files_take_no_memory_and_are_named),
          TEST_ROW(fashion_mnist_is_read_from_its_debian_package), TEST_ROW(impossible_pixels_are_refused),
          TEST_ROW(unknown_data_sets_and_options_are_refused), TEST_ROW(every_allocation_may_fail),
          TEST_ROW(order_of_an_epoch_is_a_pinned_permutation))
