/* SPDX-License-Identifier: BSD-2-Clause */
/* The store commands as their users meet them: shards, merging, splitting, coding anew, verifying, checking, export,
 * import. Inputs are only read, an output is there as a whole or not at all, and what is wrong is said. */
#define _GNU_SOURCE
#include "run.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#define ALL (IMAGES * 2) /* labels of the common stores: two views */
#define MOST_BYTES (1 << 22)

/* -- Files -------------------------------------------------------------------------------------------------------- */

static void write_bytes(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(in_folder(name), "wb");
    CHECK(file && fwrite(bytes, 1, size, file) == size && !fclose(file), "%s cannot be written", name);
}

static size_t read_bytes(const char *name, uint8_t *bytes)
{
    FILE *file = fopen(in_folder(name), "rb");
    CHECK(file, "%s is not there", name);
    size_t size = fread(bytes, 1, MOST_BYTES, file);
    fclose(file);
    CHECK(size < MOST_BYTES, "%s is too large", name);
    return size;
}

/* A .npy file with any text as its header. */
static void write_npy(const char *name, const char *header, const void *data, size_t size)
{
    uint8_t head[10] = "\x93NUMPY\x01\x00";
    FILE *file = fopen(in_folder(name), "wb");
    CHECK(file, "%s cannot be written", name);
    size_t length = strlen(header), padded = (10 + length + 1 + 63) / 64 * 64 - 10;
    head[8] = (uint8_t)(padded & 255);
    head[9] = (uint8_t)(padded >> 8);
    fwrite(head, 1, sizeof head, file);
    fprintf(file, "%s%*s\n", header, (int)(padded - length - 1), "");
    fwrite(data, 1, size, file);
    CHECK(!fclose(file), "%s cannot be written", name);
}

static void write_matrix(const char *name, const float *values, uint64_t rows, uint64_t columns)
{
    char header[128];
    snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %llu), }",
             (unsigned long long)rows, (unsigned long long)columns);
    write_npy(name, header, values, rows * columns * sizeof *values);
}

/* Names in the folder that contain `part`. */
static int names_with(const char *part)
{
    int count = 0;
    DIR *listing = opendir(folder);
    CHECK(listing, "the folder cannot be read");
    for (struct dirent *entry; (entry = readdir(listing));)
        count += strstr(entry->d_name, part) != NULL;
    closedir(listing);
    return count;
}

static void make_folder(const char *name)
{
    CHECK(!mkdir(in_folder(name), 0700) || errno == EEXIST, "%s cannot be made", name);
}

/* -- Stores that several tests read ------------------------------------------------------------------------------- */

#define WHOLE LABEL "--view-count 2 --seed 9 --batch 16 --codec f32 "

/* whole.ssld, and the same in three shards, shard1.ssld to shard3.ssld. */
static void make_stores(void)
{
    set_up();
    if (size_of(in_folder("whole.ssld")) > 0)
        return;
    for (int part = 1; part <= 3; part++)
        CHECK_RUN(0, WHOLE "--labels @/shard%d.ssld --shard %d/3", part, part);
    CHECK_RUN(0, WHOLE "--labels @/whole.ssld");
}

/* Labels of 100 classes, from which codecs can learn: a peak here and there on a slope. */
#define WIDE_CLASSES 100
#define WIDE_ROWS 3000

static void make_wide_store(void)
{
    static float rows[WIDE_ROWS * WIDE_CLASSES];
    make_stores();
    if (size_of(in_folder("wide.npy")) > 0)
        return;
    for (uint32_t r = 0; r < WIDE_ROWS; r++) {
        uint32_t counter[4] = { r, 0, 0, 0 }, key[2] = { 8, 0 }, words[4];
        ssld_philox4x32(counter, key, words);
        for (uint32_t c = 0; c < WIDE_CLASSES; c++)
            rows[r * WIDE_CLASSES + c] = (c == words[0] % WIDE_CLASSES ? 6.f : 0.f) +
                                         (c == words[1] % WIDE_CLASSES ? 4.f : 0.f) +
                                         (float)(words[2] % 1000) / 1000.f * sinf((float)c) + cosf((float)(c * r % 31));
    }
    write_matrix("wide.npy", rows, WIDE_ROWS, WIDE_CLASSES);
    CHECK_RUN(0, "store import @/wide.npy @/wide.ssld --samples 1500 --codec f32");
}

/* -- Shards ------------------------------------------------------------------------------------------------------- */

TEST(shards_are_the_whole_when_merged_and_when_opened_together)
{
    make_stores();
    CHECK_RUN(0, "store info --json @/shard1.ssld");
    CHECK(told("records") == 128, "the first third of 13 batches has %g labels", told("records"));
    CHECK_RUN(0, "store info --json @/shard3.ssld @/shard1.ssld @/shard2.ssld");
    CHECK(told("records") == ALL && told("files") == 3, "together they have %g labels", told("records"));
    CHECK_RUN(0, "store merge @/merged.ssld @/shard2.ssld @/shard3.ssld @/shard1.ssld");
    CHECK_SAYS(output, "merged.ssld: 400 of 400 labels");
    check_same_labels("whole.ssld", "merged.ssld", 2);
}

TEST(shard_that_is_done_or_was_killed_goes_on_alone)
{
    make_stores();
    CHECK_RUN(0, WHOLE "--labels @/shard2.ssld --shard 2/3");
    CHECK_SAYS(output, "are there already");
    CHECK_SAYS(output, "(0 new)");
    pid_t child = start(WHOLE "--labels @/killed.ssld --shard 2/3");
    struct timespec pause = { 0, 60000000 };
    nanosleep(&pause, NULL);
    kill(child, SIGKILL);
    finish(child);
    CHECK_RUN(0, WHOLE "--labels @/killed.ssld --shard 2/3");
    CHECK_RUN(0, "store merge @/after.ssld @/shard1.ssld @/killed.ssld @/shard3.ssld");
    check_same_labels("whole.ssld", "after.ssld", 2);
}

