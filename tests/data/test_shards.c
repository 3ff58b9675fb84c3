/* SPDX-License-Identifier: BSD-2-Clause */
/* tar: - what shards are read as, whoever packed them, and what is said of those that are cut off, damaged or odd. */
#include "data/archive.h"

#include "data/dataset.h"

static struct archive archive;

/* A sample's name, label and content. */
static void check_sample(const ssld_dataset *dataset, uint64_t sample, const char *name, int32_t label, const void *bytes,
                         size_t size)
{
    char given[600];
    struct read_buffer buffer = { NULL, 0 };
    struct sample_content content = { 0 };
    struct ssld_fault fault = { 0 };
    ssld_dataset_name(dataset, sample, given, sizeof given);
    CHECK(!strcmp(given, name), "sample %d is '%s'", (int)sample, given);
    CHECK(ssld_dataset_label(dataset, sample) == label, "%s has label %d", name, ssld_dataset_label(dataset, sample));
    CHECK(!dataset->source->fetch(dataset, sample, &buffer, &content, &fault), "%s: %s", name, fault.text);
    CHECK(content.size == size && !memcmp(content.bytes, bytes, size), "%s has another content of %zu bytes", name,
          content.size);
    ssld_free(dataset->context, buffer.bytes);
}

/* -- What is read ------------------------------------------------------------------------------------------------- */

