/* SPDX-License-Identifier: BSD-2-Clause */
/* Manifests: what they spare, what is noticed all the same, and that nothing goes wrong with a wrong one. */
#include "data/sources.h"

#include "data/dataset.h"

static char last_line[1024]; /* of the log */

static void keep_line(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)level;
    snprintf(last_line, sizeof last_line, "%s", message);
}

static ssld_context *make_logged_context(void)
{
    ssld_context *context = NULL;
    ssld_context_options options;
    ssld_context_options_init(&options, sizeof options);
    options.log_level = SSLD_LOG_INFO;
    options.log = keep_line;
    CHECK(!ssld_context_create(&options, &context), "no context");
    return context;
}

/* place() gives its memory again. */
static void keep_place(char kept[512], const char *text)
{
    snprintf(kept, 512, "%s", text);
}

/* A context whose log is kept, the images, and where their manifest is put. */
struct scene {
    ssld_context *context;
    struct folder folder;
    char          path[512];
};

static struct scene make_scene(void)
{
    struct scene scene = { .context = make_logged_context(), .folder = make_images() };
    keep_place(scene.path, place("", &scene.folder, "m"));
    return scene;
}

static void end_scene(struct scene *scene)
{
    remove_all(scene->folder.path);
    ssld_context_destroy(scene->context);
}

struct opened {
    uint64_t count;
    uint8_t  fingerprint[16];
};

static ssld_dataset *open_with(const struct scene *scene, int source, int32_t manifest, int32_t hash, const char *path)
{
    ssld_dataset *dataset = NULL;
    ssld_dataset_options options = make_dataset_options();
    options.manifest = manifest;
    options.hash_contents = hash;
    options.manifest_path = path;
    last_line[0] = 0;
    CHECK_OK(scene->context, ssld_dataset_open(scene->context, text_of(&scene->folder, source), &options, &dataset));
    return dataset;
}

static struct opened look(const struct scene *scene, int source, int32_t manifest, int32_t hash, const char *path)
{
    struct opened opened;
    ssld_dataset *dataset = open_with(scene, source, manifest, hash, path);
    opened.count = ssld_dataset_count(dataset);
    ssld_dataset_fingerprint(dataset, opened.fingerprint);
    ssld_dataset_destroy(dataset);
    return opened;
}

static bool same(struct opened one, struct opened other)
{
    return one.count == other.count && !memcmp(one.fingerprint, other.fingerprint, 16);
}

static bool wrote(void)
{
    return strstr(last_line, "written, ") != NULL;
}

/* -- What is spared ----------------------------------------------------------------------------------------------- */

TEST(files_are_looked_at_once_and_overwritten_ones_noticed_when_read_or_checked)
{
    struct scene scene = make_scene();
    char paths[2][512];
    keep_place(paths[0], place("", &scene.folder, "dir.m"));
    keep_place(paths[1], place("", &scene.folder, "list.m"));
    struct opened before[2];
    settle();
    for (int s = DIRECTORY; s <= LIST; s++) {
        before[s] = look(&scene, s, SSLD_MANIFEST_KEEP, 0, paths[s]);
        CHECK(wrote(), "source %d: no manifest was written, the log says '%s'", s, last_line);
        CHECK(same(before[s], look(&scene, s, SSLD_MANIFEST_KEEP, 0, paths[s])), "another the second time");
        CHECK(!wrote(), "source %d: the manifest was written without a reason", s);
        CHECK(same(before[s], look(&scene, s, SSLD_MANIFEST_NONE, 0, NULL)), "another without a manifest");
    }
    /* In place: the folder does not change. */
    FILE *file = fopen(place("", &scene.folder, "c/dog/a.png"), "r+b");
    fseek(file, 0, SEEK_END);
    fputs("more", file);
    fclose(file);
    for (int s = DIRECTORY; s <= LIST; s++) {
        struct read_buffer buffer = { NULL, 0 };
        struct sample_content content;
        struct ssld_fault fault = { 0 };
        ssld_dataset *dataset = open_with(&scene, s, SSLD_MANIFEST_KEEP, 0, paths[s]);
        CHECK(dataset->source->fetch(dataset, 2, &buffer, &content, &fault) == SSLD_MISMATCH, "source %d: %s", s,
              ssld_status_name(fault.status));
        CHECK(strstr(fault.text, "it was overwritten"), "%s", fault.text);
        ssld_free(scene.context, buffer.bytes);
        ssld_dataset_destroy(dataset);
        struct opened checked = look(&scene, s, SSLD_MANIFEST_CHECK, 0, paths[s]);
        CHECK(!same(before[s], checked), "source %d: the check does not see it", s);
        CHECK(same(checked, look(&scene, s, SSLD_MANIFEST_NONE, 0, NULL)), "source %d: another check", s);
        CHECK(same(checked, look(&scene, s, SSLD_MANIFEST_KEEP, 0, paths[s])), "source %d: not kept", s);
    }
    end_scene(&scene);
}