TEST(training_reads_shards_as_one_store)
{
    make_stores();
    CHECK_RUN(0, TRAIN "--view-seed 9 --epochs 2 --labels @/whole.ssld --out @/one.onnx");
    CHECK_RUN(0, TRAIN "--view-seed 9 --epochs 2 --labels @/shard1.ssld --labels @/shard2.ssld --labels @/shard3.ssld "
                 "--out @/three.onnx");
    CHECK(same_bytes(in_folder("one.onnx"), in_folder("three.onnx")), "the students differ");
    CHECK_RUN(1, TRAIN "--view-seed 9 --epochs 2 --labels @/shard1.ssld --labels @/shard2.ssld --out @/two.onnx");
    CHECK_SAYS(errors, "of 400 labels this run needs");
}

TEST(shard_that_is_none_is_wrong_usage)
{
    static const char *const wrong[] = { "0/3", "4/3", "2", "2/", "/2", "1/2x", "x/2", "1/14", "-1/2" };
    make_stores();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_RUN(2, WHOLE "--labels @/none.ssld --shard %s", wrong[i]);
        CHECK_SAYS(errors, "is not I/N");
    }
    CHECK(size_of(in_folder("none.ssld")) < 0, "a store was left behind");
}

/* -- info, verify ------------------------------------------------------------------------------------------------- */

TEST(info_accounts_for_every_byte)
{
    static const char *const parts[] = { "classes", "values", "tail",  "statistics",
                                         "offsets", "model",  "index", "framing" };
    make_wide_store();
    CHECK_RUN(0, "store recode @/wide.ssld @/topk.ssld --codec topk --topk 5");
    static const char *const stores[] = { "whole.ssld", "wide.ssld", "topk.ssld" };
    for (int s = 0; s < 3; s++) {
        double sum = 0;
        CHECK_RUN(0, "store info --json @/%s", stores[s]);
        double bytes = told("file_bytes");
        char *of_parts = strstr(output, "\"bytes\":{");
        CHECK(of_parts, "no parts in %.600s", output);
        memmove(output, of_parts + 8, strlen(of_parts + 8) + 1);
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            sum += told(parts[i]);
        CHECK(sum == bytes && bytes == (double)size_of(in_folder(stores[s])), "parts of %s sum to %g, the file has %g",
              stores[s], sum, bytes);
    }
    CHECK_RUN(0, "store info @/topk.ssld");
    CHECK_SAYS(output, "bytes a view,");
    CHECK_SAYS(output, "codec        topk, K = 5");
    CHECK_RUN(0, "store info --quick @/topk.ssld");
    CHECK(!strstr(output, "framing"), "--quick has measured: %.600s", output);
}

/* Turn a byte in the middle of the file over. */
static void damage(const char *from, const char *to)
{
    static uint8_t bytes[MOST_BYTES];
    size_t size = read_bytes(from, bytes);
    bytes[size / 2] ^= 0x10;
    write_bytes(to, bytes, size);
}

TEST(verify_names_damage_and_the_rest_is_saved)
{
    make_wide_store();
    CHECK_RUN(0, "store verify @/wide.ssld");
    CHECK_SAYS(output, "3000 labels in");
    CHECK_SAYS(output, "all of them intact");
    damage("wide.ssld", "hurt.ssld");
    CHECK_RUN(1, "store verify @/hurt.ssld");
    CHECK_SAYS(output, "hurt.ssld: offset ");
    CHECK_SAYS(errors, "--skip-damaged");
    CHECK_RUN(1, "store verify --json @/hurt.ssld");
    double lost = told("lost_records");
    CHECK(told("damaged_places") == 1 && lost > 0 && lost < 3000, "%g places, %g labels lost", told("damaged_places"),
          lost);
    CHECK_RUN(1, "store merge @/saved.ssld @/hurt.ssld");
    CHECK_SAYS(errors, "hurt.ssld");
    CHECK(size_of(in_folder("saved.ssld")) < 0, "a store was left behind");
    CHECK_RUN(0, "store merge @/saved.ssld @/hurt.ssld --skip-damaged");
    CHECK_SAYS(output, "left out");
    CHECK_RUN(0, "store info --json @/saved.ssld");
    CHECK(told("records") == 3000 - lost, "%g labels were saved, %g lost", told("records"), lost);
    CHECK_RUN(0, "store verify @/saved.ssld");
}

TEST(labels_lost_to_damage_are_labelled_again)
{
    make_stores();
    damage("whole.ssld", "worn.ssld");
    CHECK_RUN(1, "store verify --json @/worn.ssld");
    double lost = told("lost_records");
    CHECK(lost > 0, "nothing is lost");
    CHECK_RUN(0, "store merge @/healed.ssld @/worn.ssld --skip-damaged");
    CHECK_RUN(0, WHOLE "--labels @/healed.ssld");
    CHECK(strstr(output, "400 views ("), "it says: %.600s", output);
    check_same_labels("whole.ssld", "healed.ssld", 2);
}