TEST(samples_are_members_of_one_name_with_image_and_label)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    archive.size = 0;
    add_typed(&archive, "part", '5', "", 0);
    add_member(&archive, "part/000.jpg", jpeg_colour, sizeof jpeg_colour);
    add_label(&archive, "part/000.json", "{\"who\": 1}");
    add_label(&archive, "part/000.cls", "7\n");
    add_label(&archive, "./part/001.cls", " 0 ");
    add_member(&archive, "./part/001.seg.png", "not its image", 13);
    add_member(&archive, "./part/001.PNG", png_colour, sizeof png_colour);
    add_typed(&archive, "link.jpg", '2', "", 0);
    add_label(&archive, "part/._001.jpg", "hidden");
    add_label(&archive, "README", "nobody's");
    end_archive(&archive);
    write_archive(&archive, &folder, "b.tar");
    archive.size = 0;
    add_label(&archive, "x.y/v1.0.cls", "3");
    add_member(&archive, "x.y/v1.0.jpeg", jpeg_grey, sizeof jpeg_grey); /* the key is x.y/v1, the ending 0.jpeg: not an image */
    add_member(&archive, "x.y/v1.jpeg", jpeg_grey, sizeof jpeg_grey);
    add_label(&archive, "x.y/v1.cls", "12");
    end_archive(&archive);
    write_archive(&archive, &folder, "a.tar");
    add_text(&folder, "no.txt", "not a shard");
    ssld_dataset *dataset = open_dataset(context, place("tar:", &folder, ""), NULL);
    CHECK(ssld_dataset_count(dataset) == 3 && ssld_dataset_classes(dataset) == 13, "%d samples of %d classes",
          (int)ssld_dataset_count(dataset), ssld_dataset_classes(dataset));
    check_sample(dataset, 0, "x.y/v1.jpeg", 12, jpeg_grey, sizeof jpeg_grey);
    check_sample(dataset, 2, "part/001.PNG", 0, png_colour, sizeof png_colour);
    check_sample(dataset, 1, "part/000.jpg", 7, jpeg_colour, sizeof jpeg_colour);
    char where[SSLD_MOST_PATH];
    ssld_dataset_place(dataset, 2, where);
    CHECK(strstr(where, "/b.tar: part/001.PNG"), "an error would name %.300s", where);
    ssld_dataset_destroy(dataset);
    ssld_dataset_options options = make_dataset_options();
    options.limit = 2;
    CHECK_OK(context, ssld_dataset_open(context, place("tar:", &folder, ""), &options, &dataset));
    CHECK(ssld_dataset_count(dataset) == 2 && ssld_dataset_classes(dataset) == 13, "%d samples of %d classes with a limit",
          (int)ssld_dataset_count(dataset), ssld_dataset_classes(dataset));
    ssld_dataset_destroy(dataset);
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(patterns_name_shards_in_their_order)
{
    static const struct {
        const char *pattern;
        const char *names; /* of the samples, a letter each */
    } rows[] = { { "s-{000..003}.tar", "abcd" }, { "s-{2..3}{0..1}.tar", "wxyz" }, { "s-001.tar", "b" }, { "s-{8..10}.tar", "efg" } };
    static const struct {
        const char *shard;
        char        name;
    } shards[] = { { "s-000.tar", 'a' }, { "s-001.tar", 'b' }, { "s-002.tar", 'c' }, { "s-003.tar", 'd' }, { "s-20.tar", 'w' },
                   { "s-21.tar", 'x' },  { "s-30.tar", 'y' },  { "s-31.tar", 'z' },  { "s-8.tar", 'e' },   { "s-9.tar", 'f' },
                   { "s-10.tar", 'g' } };
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    for (size_t i = 0; i < sizeof shards / sizeof *shards; i++) {
        char name[8] = { shards[i].name, '.', 'p', 'n', 'g', 0 };
        archive.size = 0;
        add_member(&archive, name, png_colour, sizeof png_colour);
        end_archive(&archive);
        write_archive(&archive, &folder, shards[i].shard);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_dataset *dataset = open_dataset(context, place("tar:", &folder, rows[i].pattern), NULL);
        CHECK(ssld_dataset_count(dataset) == strlen(rows[i].names), "%s: %d samples", rows[i].pattern,
              (int)ssld_dataset_count(dataset));
        for (uint64_t k = 0; k < ssld_dataset_count(dataset); k++) {
            char given[16];
            ssld_dataset_name(dataset, k, given, sizeof given);
            CHECK(given[0] == rows[i].names[k], "%s: sample %d is %s", rows[i].pattern, (int)k, given);
        }
        CHECK(ssld_dataset_classes(dataset) == 0, "%d classes from nowhere", ssld_dataset_classes(dataset));
        ssld_dataset_destroy(dataset);
    }
    check_refused(context, place("tar:", &folder, "s-{000..004}.tar"), NULL, SSLD_NOT_FOUND, "/s-004.tar: cannot open");
    check_refused(context, place("tar:", &folder, "s-{a,b}.tar"), NULL, SSLD_INVALID_ARGUMENT, "expected two numbers as in");
    check_refused(context, place("tar:", &folder, "s-{3..1}.tar"), NULL, SSLD_INVALID_ARGUMENT, "is no range");
    check_refused(context, place("tar:", &folder, "s-{0..1.tar"), NULL, SSLD_INVALID_ARGUMENT, "is no range");
    check_refused(context, place("tar:", &folder, "s-{0..99999999}.tar"), NULL, SSLD_INVALID_ARGUMENT, "more than 1000000");
    check_refused(context, place("tar:", &folder, "none.tar"), NULL, SSLD_NOT_FOUND, "none.tar: cannot open");
    add_folder(&folder, "empty");
    check_refused(context, place("tar:", &folder, "empty"), NULL, SSLD_FORMAT, "/empty: no .tar file in this folder");
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(long_names_and_large_sizes_are_read_in_every_form)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    char name[4][300], record[320];
    for (int i = 0; i < 4; i++) {
        memset(name[i], 'a' + i, 180);
        strcpy(name[i] + 180, ".png");
    }
    archive.size = 0;
    add_typed(&archive, "././@LongLink", 'L', name[0], strlen(name[0]) + 1);
    add_member(&archive, name[0], png_colour, sizeof png_colour);
    int length = snprintf(record, sizeof record, "22 ctime=1350244992.0\n194 path=%s\n", name[1]);
    CHECK(length == 22 + 194, "the records have %d bytes", length);
    add_typed(&archive, "PaxHeaders/x", 'x', record, strlen(record));
    add_member(&archive, "short.png", png_colour, sizeof png_colour);
    uint8_t *header = add_typed(&archive, "tail.png", '0', png_colour, sizeof png_colour); /* ustar's prefix */
    memcpy(header + 345, name[2], 120);
    seal_header(header);
    header = add_typed(&archive, "old.png", 0, png_colour, sizeof png_colour); /* no magic; the prefix is not one */
    memset(header + 257, 0, 255);
    header[345] = 'x';
    memset(header + 124, 0, 12); /* a size in base 256 */
    header[124] = 0x80;
    header[134] = (uint8_t)(sizeof png_colour >> 8);
    header[135] = (uint8_t)sizeof png_colour;
    seal_header(header);
    snprintf(record, sizeof record, "%d size=%zu\n", sizeof png_colour < 100 ? 11 : 12, sizeof png_colour);
    add_typed(&archive, "PaxHeaders/y", 'x', record, strlen(record));
    header = add_typed(&archive, "sized.png", '0', png_colour, sizeof png_colour);
    memcpy(header + 124, "00000000000", 12);
    seal_header(header);
    end_archive(&archive);
    write_archive(&archive, &folder, "s.tar");
    ssld_dataset *dataset = open_dataset(context, place("tar:", &folder, "s.tar"), NULL);
    char prefixed[300];
    snprintf(prefixed, sizeof prefixed, "%.120s/tail.png", name[2]);
    const char *expected[] = { name[0], name[1], prefixed, "old.png", "sized.png" };
    CHECK(ssld_dataset_count(dataset) == 5, "%d samples", (int)ssld_dataset_count(dataset));
    for (uint64_t i = 0; i < 5; i++)
        check_sample(dataset, i, expected[i], -1, png_colour, sizeof png_colour);
    ssld_dataset_destroy(dataset);
    remove_all(folder.path);
    ssld_context_destroy(context);
}