TEST(whatever_comes_goes_or_is_replaced_is_noticed)
{
    struct scene scene = make_scene();
    struct opened before = { 0 }, now;
    settle();
    look(&scene, DIRECTORY, SSLD_MANIFEST_KEEP, 1, scene.path);
    for (int change = 0; change < 7; change++) {
        char from[256], to[256];
        if (change == 0)
            add_file(&scene.folder, "c/cat/more/new.png", png_colour, sizeof png_colour);
        else if (change == 1)
            unlink(place("", &scene.folder, "c/cat/a.jpg"));
        else if (change == 2)
            add_folder(&scene.folder, "c/bird"), add_file(&scene.folder, "c/bird/x.jpg", jpeg_colour, sizeof jpeg_colour);
        else if (change == 3)
            remove_all(place("", &scene.folder, "c/cat"));
        else if (change == 4) { /* replaced by another of the same name and size, as programs do */
            uint8_t other[sizeof png_colour];
            memcpy(other, png_colour, sizeof other);
            other[sizeof other / 2] ^= 1;
            add_file(&scene.folder, "other", other, sizeof other);
            snprintf(from, sizeof from, "%s", place("", &scene.folder, "other"));
            snprintf(to, sizeof to, "%s", place("", &scene.folder, "c/dog/a.png"));
            CHECK(!rename(from, to), "cannot replace");
        } else if (change == 5) {
            snprintf(from, sizeof from, "%s", place("", &scene.folder, "c/dog/a.png"));
            snprintf(to, sizeof to, "%s", place("", &scene.folder, "c/dog/z.png"));
            CHECK(!rename(from, to), "cannot rename");
        } else {
            add_folder(&scene.folder, "c/dog/deep"), add_file(&scene.folder, "c/dog/deep/y.jpg", jpeg_grey, sizeof jpeg_grey);
        }
        for (int hash = 0; hash < 2; hash++) {
            now = look(&scene, DIRECTORY, SSLD_MANIFEST_KEEP, hash, scene.path);
            CHECK(same(now, look(&scene, DIRECTORY, SSLD_MANIFEST_NONE, hash, NULL)),
                  "change %d, hash %d: not what is there", change, hash);
        }
        CHECK(!same(now, before) || change == 5, "change %d is not noticed", change);
        before = now;
    }
    end_scene(&scene);
}

TEST(list_that_changed_or_whose_files_did_is_read_again)
{
    struct scene scene = make_scene();
    ssld_dataset *dataset = NULL;
    ssld_dataset_options options;
    settle();
    look(&scene, LIST, SSLD_MANIFEST_KEEP, 1, scene.path);
    ssld_dataset_options_init(&options, sizeof options);
    options.manifest_path = scene.path;
    options.classes = 1;
    CHECK_STATUS(scene.context, ssld_dataset_open(scene.context, text_of(&scene.folder, LIST), &options, &dataset), SSLD_FORMAT);
    CHECK_TEXT(scene.context, "list.txt:3: '1' is not a label from 0 to 0");
    add_text(&scene.folder, "list.txt", "c/dog/a.png 1\nc/dog/a.png 1\nc/cat/a.jpg 0\n");
    for (int hash = 0; hash < 2; hash++)
        CHECK(same(look(&scene, LIST, SSLD_MANIFEST_KEEP, hash, scene.path), look(&scene, LIST, SSLD_MANIFEST_NONE, hash, NULL)),
              "another list is not noticed");
    unlink(place("", &scene.folder, "c/cat/a.jpg"));
    options.classes = 0;
    CHECK_STATUS(scene.context, ssld_dataset_open(scene.context, text_of(&scene.folder, LIST), &options, &dataset),
                 SSLD_NOT_FOUND);
    CHECK_TEXT(scene.context, "list.txt:3: cannot find '");
    end_scene(&scene);
}