/* With one model for all shards, records of the tail that one of them has learned move as they are. */
TEST(shards_of_one_model_merge_record_for_record)
{
    make_wide_store();
    CHECK_RUN(0, "store recode @/wide.ssld @/coded.ssld --topk 5 --replace");
    CHECK_RUN(0, "store split @/wide.ssld @/half.ssld --parts 2 --replace");
    for (int part = 1; part <= 2; part++)
        CHECK_RUN(0, "store recode @/half-%d-of-2.ssld @/coded-%d.ssld --topk 5 --model-from @/coded.ssld", part, part);
    CHECK_RUN(0, "store merge @/rejoined.ssld @/coded-1.ssld @/coded-2.ssld");
    CHECK_RUN(0, "store export @/coded.ssld --out @/coded.npy");
    CHECK_RUN(0, "store export @/rejoined.ssld --out @/rejoined.npy");
    CHECK(same_bytes(in_folder("coded.npy"), in_folder("rejoined.npy")), "the labels differ");
}

/* -- merge -------------------------------------------------------------------------------------------------------- */

TEST(views_in_two_files_are_merged_once)
{
    make_stores();
    CHECK_RUN(0, "store merge @/twice.ssld @/shard1.ssld @/whole.ssld @/shard2.ssld");
    CHECK_SAYS(output, "256 labels were in more than one file");
    CHECK_SAYS(output, "twice.ssld: 400 of 400");
    check_same_labels("whole.ssld", "twice.ssld", 2);
}

TEST(stores_of_other_labellings_are_not_merged)
{
    static const struct {
        const char *label, *says;
    } others[] = {
        { LABEL "--view-count 2 --seed 10 --batch 16 --codec f32 --labels @/other.ssld", "seed" },
        { LABEL "--view-count 2 --seed 9 --batch 16 --codec f32 --batch-norm batch --labels @/other.ssld", "teacher" },
        { LABEL "--view-count 2 --seed 9 --batch 16 --codec f32 --limit 150 --labels @/other.ssld", "samples" },
        { "label " DATA VIEWS "--teacher @/untrained.onnx --no-check --view-count 2 --seed 9 --labels @/other.ssld",
          "teacher" },
        { "store import @/wide.npy @/other.ssld --samples 1500", "classes" },
    };
    make_wide_store();
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        unlink(in_folder("other.ssld"));
        CHECK_RUN(0, "%s", others[i].label);
        CHECK_RUN(1, "store merge @/mixed.ssld @/shard1.ssld @/other.ssld");
        CHECK(strstr(errors, others[i].says), "case %zu: it says: %.600s", i, errors);
        CHECK_RUN(1, "store info @/shard1.ssld @/other.ssld");
        CHECK(strstr(errors, others[i].says), "case %zu: it says: %.600s", i, errors);
    }
    CHECK(names_with("mixed") == 0, "something was left behind");
}

/* -- split -------------------------------------------------------------------------------------------------------- */

TEST(parts_merge_to_what_was_split)
{
    static const char *const ways[] = { "--parts 3", "--parts 2 --by view" };
    make_stores();
    for (int w = 0; w < 2; w++) {
        CHECK_RUN(0, "store split @/whole.ssld @/part.ssld %s --replace", ways[w]);
        if (w == 0) {
            CHECK_SAYS(output, "part-1-of-3.ssld: 134 of 400");
            CHECK_RUN(0,
                      "store merge @/joined.ssld @/part-3-of-3.ssld @/part-1-of-3.ssld @/part-2-of-3.ssld --replace");
        } else {
            CHECK_SAYS(output, "part-2-of-2.ssld: 200 of 400");
            CHECK_RUN(0, "store merge @/joined.ssld @/part-1-of-2.ssld @/part-2-of-2.ssld --replace");
        }
        check_same_labels("whole.ssld", "joined.ssld", 2);
    }
    CHECK_RUN(0, "store split @/whole.ssld @/range.ssld --first-sample 50 --sample-count 7 --first-view 1");
    CHECK_SAYS(output, "range.ssld: 7 of 400");
}

TEST(impossible_parts_are_refused)
{
    make_stores();
    CHECK_RUN(2, "store split @/whole.ssld @/none.ssld");
    CHECK_RUN(2, "store split @/whole.ssld @/none.ssld --parts 2 --first-view 1");
    CHECK_RUN(1, "store split @/whole.ssld @/none.ssld --first-sample 200");
    CHECK_SAYS(errors, "images 0 to 199");
    CHECK_RUN(1, "store split @/whole.ssld @/none.ssld --first-view 1 --view-count 2");
    CHECK_RUN(1, "store split @/whole.ssld @/none.ssld --parts 3 --by view");
    CHECK(names_with("none") == 0, "something was left behind");
}

/* -- recode ------------------------------------------------------------------------------------------------------- */

TEST(coding_anew_keeps_every_label_and_makes_them_smaller)
{
    static const struct {
        const char *codec;
        double most; /* bytes a view; of f32 400 */
    } codecs[] = { { "--codec f16", 202 },
                   { "--codec log8", 110 },
                   { "--codec topk --topk 10", 60 },
                   { "--topk 10 --tail uniform", 40 } };
    make_wide_store();
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        CHECK_RUN(0, "store recode @/wide.ssld @/smaller.ssld --replace %s", codecs[i].codec);
        CHECK_SAYS(output, "wide.ssld: 3000 labels");
        CHECK_RUN(0, "store info --json --verify @/smaller.ssld");
        CHECK(told("records") == 3000, "%g labels", told("records"));
        CHECK(told("bytes_per_view") < codecs[i].most, "'%s' takes %g bytes a view", codecs[i].codec,
              told("bytes_per_view"));
    }
}