/* As people pack them. */
TEST(tar_program_packs_what_is_read)
{
    static const char *const formats[] = { "gnu", "ustar", "pax", "oldgnu" };
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    char command[1200], deep[200], label[200], shard[32], line[91];
    if (system("tar --version > /dev/null 2>&1"))
        SKIP("there is no program tar");
    memset(line, 'n', 90); /* names and folders too long for a header's first 100 bytes */
    line[90] = 0;
    add_folder(&folder, line);
    snprintf(deep, sizeof deep, "%s/%.40s.jpg", line, line);
    add_file(&folder, deep, jpeg_colour, sizeof jpeg_colour);
    snprintf(label, sizeof label, "%s/%.40s.cls", line, line);
    add_text(&folder, label, "2\n");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        snprintf(command, sizeof command, "cd '%s' && tar --format=%s --sort=name -cf %s.tar %s", folder.path, formats[i],
                 formats[i], line);
        CHECK(system(command) == 0, "tar --format=%s fails", formats[i]);
        snprintf(shard, sizeof shard, "%s.tar", formats[i]);
        ssld_dataset *dataset = open_dataset(context, place("tar:", &folder, shard), NULL);
        CHECK(ssld_dataset_count(dataset) == 1, "%s: %d samples", formats[i], (int)ssld_dataset_count(dataset));
        check_sample(dataset, 0, deep, 2, jpeg_colour, sizeof jpeg_colour);
        ssld_dataset_destroy(dataset);
    }
    remove_all(folder.path);
    ssld_context_destroy(context);
}

/* -- What is refused ---------------------------------------------------------------------------------------------- */