TEST(shards_that_changed_are_read_again_and_others_are_not)
{
    static struct archive archive;
    struct scene scene = make_scene();
    settle();
    look(&scene, SHARDS, SSLD_MANIFEST_KEEP, 1, scene.path);
    CHECK(wrote(), "no manifest, the log says '%s'", last_line);
    look(&scene, SHARDS, SSLD_MANIFEST_KEEP, 1, scene.path);
    CHECK(!wrote(), "the manifest was written without a reason");
    archive.size = 0;
    add_member(&archive, "x.jpg", jpeg_colour, sizeof jpeg_colour);
    add_label(&archive, "x.cls", "4");
    end_archive(&archive);
    write_archive(&archive, &scene.folder, "t/s-1.tar");
    for (int hash = 0; hash < 2; hash++)
        CHECK(same(look(&scene, SHARDS, SSLD_MANIFEST_KEEP, hash, scene.path),
                   look(&scene, SHARDS, SSLD_MANIFEST_NONE, hash, NULL)),
              "another shard is not noticed");
    end_scene(&scene);
}

/* -- Contents ----------------------------------------------------------------------------------------------------- */

TEST(hashed_contents_have_one_fingerprint_wherever_they_are)
{
    static const struct {
        const void *bytes;
        size_t      size;
    } files[] = { { jpeg_colour, sizeof jpeg_colour }, { jpeg_grey, sizeof jpeg_grey }, { png_colour, sizeof png_colour } };
    struct scene scene = make_scene();
    struct opened first = look(&scene, DIRECTORY, SSLD_MANIFEST_NONE, 1, NULL);
    for (int s = 0; s < SOURCES; s++) {
        ssld_dataset *dataset = open_with(&scene, s, SSLD_MANIFEST_NONE, 1, NULL);
        uint8_t fingerprint[16], hash[16], expected[16];
        ssld_dataset_fingerprint(dataset, fingerprint);
        CHECK(!memcmp(fingerprint, first.fingerprint, 16), "source %d has another fingerprint", s);
        for (uint64_t i = 0; i < 3; i++) {
            CHECK_OK(scene.context, ssld_dataset_content_hash(dataset, i, hash));
            ssld_hash_bytes(files[i].bytes, files[i].size, expected);
            CHECK(!memcmp(hash, expected, 16), "source %d: sample %d has another hash", s, (int)i);
        }
        CHECK_STATUS(scene.context, ssld_dataset_content_hash(dataset, 3, hash), SSLD_NOT_FOUND);
        ssld_dataset_destroy(dataset);
        dataset = open_with(&scene, s, SSLD_MANIFEST_NONE, 0, NULL);
        ssld_dataset_fingerprint(dataset, fingerprint);
        CHECK(memcmp(fingerprint, first.fingerprint, 16) != 0, "names and contents have one fingerprint");
        CHECK_STATUS(scene.context, ssld_dataset_content_hash(dataset, 0, hash), SSLD_NOT_FOUND);
        CHECK_TEXT(scene.context, "open the data set with hash_contents");
        ssld_dataset_destroy(dataset);
    }
    end_scene(&scene);
}

/* A hash that stands in the manifest is believed, so the file was not read again; a sealed lie shows it. */
TEST(contents_are_hashed_once_and_a_change_of_content_is_noticed_when_read)
{
    struct scene scene = make_scene();
    uint8_t bytes[4096], hash[16];
    settle();
    look(&scene, DIRECTORY, SSLD_MANIFEST_KEEP, 1, scene.path);
    FILE *file = fopen(scene.path, "r+b");
    size_t size = fread(bytes, 1, sizeof bytes, file), at = 64 + 40 * 3 + 64 + 40; /* the second sample's hash */
    bytes[at] ^= 0xff;
    uint64_t checksum = ssld_checksum(bytes, size - 8);
    for (int i = 0; i < 8; i++)
        bytes[size - 8 + (size_t)i] = (uint8_t)(checksum >> 8 * i);
    rewind(file);
    fwrite(bytes, 1, size, file);
    fclose(file);
    ssld_dataset *dataset = open_with(&scene, DIRECTORY, SSLD_MANIFEST_KEEP, 1, scene.path);
    CHECK_OK(scene.context, ssld_dataset_content_hash(dataset, 1, hash));
    CHECK(!memcmp(hash, bytes + at, 16), "the file was hashed again");
    struct read_buffer buffer = { NULL, 0 };
    struct sample_content content;
    struct ssld_fault fault = { 0 };
    CHECK(!dataset->source->fetch(dataset, 0, &buffer, &content, &fault), "%s", fault.text);
    CHECK(dataset->source->fetch(dataset, 1, &buffer, &content, &fault) == SSLD_MISMATCH, "%s", ssld_status_name(fault.status));
    CHECK(strstr(fault.text, "its content is not what it was when it was hashed"), "%s", fault.text);
    ssld_free(scene.context, buffer.bytes);
    ssld_dataset_destroy(dataset);
    end_scene(&scene);
}