TEST(options_of_another_codec_are_wrong_usage)
{
    make_wide_store();
    CHECK_RUN(2, "store recode @/wide.ssld @/none.ssld --codec f16 --topk 3");
    CHECK_SAYS(errors, "to --codec topk");
    CHECK_RUN(1, "store recode @/wide.ssld @/none.ssld --codec topk --topk 101");
    CHECK_RUN(2, WHOLE "--labels @/none.ssld --tail uniform");
    CHECK_SAYS(errors, "to --codec topk");
    CHECK(names_with("none") == 0, "something was left behind");
}

/* -- Outputs ------------------------------------------------------------------------------------------------------ */

TEST(what_exists_is_replaced_only_when_asked)
{
    make_stores();
    write_bytes("precious.ssld", "mine", 4);
    write_bytes("precious.npy", "mine", 4);
    static const char *const lines[] = { "store merge @/precious.ssld @/shard1.ssld",
                                         "store recode @/whole.ssld @/precious.ssld",
                                         "store split @/whole.ssld @/precious.ssld --view-count 1",
                                         "store export @/whole.ssld --out @/precious.npy" };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        CHECK_RUN(1, "%s", lines[i]);
        CHECK_SAYS(errors, "exists; name another file or give --replace");
    }
    CHECK(size_of(in_folder("precious.ssld")) == 4 && size_of(in_folder("precious.npy")) == 4, "it was replaced");
    CHECK_RUN(0, "store merge @/precious.ssld @/shard1.ssld --replace");
    CHECK_RUN(0, "store verify @/precious.ssld");
    CHECK_RUN(0, "store merge @/precious.ssld @/precious.ssld @/shard2.ssld --replace");
    CHECK_RUN(0, "store info --json @/precious.ssld");
    CHECK(told("records") > 128, "a store merged into itself has %g labels", told("records"));
}

/* A limit on the size of files is a full disk to whoever writes. */
TEST(full_disk_leaves_inputs_as_they_are_and_no_output)
{
    static const char *const lines[] = { "store merge @/full.ssld @/wide.ssld",
                                         "store recode @/wide.ssld @/full.ssld --codec f16",
                                         "store split @/wide.ssld @/full.ssld --view-count 1",
                                         "store export @/wide.ssld --out @/full.npy",
                                         "store export @/wide.ssld --out @/full.csv",
                                         "store import @/wide.npy @/full.ssld --codec f32" };
    struct rlimit before, limit;
    make_wide_store();
    CHECK(!getrlimit(RLIMIT_FSIZE, &before), "no limit");
    damage("wide.ssld", "copy.ssld");
    damage("copy.ssld", "copy.ssld"); /* twice the same bit: the file as it was */
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        limit = before;
        limit.rlim_cur = 60000;
        signal(SIGXFSZ, SIG_IGN); /* children inherit it */
        setrlimit(RLIMIT_FSIZE, &limit);
        int code = run("%s", lines[i]);
        setrlimit(RLIMIT_FSIZE, &before);
        signal(SIGXFSZ, SIG_DFL);
        CHECK(code == 1 && strstr(errors, "full."), "'%s' ended with %d and said %.600s", lines[i], code, errors);
        CHECK(names_with("full.") == 0, "'%s' left something behind", lines[i]);
        CHECK(same_bytes(in_folder("wide.ssld"), in_folder("copy.ssld")), "'%s' has changed its input", lines[i]);
    }
}

TEST(folder_that_cannot_be_written_is_named)
{
    make_stores();
    static const char *const lines[] = { "store merge /proc/x.ssld @/shard1.ssld",
                                         "store recode @/whole.ssld @/no/x.ssld",
                                         "store split @/whole.ssld @/no/x.ssld --view-count 1",
                                         "store export @/whole.ssld --out /proc/x.npy",
                                         "store import @/classes.npy @/no/x.ssld" };
    static const float rows[8] = { 0 };
    write_matrix("classes.npy", rows, 2, 4);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        CHECK_RUN(1, "%s", lines[i]);
        CHECK(strstr(errors, "/x."), "'%s' says: %.600s", lines[i], errors);
    }
}

/* SIGINT ends a command with code 130, SIGKILL at any moment leaves the inputs as they are and nothing under the
 * name. */
TEST(killed_commands_leave_inputs_and_names_alone)
{
    static const char *const lines[] = { "store merge @/dead.ssld @/wide.ssld",
                                         "store recode @/wide.ssld @/dead.ssld --codec log8",
                                         "store export @/wide.ssld --out @/dead.csv" };
    make_wide_store();
    damage("wide.ssld", "alive.ssld");
    damage("alive.ssld", "alive.ssld");
    for (int turn = 0; turn < 12; turn++)
        for (int i = 0; i < 3; i++) {
            struct timespec pause = { 0, 1000000L * turn };
            pid_t child = start(lines[i]);
            nanosleep(&pause, NULL);
            kill(child, turn % 2 ? SIGKILL : SIGINT);
            int code = finish(child);
            const char *name = i == 2 ? "dead.csv" : "dead.ssld";
            CHECK(same_bytes(in_folder("wide.ssld"), in_folder("alive.ssld")), "'%s' has changed its input", lines[i]);
            CHECK(code == 0 || size_of(in_folder(name)) < 0 || turn % 2, "an interrupted '%s' left %s", lines[i], name);
            if (size_of(in_folder(name)) >= 0 && i < 2)
                CHECK_RUN(0, "store verify @/%s", name);
            unlink(in_folder(name));
        }
}

/* -- Not stores --------------------------------------------------------------------------------------------------- */