TEST(odd_samples_are_named_with_shard_and_offset)
{
    static const struct {
        const char *names[4]; /* a .cls holds what stands behind a blank */
        int32_t     classes;
        const char *said;
    } rows[] = {
        { { "1.cls 3", "2.png" }, 0, "s.tar: the sample '1' at offset 0 has no .jpg, .jpeg or .png" },
        { { "1.png", "1.webp", "2.webp" }, 0, "the sample '2' at offset 2048 has no" },
        { { "1.png", "1.jpg" }, 0, "'1.jpg' at offset 1024 is a second image of its sample" },
        { { "1.png", "1.cls 1", "1.cls 1" }, 0, "'1.cls' at offset 2048 is a second label" },
        { { "1.png", "1.cls cat" }, 0, "'1.cls' at offset 1024 is not a label; expected a whole number" },
        { { "1.png", "1.cls -1" }, 0, "is not a label" },
        { { "1.png", "1.cls " }, 0, "is not a label" },
        { { "1.png", "1.cls 99999999999" }, 0, "is not a label" },
        { { "1.png", "1.cls 5" }, 5, "'1.cls' at offset 1024 is the label 5, not one from 0 to 4" },
        { { "1.png", "1.cls 1", "2.png" }, 0, "'2.png' has no label (.cls), but the samples before have one" },
        { { "1.png", "2.png", "2.cls 1" }, 0, "'2.png' has a label, but the samples before have none" },
        { { "1.png", "2.png", "1.cls 1" }, 0, "the sample '1' at offset 2048 has no .jpg" },
        { { "README" }, 0, "no sample in the tar files" },
    };
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_dataset_options options = make_dataset_options();
        options.classes = rows[i].classes;
        archive.size = 0;
        for (int k = 0; k < 4 && rows[i].names[k]; k++) {
            char name[64];
            snprintf(name, sizeof name, "%s", rows[i].names[k]);
            char *blank = strchr(name, ' ');
            if (blank)
                *blank = 0;
            add_label(&archive, name, blank ? blank + 1 : "some bytes");
        }
        end_archive(&archive);
        write_archive(&archive, &folder, "s.tar");
        check_refused(context, place("tar:", &folder, "s.tar"), &options, SSLD_FORMAT, rows[i].said);
    }
    remove_all(folder.path);
    ssld_context_destroy(context);
}

static void make_small_archive(void)
{
    archive.size = 0;
    add_member(&archive, "1.png", png_colour, sizeof png_colour);
    add_label(&archive, "1.cls", "1");
    add_typed(&archive, "././@LongLink", 'L', "2.png", 6);
    add_member(&archive, "2.png", png_colour, sizeof png_colour);
    add_typed(&archive, "x", 'x', "14 path=2.cls\n", 14);
    add_label(&archive, "2.cls", "0");
}