TEST(file_that_cannot_be_hashed_is_named)
{
    ssld_context *context = make_context();
    struct folder folder = make_images();
    ssld_dataset *dataset = NULL;
    ssld_dataset_options options = make_dataset_options();
    options.hash_contents = 1;
    options.manifest = SSLD_MANIFEST_NONE;
    CHECK(!truncate(place("", &folder, "c/cat/a.jpg"), (1ll << 30) + 1), "no large file");
    CHECK_STATUS(context, ssld_dataset_open(context, text_of(&folder, DIRECTORY), &options, &dataset), SSLD_UNSUPPORTED);
    CHECK_TEXT(context, "c/cat/a.jpg: 1073741825 bytes; the context's image_bytes_limit is 1073741824");
    ssld_context_cancel(context);
    CHECK_STATUS(context, ssld_dataset_open(context, text_of(&folder, DIRECTORY), &options, &dataset), SSLD_CANCELLED);
    remove_all(folder.path);
    ssld_context_destroy(context);
}

/* -- Wrong manifests ---------------------------------------------------------------------------------------------- */

TEST(manifest_damaged_or_cut_off_anywhere_is_made_again)
{
    struct scene scene = make_scene();
    uint8_t bytes[4096], again[4096];
    settle();
    struct opened right = look(&scene, DIRECTORY, SSLD_MANIFEST_KEEP, 0, scene.path);
    FILE *file = fopen(scene.path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    CHECK(size > 300 && size < sizeof bytes, "%zu bytes", size);
    for (size_t at = 0; at < 2 * size; at++) {
        if (at < size) {
            bytes[at] ^= 0x21;
            add_file(&scene.folder, "m", bytes, size);
            bytes[at] ^= 0x21;
        } else {
            add_file(&scene.folder, "m", bytes, at - size);
        }
        CHECK(same(right, look(&scene, DIRECTORY, SSLD_MANIFEST_KEEP, 0, scene.path)), "byte %zu: another data set",
              at);
        CHECK(wrote(), "byte %zu: not made again, the log says '%s'", at, last_line);
        file = fopen(scene.path, "rb");
        CHECK(fread(again, 1, sizeof again, file) == size && !memcmp(again, bytes, size), "byte %zu: made otherwise", at);
        fclose(file);
    }
    end_scene(&scene);
}

/* Sealed with a right checksum, so that only the numbers themselves are wrong. */
TEST(manifest_whose_numbers_lead_nowhere_is_not_used)
{
    struct scene scene = make_scene();
    uint8_t bytes[4096];
    settle();
    struct opened right = look(&scene, LIST, SSLD_MANIFEST_KEEP, 0, scene.path);
    FILE *file = fopen(scene.path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t at = 8; at + 8 < size; at++) {
        uint8_t kept = bytes[at];
        bytes[at] = 0xff;
        uint64_t checksum = ssld_checksum(bytes, size - 8);
        for (int i = 0; i < 8; i++)
            bytes[size - 8 + (size_t)i] = (uint8_t)(checksum >> 8 * i);
        add_file(&scene.folder, "m", bytes, size);
        bytes[at] = kept;
        ssld_dataset *dataset = NULL;
        ssld_dataset_options options = make_dataset_options();
        options.manifest_path = scene.path;
        ssld_status status = ssld_dataset_open(scene.context, text_of(&scene.folder, LIST), &options, &dataset);
        CHECK(!status || status == SSLD_NOT_FOUND, "byte %zu: %s", at, ssld_status_name(status)); /* a name that leads nowhere */
        CHECK(status || ssld_dataset_count(dataset) == right.count, "byte %zu: %d samples", at, (int)ssld_dataset_count(dataset));
        ssld_dataset_destroy(dataset);
    }
    end_scene(&scene);
}

TEST(manifest_of_other_data_is_not_used)
{
    struct scene scene = make_scene();
    settle();
    for (int s = 0; s < SOURCES; s++)
        for (int other = 0; other < SOURCES; other++) {
            look(&scene, s, SSLD_MANIFEST_KEEP, 0, scene.path);
            CHECK(same(look(&scene, other, SSLD_MANIFEST_KEEP, 0, scene.path),
                       look(&scene, other, SSLD_MANIFEST_NONE, 0, NULL)), "%d used that of %d", other, s);
        }
    end_scene(&scene);
}

/* -- Where it is -------------------------------------------------------------------------------------------------- */

TEST(manifest_is_beside_large_data_sets_only)
{
    struct scene scene = make_scene();
    static const char *const places[] = { "c/.ssld-manifest", "list.txt.ssld-manifest", "t/s-{0..1}.tar.ssld-manifest" };
    for (int s = 0; s < SOURCES; s++) {
        look(&scene, s, SSLD_MANIFEST_KEEP, 0, NULL);
        CHECK(access(place("", &scene.folder, places[s]), F_OK), "%s of three samples", places[s]);
        look(&scene, s, SSLD_MANIFEST_KEEP, 1, NULL);
        CHECK(!access(place("", &scene.folder, places[s]), F_OK), "no %s with hashes", places[s]);
    }
    for (int i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "c/dog/%d.jpg", i);
        add_file(&scene.folder, name, "x", 1);
    }
    unlink(place("", &scene.folder, places[0]));
    CHECK(look(&scene, DIRECTORY, SSLD_MANIFEST_KEEP, 0, NULL).count == 1003, "not 1003 samples");
    CHECK(!access(place("", &scene.folder, places[0]), F_OK), "no manifest of 1003 samples");
    end_scene(&scene);
}