TEST(what_is_no_store_is_said_to_be_none)
{
    static const char *const lines[] = { "store info @/%s", "store verify @/%s", "store merge @/none.ssld @/%s",
                                         "store split @/%s @/none.ssld --view-count 1", "store recode @/%s @/none.ssld",
                                         "store export @/%s --out @/none.npy",
                                         "store check @/%s " DATA "--teacher @/teacher.onnx" };
    static const char *const files[] = { "images", "empty", "missing" };
    make_stores();
    write_bytes("empty", "", 0);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
            char line[256], part[64];
            const char *at = strstr(lines[i], "%s");
            snprintf(line, sizeof line, "%.*s%s%s", (int)(at - lines[i]), lines[i], files[f], at + 2);
            snprintf(part, sizeof part, "/%s", files[f]);
            CHECK_RUN(1, "%s", line);
            CHECK(strstr(errors, part), "'ssld %s' says: %.600s", line, errors);
        }
    CHECK(names_with("none") == 0, "something was left behind");
}

/* -- check -------------------------------------------------------------------------------------------------------- */

#define CHECK_LINE DATA "--teacher @/teacher.onnx "

TEST(check_agrees_with_the_teachers_own_labels)
{
    static const char *const codecs[] = { "--codec f32", "--codec f16", "--codec log8",
                                          "--codec topk --topk 2 --tail uniform", "--codec topk --topk 2" };
    make_stores();
    CHECK_RUN(0, "store check @/whole.ssld " CHECK_LINE);
    CHECK_SAYS(output, "agreeing     100.0 %");
    CHECK_RUN(0, "store check @/shard1.ssld @/shard2.ssld @/shard3.ssld --count 40 --json " CHECK_LINE);
    CHECK_SAYS(output, "\"verdict\":\"agree\"");
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        unlink(in_folder("coded.ssld"));
        CHECK_RUN(0, LABEL "--view-count 2 --seed 9 --batch 16 %s --labels @/coded.ssld", codecs[i]);
        CHECK_RUN(0, "store check @/coded.ssld --json " CHECK_LINE);
        CHECK(told("agreeing") == 1 && told("same_top1") > 0.99, "'%s': %.600s", codecs[i], output);
    }
}

TEST(check_passes_over_views_that_are_not_stored)
{
    make_stores();
    CHECK_RUN(0, "store check @/shard1.ssld --json --count 400 " CHECK_LINE);
    CHECK(told("compared") == 128 && told("not_stored") == ALL - 128, "%.600s", output);
}

/* The labels of every image's neighbour, bound to the same data set, views and teacher. */
TEST(check_finds_labels_of_other_views)
{
    static uint8_t bytes[MOST_BYTES];
    make_stores();
    CHECK_RUN(0, "store export @/whole.ssld --out @/right.npy");
    size_t size = read_bytes("right.npy", bytes), row = CLASSES * sizeof(float), start = size - ALL * row;
    memmove(bytes + start + row, bytes + start, size - start - row);
    write_bytes("wrong.npy", bytes, size);
    static const char import[] = "--of probabilities --codec f32 " DATA "--teacher @/teacher.onnx --seed 9 "
                                 "--views \"pad_crop(size=28, pad=2, fill=0) flip(p=0.5) normalize(mean=0.286, std=0.353)\"";
    CHECK_RUN(0, "store import @/right.npy @/right.ssld %s", import);
    CHECK_RUN(0, "store check @/right.ssld " CHECK_LINE);
    CHECK_RUN(0, "store import @/wrong.npy @/wrong.ssld %s", import);
    CHECK_RUN(1, "store check @/wrong.ssld " CHECK_LINE);
    CHECK_SAYS(output, "the labels are not this teacher's of these views");
}

TEST(check_refuses_another_teacher_or_data_set)
{
    make_stores();
    CHECK_RUN(1, "store check @/whole.ssld " DATA "--teacher @/untrained.onnx");
    CHECK_SAYS(errors, "teacher");
    CHECK_RUN(1, "store check @/whole.ssld --data idx:@/images --teacher @/nothing.onnx");
    CHECK_SAYS(errors, "nothing.onnx");
    write_images("images2", "classes2");
    static uint8_t bytes[MOST_BYTES];
    size_t size = read_bytes("images2", bytes);
    bytes[size - 1] ^= 1;
    write_bytes("images2", bytes, size);
    CHECK_RUN(1, "store check @/whole.ssld --data idx:@/images2,@/classes2 --teacher @/teacher.onnx");
    CHECK_SAYS(errors, "data set");
}

/* -- export, NumPy ------------------------------------------------------------------------------------------------ */

TEST(exported_labels_come_back_by_import)
{
    make_stores();
    CHECK_RUN(0, "store export @/whole.ssld --out @/all.npy --ids @/ids.npy");
    CHECK_SAYS(output, "all.npy: 400 labels of 4 classes");
    CHECK(size_of(in_folder("all.npy")) == 128 + ALL * CLASSES * 4, "%lld bytes",
          (long long)size_of(in_folder("all.npy")));
    CHECK_RUN(0, "store import @/all.npy @/back.ssld --of probabilities --samples 200 --codec f32");
    CHECK_RUN(0, "store export @/back.ssld --out @/again.npy --ids @/ids2.npy");
    CHECK(same_bytes(in_folder("ids.npy"), in_folder("ids2.npy")), "the ids differ");
    static uint8_t one[MOST_BYTES], two[MOST_BYTES];
    size_t size = read_bytes("all.npy", one);
    CHECK(size == read_bytes("again.npy", two), "the sizes differ");
    for (size_t i = 128; i < size; i += 4) {
        float left, right;
        memcpy(&left, one + i, 4);
        memcpy(&right, two + i, 4);
        /* a logarithm and its power, each rounded: 1e-6 of a logarithm of at most 20 */
        CHECK(fabsf(left - right) <= 2e-5f * left, "%g became %g", (double)left, (double)right);
    }
}