TEST(shard_cut_off_anywhere_is_refused_and_named)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    make_small_archive();
    size_t whole = archive.size;
    end_archive(&archive);
    for (size_t size = 0; size < whole + ARCHIVE_BLOCK; size += size % 97 ? 97 : 1) {
        char said[96];
        add_file(&folder, "s.tar", archive.bytes, size);
        snprintf(said, sizeof said, "s.tar: the tar file is cut off, it ends at offset %zu", size);
        check_refused(context, place("tar:", &folder, "s.tar"), NULL, SSLD_FORMAT, said);
    }
    /* One block of zeros is an end, if not a proper one. */
    add_file(&folder, "s.tar", archive.bytes, whole + ARCHIVE_BLOCK);
    ssld_dataset_destroy(open_dataset(context, place("tar:", &folder, "s.tar"), NULL));
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(damaged_headers_are_refused_and_named)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    make_small_archive();
    end_archive(&archive);
    for (size_t at = 0; at < ARCHIVE_BLOCK; at += 3) {
        ssld_dataset *dataset = NULL;
        archive.bytes[at] ^= 0x15;
        write_archive(&archive, &folder, "s.tar");
        archive.bytes[at] ^= 0x15;
        ssld_status status = ssld_dataset_open(context, place("tar:", &folder, "s.tar"), NULL, &dataset);
        CHECK(status == SSLD_FORMAT && !dataset, "byte %zu changed: %s", at, ssld_status_name(status));
        CHECK_TEXT(context, "s.tar: this is no tar file: no header at offset 0");
    }
    static const struct {
        const char *content;
        char        type;
        size_t      size;
        const char *said;
    } rows[] = {
        { "14 path=2.cls ", 'x', 14, "a damaged extended header at offset " },
        { "99 path=2.cls\n", 'x', 14, "a damaged extended header" },
        { "path=2.cls\n", 'x', 11, "a damaged extended header" },
        { "3 \n", 'x', 3, "a damaged extended header" },
        { "19 size=123456789a\n", 'x', 19, "a damaged extended header" },
        { "29 size=99999999999999999999\n", 'x', 29, "a damaged extended header" },
        { "s", 'S', 1, "a sparse file, which is not supported" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        archive.size = 0;
        add_member(&archive, "1.png", png_colour, sizeof png_colour);
        add_typed(&archive, "x", rows[i].type, rows[i].content, rows[i].size);
        add_member(&archive, "2.png", png_colour, sizeof png_colour);
        end_archive(&archive);
        write_archive(&archive, &folder, "s.tar");
        check_refused(context, place("tar:", &folder, "s.tar"), NULL, SSLD_FORMAT, rows[i].said);
    }
    /* Sizes that lead out of the file, or over the end of all numbers. */
    static const char *const sizes[] = { "77777777777", "00000100000", "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        archive.size = 0;
        uint8_t *header = add_typed(&archive, "1.png", '0', png_colour, sizeof png_colour);
        memcpy(header + 124, sizes[i], 12);
        seal_header(header);
        end_archive(&archive);
        write_archive(&archive, &folder, "s.tar");
        check_refused(context, place("tar:", &folder, "s.tar"), NULL, SSLD_FORMAT, "s.tar: ");
    }
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(shard_that_changed_after_opening_is_noticed)
{
    ssld_context *context = make_context();
    struct folder folder = make_folder();
    struct read_buffer buffer = { NULL, 0 };
    struct sample_content content;
    struct ssld_fault fault;
    make_small_archive();
    end_archive(&archive);
    write_archive(&archive, &folder, "s.tar");
    ssld_dataset *dataset = open_dataset(context, place("tar:", &folder, "s.tar"), NULL);
    add_file(&folder, "s.tar", archive.bytes, archive.size - 10);
    CHECK(dataset->source->fetch(dataset, 0, &buffer, &content, &fault) == SSLD_MISMATCH, "%s",
          ssld_status_name(fault.status));
    CHECK(strstr(fault.text, "another size than when its headers were read"), "%s", fault.text);
    unlink(place("", &folder, "s.tar"));
    CHECK(dataset->source->fetch(dataset, 0, &buffer, &content, &fault) == SSLD_NOT_FOUND, "%s",
          ssld_status_name(fault.status));
    ssld_free(context, buffer.bytes);
    ssld_dataset_destroy(dataset);
    remove_all(folder.path);
    ssld_context_destroy(context);
}

TEST(every_allocation_may_fail)
{
    struct folder folder = make_folder();
    make_small_archive();
    end_archive(&archive);
    write_archive(&archive, &folder, "s-0.tar");
    archive.size = 0;
    add_member(&archive, "3.png", png_colour, sizeof png_colour);
    add_label(&archive, "3.cls", "1");
    end_archive(&archive);
    write_archive(&archive, &folder, "s-1.tar");
    for (int allowed = 0;; allowed++) {
        struct budget budget;
        ssld_context *context = make_poor_context(&budget, allowed);
        ssld_dataset *dataset = NULL;
        ssld_status status = ssld_dataset_open(context, place("tar:", &folder, "s-{0..1}.tar"), NULL, &dataset);
        CHECK(status == (dataset ? SSLD_OK : SSLD_OUT_OF_MEMORY), "%d allocations: %s", allowed, ssld_status_name(status));
        ssld_dataset_destroy(dataset);
        CHECK(atomic_load(&budget.out) == 1, "%d allocations: %d blocks left", allowed, atomic_load(&budget.out) - 1);
        ssld_context_destroy(context);
        if (!status)
            break;
    }
    remove_all(folder.path);
}

TEST_MAIN(TEST_ROW(samples_are_members_of_one_name_with_image_and_label), TEST_ROW(patterns_name_shards_in_their_order),
          TEST_ROW(long_names_and_large_sizes_are_read_in_every_form), TEST_ROW(tar_program_packs_what_is_read),
          TEST_ROW(odd_samples_are_named_with_shard_and_offset), TEST_ROW(shard_cut_off_anywhere_is_refused_and_named),
          TEST_ROW(damaged_headers_are_refused_and_named), TEST_ROW(shard_that_changed_after_opening_is_noticed),
          TEST_ROW(every_allocation_may_fail))