TEST(place_that_cannot_be_written_to_is_no_failure)
{
    struct scene scene = make_scene();
    struct opened without = look(&scene, DIRECTORY, SSLD_MANIFEST_NONE, 1, NULL);
    CHECK(same(without, look(&scene, DIRECTORY, SSLD_MANIFEST_KEEP, 1, "/nowhere/at/all")), "another");
    CHECK(strstr(last_line, "/nowhere/at/all: the manifest cannot be written there"), "the log says '%s'", last_line);
    end_scene(&scene);
}

TEST(every_allocation_may_fail)
{
    struct scene scene = make_scene();
    settle();
    for (int s = 0; s < SOURCES; s++)
        for (int present = 0; present < 2; present++)
            for (int allowed = 0;; allowed++) {
                struct budget budget;
                ssld_dataset *dataset = NULL;
                ssld_dataset_options options = make_dataset_options();
                options.hash_contents = 1;
                options.manifest_path = scene.path;
                unlink(scene.path);
                if (present)
                    look(&scene, s, SSLD_MANIFEST_KEEP, 1, scene.path);
                ssld_context *context = make_poor_context(&budget, allowed);
                ssld_status status = ssld_dataset_open(context, text_of(&scene.folder, s), &options, &dataset);
                CHECK(status == (dataset ? SSLD_OK : SSLD_OUT_OF_MEMORY), "source %d, %d allocations: %s", s, allowed,
                      ssld_status_name(status));
                ssld_dataset_destroy(dataset);
                CHECK(atomic_load(&budget.out) == 1, "source %d, %d allocations: %d blocks left", s, allowed,
                      atomic_load(&budget.out) - 1);
                bool done = !status && atomic_load(&budget.left) >= 0;
                ssld_context_destroy(context);
                if (done) /* the manifest, too, for want of which nothing fails */
                    break;
            }
    end_scene(&scene);
}

TEST_MAIN(TEST_ROW(files_are_looked_at_once_and_overwritten_ones_noticed_when_read_or_checked),
          TEST_ROW(whatever_comes_goes_or_is_replaced_is_noticed), TEST_ROW(list_that_changed_or_whose_files_did_is_read_again),
          TEST_ROW(shards_that_changed_are_read_again_and_others_are_not),
          TEST_ROW(hashed_contents_have_one_fingerprint_wherever_they_are),
          TEST_ROW(contents_are_hashed_once_and_a_change_of_content_is_noticed_when_read),
          TEST_ROW(file_that_cannot_be_hashed_is_named), TEST_ROW(manifest_damaged_or_cut_off_anywhere_is_made_again),
          TEST_ROW(manifest_whose_numbers_lead_nowhere_is_not_used), TEST_ROW(manifest_of_other_data_is_not_used),
          TEST_ROW(manifest_is_beside_large_data_sets_only), TEST_ROW(place_that_cannot_be_written_to_is_no_failure),
          TEST_ROW(every_allocation_may_fail))