TEST(csv_has_a_line_a_view)
{
    static char text[65536];
    make_stores();
    CHECK_RUN(0, "store export @/whole.ssld --out @/all.csv --first-view 1 --view-count 1");
    read_text(in_folder("all.csv"), text, sizeof text);
    CHECK(!strncmp(text, "sample,view,p0,p1,p2,p3\n0,1,", 28), "it begins with %.60s", text);
    int lines = 0;
    double sum = 0;
    for (char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    CHECK(lines == 201, "%d lines", lines);
    char *next = strchr(text, '\n') + strlen("\n0,1,");
    for (int c = 0; c < 4; c++)
        sum += strtod(next, &next), next += *next == ',';
    CHECK(fabs(sum - 1) < 1e-6, "the first label sums to %g", sum);
    CHECK_RUN(0, "store export @/whole.ssld --out @/top.csv --top 2 --as log");
    read_text(in_folder("top.csv"), text, sizeof text);
    CHECK(!strncmp(text, "sample,view,class1,p1,class2,p2\n", 32), "it begins with %.60s", text);
    double first, second;
    int best, other;
    CHECK(sscanf(text + 32, "0,0,%d,%lf,%d,%lf", &best, &first, &other, &second) == 4 && first >= second &&
              first <= 0 && best != other,
          "the first line is %.60s", text + 32);
    CHECK_RUN(2, "store export @/whole.ssld --out @/all.txt");
    CHECK_SAYS(errors, ".npy");
    CHECK_RUN(2, "store export @/whole.ssld --out @/top.npy --top 2");
    CHECK_RUN(1, "store export @/whole.ssld --out @/top9.csv --top 9");
    CHECK_RUN(1, "store export @/whole.ssld --out @/view2.csv --first-view 2");
    CHECK_SAYS(errors, "views 0 to 1");
}

TEST(arrays_of_another_form_are_refused_by_name)
{
    static const float rows[12] = { 0 };
    static const struct {
        const char *header, *says;
        size_t size;
    } cases[] = {
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }", "float32", 48 },
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 4), }", "float32", 48 },
        { "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4), }", "C order", 48 },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (12,), }", "two dimensions", 48 },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 2), }", "two dimensions", 48 },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }", "two dimensions", 0 },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", "cut short", 44 },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "cut short", 48 },
        { "{'fortran_order': False, 'shape': (3, 4), }", "float32", 48 },
        { "nothing", "float32", 48 },
    };
    make_stores();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_npy("bad.npy", cases[i].header, rows, cases[i].size);
        CHECK_RUN(1, "store import @/bad.npy @/none.ssld");
        CHECK(strstr(errors, "bad.npy") && strstr(errors, cases[i].says), "case %zu: it says: %.600s", i, errors);
    }
    CHECK_RUN(1, "store import @/images @/none.ssld");
    CHECK_SAYS(errors, "not a NumPy array");
    write_matrix("good.npy", rows, 3, 4);
    CHECK_RUN(1, "store import @/good.npy @/none.ssld --samples 2");
    CHECK_RUN(1, "store import @/good.npy @/none.ssld --classes 5");
    CHECK_RUN(1, "store import @/good.npy @/none.ssld --of probabilities");
    CHECK_RUN(1, "store import @/nothing.npy @/none.ssld");
    static const float infinite[4] = { 0, INFINITY, 0, 0 };
    write_matrix("bad.npy", infinite, 1, 4);
    CHECK_RUN(1, "store import @/bad.npy @/none.ssld");
    CHECK(names_with("none") == 0, "something was left behind");
}

/* -- TinyViT ------------------------------------------------------------------------------------------------------ */

#define TINY_K 3
#define TINY_RECORD (4 + 4 * TINY_K)

/* One record: probabilities 0.5, 0.25, 0.125 of classes that follow `first`, and the seed. */
static void put_record(uint8_t *record, uint32_t seed, int first)
{
    static const uint16_t halves[TINY_K] = { 0x3800, 0x3400, 0x3000 };
    for (int i = 0; i < 4; i++)
        record[i] = (uint8_t)(seed >> 8 * i);
    for (int k = 0; k < TINY_K; k++) {
        record[4 + 2 * k] = (uint8_t)(first + k);
        record[5 + 2 * k] = 0;
        record[4 + 2 * TINY_K + 2 * k] = (uint8_t)(halves[k] & 255);
        record[5 + 2 * TINY_K + 2 * k] = (uint8_t)(halves[k] >> 8);
    }
}

/* Two epochs of four images by two processes: image i has classes from i + epoch on. */
static void make_tinyvit(void)
{
    uint8_t records[2 * TINY_RECORD];
    set_up();
    make_folder("tiny");
    for (int epoch = 0; epoch < 2; epoch++) {
        char name[96];
        snprintf(name, sizeof name, "tiny/logits_top%d_epoch%d", TINY_K, epoch);
        make_folder(name);
        for (int rank = 0; rank < 2; rank++) {
            for (int i = 0; i < 2; i++)
                put_record(records + i * TINY_RECORD, (uint32_t)(1000 * epoch + 10 * (2 * i + rank)),
                           2 * i + rank + epoch);
            snprintf(name, sizeof name, "tiny/logits_top%d_epoch%d/rank%d-values.bin", TINY_K, epoch, rank);
            write_bytes(name, records, sizeof records);
            snprintf(name, sizeof name, "tiny/logits_top%d_epoch%d/rank%d-keys.txt", TINY_K, epoch, rank);
            const char *keys = rank ? "1\n3\n" : "0\n2\n";
            write_bytes(name, keys, strlen(keys));
        }
    }
}

