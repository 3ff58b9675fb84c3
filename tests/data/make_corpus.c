/* SPDX-License-Identifier: BSD-2-Clause */
/* make_corpus.c - what the fuzzers of data sets begin with: make_data_corpus FOLDER fills FOLDER/shards and FOLDER/manifest. */
#include "data/sources.h"

#define HEAD 64
#define CONTAINER 40
#define SAMPLE 64

static struct archive archive;
static struct folder corpus;

static void write_shard(const char *name)
{
    end_archive(&archive);
    write_archive(&archive, &corpus, name);
    archive.size = 0;
}

static void make_shards(void)
{
    static const char pax[] = "30 mtime=1700000000.123456789\n21 path=a/long.name.png\n8 size=4\n";
    add_member(&archive, "1.png", "some", 4);
    add_label(&archive, "1.cls", "1");
    add_member(&archive, "2.jpg", "bytes", 5);
    add_label(&archive, "2.cls", " 7\n");
    write_shard("shards/labels");
    add_typed(&archive, "pics/", '5', "", 0);
    add_member(&archive, "./pics/1.json", "{}", 2);
    add_member(&archive, "./pics/1.jpeg", "", 0);
    add_typed(&archive, "link", '2', "", 0);
    write_shard("shards/kinds");
    add_typed(&archive, "././@LongLink", 'L', "a/name/of/some/length.png", 26);
    add_member(&archive, "cut.png", "content", 7);
    add_typed(&archive, "x", 'x', pax, sizeof pax - 1);
    add_member(&archive, "short.png", "four", 4);
    add_typed(&archive, "g", 'g', "11 a=bcdef\n", 11);
    write_shard("shards/extended");
    uint8_t *header = add_typed(&archive, "p.png", '0', "abc", 3);
    memcpy(header + 345, "prefix", 6);
    memcpy(header + 124, "\200\0\0\0\0\0\0\0\0\0\0\003", 12);
    seal_header(header);
    header = add_typed(&archive, "old.png", 0, "abcd", 4);
    memset(header + 257, 0, 8);
    seal_header(header);
    write_shard("shards/forms");
}

/* The stamps are zeros: the fuzzer puts in those that are true where it runs. */
static void write_manifest(const struct folder *folder, int source, int flags, const char *name)
{
    static uint8_t bytes[1 << 14];
    ssld_context *context = make_context();
    ssld_dataset *dataset = NULL;
    ssld_dataset_options options = make_dataset_options();
    options.manifest_path = place("", folder, "m");
    CHECK_OK(context, ssld_dataset_open(context, text_of(folder, source), &options, &dataset));
    ssld_dataset_destroy(dataset);
    FILE *file = fopen(options.manifest_path, "rb");
    size_t size = file ? fread(bytes + 1, 1, sizeof bytes - 1, file) : 0;
    CHECK(size > HEAD && !fclose(file) && !unlink(options.manifest_path), "no manifest");
    uint8_t *at = bytes + 1 + HEAD;
    for (int i = 0; i < bytes[1 + 24]; i++, at += CONTAINER)
        memset(at + 8, 0, CONTAINER - 8);
    for (int i = 0; i < bytes[1 + 16] && source != SHARDS; i++, at += SAMPLE)
        memset(at + 8, 0, 48);
    bytes[0] = (uint8_t)(source | flags);
    add_file(&corpus, name, bytes, 1 + size);
    ssld_context_destroy(context);
}

/* The flags are those of fuzz_manifest.c: a multiple of 3 beside the source. */
static void make_manifests(void)
{
    struct folder folder = make_images();
    for (int source = 0; source < SOURCES; source++) {
        static const int flags[] = { 0, 0x30, 0x60 };
        for (int i = 0; i < 3; i++) {
            char name[64];
            snprintf(name, sizeof name, "manifest/%d-%d", source, i);
            write_manifest(&folder, source, flags[i], name);
        }
    }
    remove_all(folder.path);
}

int main(int argc, char **argv)
{
    if (argc != 2 || setjmp(test_end)) {
        fprintf(stderr, "%s\n", argc == 2 ? test_text : "usage: make_data_corpus FOLDER");
        return 1;
    }
    snprintf(corpus.path, sizeof corpus.path, "%s", argv[1]);
    add_folder(&corpus, "shards");
    add_folder(&corpus, "manifest");
    make_shards();
    make_manifests();
    return 0;
}