TEST(tinyvits_labels_move_over_with_their_seeds)
{
    static uint8_t bytes[MOST_BYTES];
    make_tinyvit();
    CHECK_RUN(0, "store import @/tiny @/tiny.ssld --classes 8 --seeds @/seeds.npy --codec f32");
    CHECK_SAYS(output, "tiny.ssld: 8 of 8 labels, 8 classes, 2 views");
    CHECK_RUN(0, "store export @/tiny.ssld --out @/tiny.npy");
    CHECK(read_bytes("tiny.npy", bytes) == 128 + 8 * 8 * 4, "the array has another size");
    for (int view = 0; view < 2; view++)
        for (int i = 0; i < 4; i++)
            for (int c = 0; c < 8; c++) {
                float is;
                int place = c - (i + view);
                /* an eighth is left for the five other classes */
                float was = place == 0 ? 0.5f : place == 1 ? 0.25f : place == 2 ? 0.125f : 0.125f / 5;
                memcpy(&is, bytes + 128 + 4 * ((view * 4 + i) * 8 + c), 4);
                CHECK(fabsf(is - was) < 1e-6f, "view %d of image %d: class %d has %g, not %g", view, i, c, (double)is,
                      (double)was);
            }
    CHECK(read_bytes("seeds.npy", bytes) == 128 + 8 * 4, "the seeds have another size");
    for (int view = 0; view < 2; view++)
        for (int i = 0; i < 4; i++) {
            int32_t seed;
            memcpy(&seed, bytes + 128 + 4 * (view * 4 + i), 4);
            CHECK(seed == 1000 * view + 10 * i, "view %d of image %d has seed %d", view, i, (int)seed);
        }
}

TEST(tinyvits_keys_are_looked_up_in_the_data_set)
{
    make_tinyvit();
    static const char list[] = "d/zero.jpg 0\nd/one.jpg 1\ne/two.jpg 2\ne/three.jpg 3\ne/four.jpg 3\n";
    static const char *const images[] = { "d/zero.jpg", "d/one.jpg", "e/two.jpg", "e/three.jpg", "e/four.jpg" };
    make_folder("d");
    make_folder("e");
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
        write_bytes(images[i], "", 0); /* import reads names only */
    write_bytes("names.txt", list, strlen(list));
    write_bytes("tiny/logits_top3_epoch0/rank0-keys.txt", "d/zero.jpg\nelsewhere/two.jpg\n", 29);
    write_bytes("tiny/logits_top3_epoch1/rank0-keys.txt", "d/zero.jpg\r\ne/two.jpg", 21);
    write_bytes("tiny/logits_top3_epoch0/rank1-keys.txt", "one.jpg\nthree.jpg\n", 18);
    write_bytes("tiny/logits_top3_epoch1/rank1-keys.txt", "one.jpg\none.jpg\n", 16);
    CHECK_RUN(0, "store import @/tiny @/named.ssld --classes 8 --data list:@/names.txt --codec f32");
    CHECK_SAYS(output, "1 labels were there more than once");
    CHECK_SAYS(output, "named.ssld: 7 of 10 labels");
    write_bytes("tiny/logits_top3_epoch1/rank1-keys.txt", "one.jpg\nnine.jpg\n", 17);
    CHECK_RUN(1, "store import @/tiny @/none.ssld --classes 8 --data list:@/names.txt");
    CHECK_SAYS(errors, "rank1-keys.txt:2: 'nine.jpg' is no image of");
    CHECK_RUN(1, "store import @/tiny @/none.ssld --classes 8");
    CHECK_SAYS(errors, "is not a number: give --data");
    CHECK(names_with("none") == 0, "something was left behind");
}

TEST(damaged_tinyvit_files_are_refused_by_name)
{
    uint8_t records[3 * TINY_RECORD] = { 0 };
    static const char values[] = "tiny/logits_top3_epoch1/rank1-values.bin";
    make_tinyvit();
    CHECK_RUN(1, "store import @/tiny @/none.ssld");
    CHECK_SAYS(errors, "--classes is needed");
    CHECK_RUN(1, "store import @/tiny @/none.ssld --classes 5");
    CHECK_SAYS(errors, "beyond --classes");
    CHECK_RUN(1, "store import @/tiny @/none.ssld --classes 8 --samples 3");
    CHECK_SAYS(errors, "there is no image 3 of 3");
    CHECK_RUN(1, "store import %s @/none.ssld --classes 8", "@/tiny/logits_top3_epoch0");
    CHECK_SAYS(errors, "has no folder logits_top{K}_epoch{E}");
    for (int i = 0; i < 3; i++)
        put_record(records + i * TINY_RECORD, 0, i);
    write_bytes(values, records, sizeof records);
    CHECK_RUN(1, "store import @/tiny @/none.ssld --classes 8");
    CHECK_SAYS(errors, "has more records than");
    write_bytes(values, records, 2 * TINY_RECORD - 1);
    CHECK_RUN(1, "store import @/tiny @/none.ssld --classes 8");
    CHECK_SAYS(errors, "ends before record 2, that of '3'");
    static const struct {
        size_t at;
        uint8_t byte;
        const char *says;
    } wrong[] = {
        { 4, 1, "it has a class twice" },             /* class 0 becomes 1, which the second is */
        { 5 + 2 * TINY_K, 0x7c, "not in 0 to 1" },    /* infinite */
        { 5 + 2 * TINY_K, 0xb8, "not in 0 to 1" },    /* -0.5 */
        { 5 + 2 * TINY_K, 0x3c, "do not sum to" },    /* 1 + 0.25 + 0.125 */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        put_record(records, 0, 0);
        records[wrong[i].at] = wrong[i].byte;
        write_bytes(values, records, 2 * TINY_RECORD);
        CHECK_RUN(1, "store import @/tiny @/none.ssld --classes 8");
        CHECK(strstr(errors, wrong[i].says) && strstr(errors, "rank1-values.bin: record 1"),
              "case %zu: it says: %.600s", i, errors);
    }
    unlink(in_folder("tiny/logits_top3_epoch1/rank1-keys.txt"));
    CHECK_RUN(1, "store import @/tiny @/none.ssld --classes 8");
    CHECK_SAYS(errors, "rank1-keys.txt: cannot be read");
    make_folder("tiny/logits_top5_epoch7");
    CHECK_RUN(1, "store import @/tiny @/none.ssld --classes 8");
    CHECK_SAYS(errors, "several K");
    rmdir(in_folder("tiny/logits_top5_epoch7"));
    CHECK(names_with("none") == 0, "something was left behind");
}

/* -- bench store -------------------------------------------------------------------------------------------------- */

TEST(bench_store_tells_programs_everything_in_one_line)
{
    static const char *const rates[] = { "write_views_per_s", "random_views_per_s", "ordered_views_per_s", "open_ms",
                                         "bytes_per_view", "peak_rss_mb" };
    static const char *const cosines[] = { "soft_ce_grad_cosine_median", "sym_kl_grad_cosine_median",
                                           "tinyvit_soft_ce_grad_cosine_median", "tinyvit_sym_kl_grad_cosine_median" };
    make_wide_store();
    CHECK_RUN(0, "bench store --classes 50 --topk 5 --views 4000 --compare 50 --repeats 1 --dir @ --json");
    CHECK(told("classes") == 50 && told("topk") == 5 && told("views") == 4000, "%.600s", output);
    CHECK_RUN(0, "bench store --logits @/wide.npy --student @/wide.npy --topk 10 --views 4000 --compare 50 --repeats 1 "
                 "--dir @ --json");
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        CHECK(told(rates[i]) > 0, "%s is %g", rates[i], told(rates[i]));
    for (size_t i = 0; i < sizeof cosines / sizeof cosines[0]; i++)
        CHECK(told(cosines[i]) <= 1 + 1e-12 && told(cosines[i]) >= -1, "%s is %g", cosines[i], told(cosines[i]));
    CHECK(told("kl_mean") >= 0 && told("tinyvit_kl_mean") > 0, "%.600s", output);
    CHECK(!strchr(strchr(output, '\n') + 1, '\n'), "more than one line: %.600s", output);
    CHECK(names_with("ssld-bench") == 0, "the store was left behind");
    CHECK_RUN(0, "bench store --classes 10 --codec f32 --views 4000 --compare 50 --repeats 1 --dir @ --json");
    CHECK(fabs(told("kl_mean")) < 1e-6 && told("sym_kl_grad_cosine_median") > 0.999999, "labels of f32 differ: %.600s",
          output);
    CHECK_RUN(0, "bench store --classes 10 --views 4000 --compare 50 --repeats 1 --dir @");
    CHECK_SAYS(output, "TinyViT's form");
    CHECK_RUN(2, "bench store --student @/wide.npy");
    CHECK_RUN(1, "bench store --logits @/wide.npy --classes 7");
    CHECK_RUN(1, "bench store --logits @/images");
    CHECK_RUN(1, "bench store --classes 10 --views 4000 --dir @/no");
}

TEST_MAIN(TEST_ROW(shards_are_the_whole_when_merged_and_when_opened_together),
          TEST_ROW(shard_that_is_done_or_was_killed_goes_on_alone), TEST_ROW(training_reads_shards_as_one_store),
          TEST_ROW(shard_that_is_none_is_wrong_usage), TEST_ROW(info_accounts_for_every_byte),
          TEST_ROW(verify_names_damage_and_the_rest_is_saved), TEST_ROW(labels_lost_to_damage_are_labelled_again),
          TEST_ROW(shards_of_one_model_merge_record_for_record),
          TEST_ROW(views_in_two_files_are_merged_once),
          TEST_ROW(stores_of_other_labellings_are_not_merged), TEST_ROW(parts_merge_to_what_was_split),
          TEST_ROW(impossible_parts_are_refused), TEST_ROW(coding_anew_keeps_every_label_and_makes_them_smaller),
          TEST_ROW(options_of_another_codec_are_wrong_usage), TEST_ROW(what_exists_is_replaced_only_when_asked),
          TEST_ROW(full_disk_leaves_inputs_as_they_are_and_no_output), TEST_ROW(folder_that_cannot_be_written_is_named),
          TEST_ROW(killed_commands_leave_inputs_and_names_alone), TEST_ROW(what_is_no_store_is_said_to_be_none),
          TEST_ROW(check_agrees_with_the_teachers_own_labels), TEST_ROW(check_passes_over_views_that_are_not_stored),
          TEST_ROW(check_finds_labels_of_other_views), TEST_ROW(check_refuses_another_teacher_or_data_set),
          TEST_ROW(exported_labels_come_back_by_import), TEST_ROW(csv_has_a_line_a_view),
          TEST_ROW(arrays_of_another_form_are_refused_by_name), TEST_ROW(tinyvits_labels_move_over_with_their_seeds),
          TEST_ROW(tinyvits_keys_are_looked_up_in_the_data_set), TEST_ROW(damaged_tinyvit_files_are_refused_by_name),
          TEST_ROW(bench_store_tells_programs_everything_in_one_line))
