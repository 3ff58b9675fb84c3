/* SPDX-License-Identifier: BSD-2-Clause */
/* What loaders offer beside batches: parts for several processes, images left out, images kept in memory, samples of a host's
 * own, and what they say of themselves. */
#include "data/loaders.h"

#include "data/order.h"

#define COUNT 53
#define SIDE 8
#define FLOATS (SIDE * SIDE)

static ssld_loader_statistics statistics_of(ssld_context *context, ssld_loader *loader)
{
    ssld_loader_statistics statistics = { .struct_size = sizeof statistics };
    CHECK_OK(context, ssld_loader_get_statistics(loader, &statistics));
    return statistics;
}

static ssld_dataset *make_pixels(ssld_context *context, uint64_t count)
{
    static uint8_t pixels[COUNT * FLOATS];
    ssld_dataset *dataset = NULL;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 31 + i / 64);
    CHECK_OK(context, ssld_dataset_from_pixels(context, count, (const int32_t[3]){ 1, SIDE, SIDE }, pixels, NULL, &dataset));
    return dataset;
}

/* -- Several processes -------------------------------------------------------------------------------------------- */

/* Samples of an epoch's batches of one rank, batch by batch: sample ids, -1 behind each batch. */
static int record_epoch(ssld_context *context, ssld_loader *loader, uint64_t epoch, int64_t *samples)
{
    ssld_batch *batch = make_batch(context);
    ssld_status status;
    int count = 0;
    CHECK_OK(context, ssld_loader_seek(loader, epoch, 0));
    while (!(status = ssld_loader_next(loader, batch))) {
        for (int32_t i = 0; i < ssld_batch_count(batch); i++)
            samples[count++] = (int64_t)ssld_batch_samples(batch)[i];
        samples[count++] = -1;
    }
    CHECK_STATUS(context, status, SSLD_END);
    ssld_batch_destroy(batch);
    return count;
}

TEST(ranks_share_every_epoch_batch_by_batch_as_one_process_sees_it)
{
    ssld_context *context = make_context();
    ssld_dataset *dataset = make_pixels(context, COUNT);
    ssld_view_spec *spec = parse(context, "normalize(0, 1)");
    for (int32_t ranks = 1; ranks <= 6; ranks++)
        for (int setting = 0; setting < 4; setting++) {
            int64_t whole[4 * COUNT], own[4 * COUNT];
            uint8_t seen[COUNT] = { 0 };
            uint64_t most = 0, least = UINT64_MAX;
            int total = 0;
            ssld_loader_options options = make_options(4, 2);
            options.order = setting % 2;
            options.last = setting / 2;
            ssld_loader *one = make_loader(context, dataset, spec, &options);
            record_epoch(context, one, 1, whole);
            ssld_loader_destroy(one);
            options.ranks = ranks;
            for (options.rank = 0; options.rank < ranks; options.rank++) {
                ssld_loader *loader = make_loader(context, dataset, spec, &options);
                uint64_t batches = ssld_loader_batches(loader), groups = COUNT / (4 * (uint64_t)ranks);
                int count = record_epoch(context, loader, 1, own);
                for (uint64_t n = 0; n < groups; n++)
                    CHECK(!memcmp(own + 5 * n, whole + 5 * (n * (uint64_t)ranks + (uint64_t)options.rank), 5 * sizeof *own),
                          "rank %d of %d: batch %d is another", options.rank, ranks, (int)n);
                for (int i = 0; i < count; i++) {
                    if (own[i] < 0)
                        continue;
                    CHECK(!seen[own[i]], "sample %d twice", (int)own[i]);
                    seen[own[i]] = 1;
                    total++;
                }
                most = batches > most ? batches : most;
                least = batches < least ? batches : least;
                ssld_loader_destroy(loader);
            }
            if (options.last == SSLD_LAST_KEEP)
                CHECK(total == COUNT && most - least <= 1, "%d ranks: %d samples of %d", ranks, total, COUNT);
            else
                CHECK(total == COUNT / (4 * ranks) * 4 * ranks && most == least, "%d ranks: %d samples", ranks, total);
        }
    ssld_view_spec_destroy(spec);
    ssld_dataset_destroy(dataset);
    ssld_context_destroy(context);
}

TEST(rank_resumes_in_the_middle_of_an_epoch)
{
    ssld_context *context = make_context();
    ssld_dataset *dataset = make_pixels(context, COUNT);
    ssld_view_spec *spec = parse(context, "pad_crop(8, 2) flip(0.5) normalize(0, 1)");
    ssld_loader_options options = make_options(4, 2);
    ssld_batch *batch = make_batch(context), *other = make_batch(context);
    options.order = SSLD_ORDER_SHUFFLED;
    options.rank = 1;
    options.ranks = 3;
    ssld_loader *whole = make_loader(context, dataset, spec, &options);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        for (uint64_t number = 0; number < ssld_loader_batches(whole); number++) {
            uint64_t at_epoch = 9, at_number = 9;
            ssld_loader *resumed = make_loader(context, dataset, spec, &options);
            CHECK_OK(context, ssld_loader_seek(resumed, epoch, number));
            ssld_loader_position(whole, &at_epoch, &at_number);
            CHECK(at_epoch == epoch && at_number == number, "at batch %d of epoch %d", (int)at_number, (int)at_epoch);
            CHECK_OK(context, ssld_loader_next(whole, batch));
            CHECK_OK(context, ssld_loader_next(resumed, other));
            int32_t count = ssld_batch_count(batch);
            CHECK(count == ssld_batch_count(other) &&
                      !memcmp(ssld_batch_samples(batch), ssld_batch_samples(other), (size_t)count * sizeof(uint64_t)) &&
                      !memcmp(ssld_batch_pixels(batch), ssld_batch_pixels(other), (size_t)count * FLOATS * sizeof(float)),
                  "batch %d of epoch %d is another", (int)number, (int)epoch);
            CHECK_OK(context, ssld_batch_wrap(other, 1, (const int32_t[3]){ 1, 1, 1 }, (const float[1]){ 0 }, NULL, NULL, NULL));
            ssld_loader_destroy(resumed);
        }
        CHECK_STATUS(context, ssld_loader_next(whole, batch), SSLD_END);
    }
    ssld_batch_destroy(batch);
    ssld_batch_destroy(other);
    ssld_loader_destroy(whole);
    ssld_view_spec_destroy(spec);
    ssld_dataset_destroy(dataset);
    ssld_context_destroy(context);
}

TEST(impossible_options_are_refused_and_named)
{
    static const struct {
        int32_t     rank, ranks, bad, cache, priority, last;
        const char *said;
    } rows[] = { { 1, 0, 0, 0, 0, 0, "rank is 1; it must be 0 to 0" },
                 { 3, 3, 0, 0, 0, 0, "rank is 3; it must be 0 to 2" },
                 { -1, 3, 0, 0, 0, 0, "rank is -1" },
                 { 0, -1, 0, 0, 0, 0, "ranks is -1" },
                 { 3, 4, 0, 0, 0, SSLD_LAST_DROP, "rank 3 of 4 has no batch of 4 of a data set of 5 samples" },
                 { 0, 8, 0, 0, 0, 0, "rank 0 of 8 has no batch" },
                 { 0, 0, 2, 0, 0, 0, "bad is 2; it must be 0 to 1" },
                 { 0, 0, 0, 3, 0, 0, "cache is 3; it must be 0 to 2" },
                 { 0, 0, 0, 0, 2, 0, "priority is 2; it must be 0 to 1" } };
    ssld_context *context = make_context();
    ssld_dataset *dataset = make_pixels(context, 5);
    ssld_view_spec *spec = parse(context, "normalize(0, 1)");
    ssld_loader *loader = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_loader_options options = make_options(4, 1);
        options.rank = rows[i].rank;
        options.ranks = rows[i].ranks;
        options.bad = rows[i].bad;
        options.cache = rows[i].cache;
        options.priority = rows[i].priority;
        options.last = rows[i].last;
        CHECK_STATUS(context, ssld_loader_create(context, dataset, spec, &options, &loader), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(context, rows[i].said);
    }
    ssld_view_spec_destroy(spec);
    ssld_dataset_destroy(dataset);
    ssld_context_destroy(context);
}

/* -- Bad images --------------------------------------------------------------------------------------------------- */

#define FILES 24

struct bench {
    struct folder   folder;
    ssld_context   *context;
    ssld_dataset   *dataset;
    ssld_view_spec *spec;
};

/* FILES images of several kinds in a list. */
static struct bench make_files(ssld_context *context)
{
    struct bench bench = { make_folder(), context, NULL, parse(context, "rrc(12) flip normalize(imagenet)") };
    char list[FILES * 16] = "";
    for (int i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.%s", i, i % 3 == 2 ? "png" : "jpg");
        if (i % 3 == 0)
            add_file(&bench.folder, name, jpeg_colour, sizeof jpeg_colour);
        else if (i % 3 == 1)
            add_file(&bench.folder, name, jpeg_grey, sizeof jpeg_grey);
        else
            add_file(&bench.folder, name, png_colour, sizeof png_colour);
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s %d\n", name, i % 5);
    }
    add_text(&bench.folder, "list.txt", list);
    CHECK_OK(context, ssld_dataset_open(context, place("list:", &bench.folder, "list.txt"), NULL, &bench.dataset));
    return bench;
}

static void end_files(struct bench *bench)
{
    ssld_view_spec_destroy(bench->spec);
    ssld_dataset_destroy(bench->dataset);
    remove_all(bench->folder.path);
}

/* Bad: 6, 7, 13, 17, and all of the fifth batch of four, 16 to 19. */
static const struct damage {
    uint64_t    sample;
    const char *name, *content;
    ssld_status status;
    const char *said;
} damages[] = {
    { 6, "6.jpg", "", SSLD_FORMAT, "0 bytes: the file is empty" },
    { 7, "7.jpg", "\xff\xd8\xff\xe0 cut", SSLD_CORRUPT, "cut-off JPEG" },
    { 13, "13.jpg", NULL, SSLD_NOT_FOUND, "cannot open" },
    { 16, "16.jpg", "text", SSLD_FORMAT, "neither a JPEG nor a PNG" },
    { 17, "17.png", "GIF89a", SSLD_FORMAT, "neither a JPEG nor a PNG" },
    { 18, "18.jpg", "BM", SSLD_FORMAT, "neither a JPEG nor a PNG" },
    { 19, "19.jpg", "RIFF", SSLD_FORMAT, "neither a JPEG nor a PNG" },
};
#define DAMAGES (sizeof damages / sizeof *damages)

static void damage_files(const struct bench *bench)
{
    for (size_t i = 0; i < DAMAGES; i++)
        if (damages[i].content)
            add_text(&bench->folder, damages[i].name, damages[i].content);
        else
            unlink(place("", &bench->folder, damages[i].name));
}

static bool is_damaged(uint64_t sample)
{
    for (size_t i = 0; i < DAMAGES; i++)
        if (damages[i].sample == sample)
            return true;
    return false;
}

TEST(bad_images_are_left_out_and_listed_and_no_other_takes_their_place)
{
    struct bench bench = make_files(make_context());
    damage_files(&bench);
    for (int32_t threads = 1; threads <= 4; threads += 3)
        for (int cached = 0; cached < 2; cached++) {
            ssld_loader_options options = make_options(4, threads);
            options.bad = SSLD_BAD_SKIP;
            options.cache_bytes = cached ? 1 << 20 : 0;
            ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
            ssld_batch *batch = make_batch(bench.context);
            for (uint64_t epoch = 0; epoch < 3; epoch++) {
                uint64_t expected = 0, at_epoch, at_number;
                for (int number = 0; number < 5; number++) { /* of six batches one is empty and passed over */
                    CHECK_OK(bench.context, ssld_loader_next(loader, batch));
                    for (int32_t i = 0; i < ssld_batch_count(batch); i++, expected++) {
                        float view[3 * 12 * 12];
                        uint8_t bytes[4096];
                        char name[64];
                        while (is_damaged(expected))
                            expected++;
                        uint64_t sample = ssld_batch_samples(batch)[i];
                        CHECK(sample == expected, "sample %d where %d belongs", (int)sample, (int)expected);
                        CHECK(ssld_batch_labels(batch)[i] == (int32_t)(sample % 5) && ssld_batch_views(batch)[i] == epoch,
                              "sample %d has label %d, view %u", (int)sample, ssld_batch_labels(batch)[i],
                              ssld_batch_views(batch)[i]);
                        ssld_dataset_name(bench.dataset, sample, name, sizeof name);
                        FILE *file = fopen(place("", &bench.folder, name), "rb");
                        size_t size = fread(bytes, 1, sizeof bytes, file);
                        fclose(file);
                        CHECK_OK(bench.context, ssld_view_render(bench.spec, bytes, size, 77, sample, (uint32_t)epoch, view,
                                                                 3 * 12 * 12));
                        CHECK(!memcmp(view, ssld_batch_pixels(batch) + i * 3 * 12 * 12, sizeof view),
                              "sample %d has other pixels", (int)sample);
                    }
                }
                ssld_loader_position(loader, &at_epoch, &at_number);
                CHECK(at_epoch == epoch && at_number == 6, "at batch %d of epoch %d", (int)at_number, (int)at_epoch);
                CHECK_STATUS(bench.context, ssld_loader_next(loader, batch), SSLD_END);
            }
            CHECK(ssld_loader_bad_count(loader) == DAMAGES, "%d bad images", (int)ssld_loader_bad_count(loader));
            ssld_bad_image image = { .struct_size = sizeof image };
            for (size_t i = 0; i < DAMAGES; i++) {
                CHECK_OK(bench.context, ssld_loader_bad(loader, i, &image));
                CHECK(image.sample == damages[i].sample && image.status == damages[i].status, "bad image %d: %d, %s", (int)i,
                      (int)image.sample, ssld_status_name(image.status));
                CHECK(strstr(image.text, place("", &bench.folder, damages[i].name)) && strstr(image.text, damages[i].said),
                      "it says: %s", image.text);
            }
            CHECK_STATUS(bench.context, ssld_loader_bad(loader, DAMAGES, &image), SSLD_INVALID_ARGUMENT);
            ssld_loader_statistics statistics = statistics_of(bench.context, loader);
            CHECK(statistics.skipped == 3 * DAMAGES && statistics.images == 3 * (FILES - DAMAGES) && statistics.batches == 15,
                  "%d skipped, %d images in %d batches", (int)statistics.skipped, (int)statistics.images,
                  (int)statistics.batches);
            ssld_batch_destroy(batch);
            ssld_loader_destroy(loader);
        }
    end_files(&bench);
    ssld_context_destroy(bench.context);
}

/* The partner of a sample's view, or the sample itself where nothing is mixed in. */
static uint64_t partner_of(const struct bench *bench, uint64_t sample, uint32_t view)
{
    const int32_t shape[3] = { 3, 12, 12 };
    ssld_view_mix mix = { .struct_size = sizeof mix };
    CHECK_OK(bench->context, ssld_view_partner(bench->spec, 77, sample, view, FILES, shape, &mix));
    return mix.kind == SSLD_MIX_NONE ? sample : mix.partner;
}

static struct bench make_mixed_files(void)
{
    struct bench bench = make_files(make_context());
    ssld_view_spec_destroy(bench.spec);
    bench.spec = parse(bench.context, "rrc(12) normalize(imagenet) mixup_or_cutmix(0.8, 1, p=0.9)");
    return bench;
}

TEST(bad_partner_stops_the_batch_and_is_named)
{
    enum { BAD = 6 };
    struct bench bench = make_mixed_files();
    add_text(&bench.folder, "6.jpg", "nothing");
    for (uint32_t view = 0; view < 3; view++) {
        ssld_loader_options options = make_options(1, 2);
        options.first_view = view;
        ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
        ssld_batch *batch = make_batch(bench.context);
        for (uint64_t sample = 0; sample < FILES; sample++) {
            bool bad = sample == BAD || partner_of(&bench, sample, view) == BAD;
            CHECK_STATUS(bench.context, ssld_loader_next(loader, batch), bad ? SSLD_FORMAT : SSLD_OK);
            if (bad)
                CHECK_TEXT(bench.context, place("", &bench.folder, "6.jpg: "));
        }
        ssld_batch_destroy(batch);
        ssld_loader_destroy(loader);
    }
    end_files(&bench);
    ssld_context_destroy(bench.context);
}

TEST(views_with_a_bad_partner_are_left_out_and_the_partner_is_listed)
{
    struct bench bench = make_mixed_files();
    damage_files(&bench);
    for (int32_t threads = 1; threads <= 4; threads += 3) {
        ssld_loader_options options = make_options(5, threads);
        bool named[FILES] = { false };
        int left_out = 0, victims = 0;
        options.bad = SSLD_BAD_SKIP;
        ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
        ssld_batch *batch = make_batch(bench.context);
        for (uint32_t view = 0; view < 3; view++) {
            bool there[FILES] = { false };
            ssld_status status;
            while (!(status = ssld_loader_next(loader, batch)))
                for (int32_t i = 0; i < ssld_batch_count(batch); i++)
                    there[ssld_batch_samples(batch)[i]] = true;
            CHECK_STATUS(bench.context, status, SSLD_END);
            for (uint64_t sample = 0; sample < FILES; sample++) {
                uint64_t partner = partner_of(&bench, sample, view);
                bool bad = is_damaged(sample) || is_damaged(partner);
                CHECK(there[sample] == !bad, "view %u of sample %d with %d is %s", view, (int)sample, (int)partner,
                      bad ? "there" : "missing");
                left_out += bad;
                victims += bad && !is_damaged(sample);
                named[is_damaged(sample) ? sample : partner] |= bad;
            }
        }
        CHECK(victims > 0, "no view has a bad partner");
        ssld_loader_statistics statistics = statistics_of(bench.context, loader);
        CHECK(statistics.skipped == (uint64_t)left_out, "%d views left out, not %d", (int)statistics.skipped, left_out);
        CHECK(ssld_loader_bad_count(loader) == DAMAGES, "%d bad images", (int)ssld_loader_bad_count(loader));
        for (uint64_t i = 0; i < DAMAGES; i++) {
            ssld_bad_image image = { .struct_size = sizeof image };
            char name[64];
            CHECK_OK(bench.context, ssld_loader_bad(loader, i, &image));
            ssld_dataset_name(bench.dataset, image.sample, name, sizeof name);
            CHECK(is_damaged(image.sample) && named[image.sample] && strstr(image.text, name), "listed: %d, %s",
                  (int)image.sample, image.text);
        }
        ssld_batch_destroy(batch);
        ssld_loader_destroy(loader);
    }
    end_files(&bench);
    ssld_context_destroy(bench.context);
}

TEST(image_that_may_not_be_opened_is_bad_like_any_other)
{
    struct bench bench = make_files(make_context());
    ssld_loader_options options = make_options(FILES, 1);
    ssld_bad_image image = { .struct_size = sizeof image };
    CHECK(!chmod(bench.folder.path, 0755) && !chmod(place("", &bench.folder, "4.jpg"), 0), "4.jpg cannot be forbidden");
    options.bad = SSLD_BAD_SKIP;
    bool root = become_nobody();
    ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
    ssld_batch *batch = make_batch(bench.context);
    ssld_status status = ssld_loader_next(loader, batch);
    become_root(root);
    CHECK_STATUS(bench.context, status, SSLD_OK);
    CHECK(ssld_batch_count(batch) == FILES - 1 && ssld_loader_bad_count(loader) == 1, "%d views, %d bad images",
          ssld_batch_count(batch), (int)ssld_loader_bad_count(loader));
    CHECK_OK(bench.context, ssld_loader_bad(loader, 0, &image));
    CHECK(image.sample == 4 && image.status == SSLD_IO && strstr(image.text, "4.jpg: cannot open: Permission denied"),
          "it says: %s", image.text);
    ssld_batch_destroy(batch);
    ssld_loader_destroy(loader);
    end_files(&bench);
    ssld_context_destroy(bench.context);
}

TEST(data_of_nothing_but_bad_images_has_epochs_without_batches)
{
    ssld_context *context = make_context();
    struct bench bench = make_files(context);
    for (int i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.%s", i, i % 3 == 2 ? "png" : "jpg");
        add_text(&bench.folder, name, "nothing");
    }
    ssld_loader_options options = make_options(4, 2);
    options.bad = SSLD_BAD_SKIP;
    ssld_loader *loader = make_loader(context, bench.dataset, bench.spec, &options);
    ssld_batch *batch = make_batch(context);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(context, ssld_loader_next(loader, batch), SSLD_END);
    CHECK(ssld_loader_bad_count(loader) == FILES, "%d bad images", (int)ssld_loader_bad_count(loader));
    ssld_batch_destroy(batch);
    ssld_loader_destroy(loader);
    end_files(&bench);
    ssld_context_destroy(context);
}

/* -- Kept in memory ----------------------------------------------------------------------------------------------- */

static void record_floats(ssld_context *context, ssld_loader *loader, uint64_t *hashes, int count)
{
    ssld_batch *batch = make_batch(context);
    for (int i = 0; i < count; i++) {
        ssld_status status = ssld_loader_next(loader, batch);
        CHECK(status == SSLD_OK || status == SSLD_END, "call %d: %s", i, ssld_status_name(status));
        hashes[i] = status ? 0 : hash_floats(ssld_batch_pixels(batch), (size_t)ssld_batch_count(batch) * 3 * 12 * 12);
    }
    ssld_batch_destroy(batch);
}

TEST(views_are_the_same_whatever_is_kept_in_memory)
{
    enum { CALLS = 28 };
    static const struct {
        uint64_t bytes;
        int32_t  cache;
        bool     all; /* everything fits */
    } rows[] = { { 0, 0, false },       { 1 << 20, SSLD_CACHE_AUTO, true },    { 1 << 20, SSLD_CACHE_FILES, true },
                 { 1 << 20, SSLD_CACHE_PIXELS, true }, { 9000, SSLD_CACHE_AUTO, false }, { 5000, SSLD_CACHE_PIXELS, false },
                 { 4000, SSLD_CACHE_FILES, false }, { 1, SSLD_CACHE_AUTO, false } };
    struct bench bench = make_files(make_context());
    uint64_t hashes[2][CALLS];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_loader_options options = make_options(4, 3);
        options.order = SSLD_ORDER_SHUFFLED;
        options.cache_bytes = rows[i].bytes;
        options.cache = rows[i].cache;
        ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
        record_floats(bench.context, loader, hashes[i > 0], CALLS);
        CHECK(!memcmp(hashes[0], hashes[i > 0], sizeof hashes[0]), "other pixels with %d bytes, kind %d", (int)rows[i].bytes,
              rows[i].cache);
        ssld_loader_statistics statistics = statistics_of(bench.context, loader);
        CHECK(statistics.cache_bytes <= rows[i].bytes, "%d bytes of %d", (int)statistics.cache_bytes, (int)rows[i].bytes);
        CHECK((statistics.cache_images == FILES) == rows[i].all, "%d images in %d bytes, kind %d", (int)statistics.cache_images,
              (int)rows[i].bytes, rows[i].cache);
        CHECK(rows[i].bytes > 1 || statistics.cache_images == 0, "images in one byte");
        ssld_loader_destroy(loader);
    }
    end_files(&bench);
    ssld_context_destroy(bench.context);
}

TEST(images_in_memory_are_not_read_again)
{
    struct bench bench = make_files(make_context());
    for (int32_t cache = SSLD_CACHE_AUTO; cache <= SSLD_CACHE_PIXELS; cache++) {
        ssld_loader_options options = make_options(4, 1);
        uint64_t hashes[7], again[7];
        options.views = 1;
        options.cache_bytes = 1 << 20;
        options.cache = cache;
        ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
        record_floats(bench.context, loader, hashes, 7);
        CHECK_OK(bench.context, ssld_loader_seek(loader, 7, 0));
        char moved[256], list[256];
        snprintf(moved, sizeof moved, "%s.away", bench.folder.path);
        snprintf(list, sizeof list, "%s", bench.folder.path);
        CHECK(!rename(list, moved), "cannot move");
        record_floats(bench.context, loader, again, 7);
        CHECK(!rename(moved, list), "cannot move back");
        CHECK(!memcmp(hashes, again, sizeof hashes), "kind %d: other pixels", cache);
        ssld_loader_destroy(loader);
    }
    end_files(&bench);
    ssld_context_destroy(bench.context);
}

TEST(statistics_say_what_was_done)
{
    struct bench bench = make_files(make_context());
    ssld_loader_options options = make_options(5, 2);
    ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
    uint64_t hashes[6];
    record_floats(bench.context, loader, hashes, 6);
    ssld_loader_statistics s = statistics_of(bench.context, loader);
    uint64_t bytes = FILES / 3 * (sizeof jpeg_colour + sizeof jpeg_grey + sizeof png_colour);
    CHECK(s.batches == 5 && s.images == FILES && !s.skipped && !s.cache_hits && !s.cache_images, "%d batches, %d images",
          (int)s.batches, (int)s.images);
    CHECK(s.bytes_read >= bytes, "%d bytes of at least %d", (int)s.bytes_read, (int)bytes); /* the next epoch is under way */
    CHECK(s.render_seconds > 0 && s.read_seconds > 0 && s.wait_seconds == ssld_loader_wait_seconds(loader),
          "%g s rendering, %g s reading, %g s waiting", s.render_seconds, s.read_seconds, s.wait_seconds);
    s.struct_size = 0;
    CHECK_STATUS(bench.context, ssld_loader_get_statistics(loader, &s), SSLD_INVALID_ARGUMENT);
    ssld_loader_destroy(loader);
    end_files(&bench);
    ssld_context_destroy(bench.context);
}

/* What the parts of rendering took, for one spec and with or without `profile`. */
static ssld_loader_statistics profiled(ssld_context *context, const ssld_dataset *dataset, const char *text, int32_t profile)
{
    ssld_loader_options options = make_options(4, 1);
    ssld_view_spec *spec = parse(context, text);
    ssld_batch *batch = make_batch(context);
    options.profile = profile;
    ssld_loader *loader = make_loader(context, dataset, spec, &options);
    while (!ssld_loader_next(loader, batch))
        continue;
    ssld_loader_statistics statistics = statistics_of(context, loader);
    ssld_batch_destroy(batch);
    ssld_loader_destroy(loader);
    ssld_view_spec_destroy(spec);
    return statistics;
}

TEST(profile_says_which_parts_of_rendering_took_time)
{
    static const char plain[] = "rrc(12) normalize(imagenet)", augmented[] = "rrc(12) color_jitter(0.4, 0.4) normalize(imagenet)";
    struct bench bench = make_files(make_context());
    ssld_loader_statistics s = profiled(bench.context, bench.dataset, augmented, 0);
    CHECK(!(s.decode_seconds > 0) && !(s.resample_seconds > 0) && !(s.augment_seconds > 0) && !(s.write_seconds > 0),
          "without the option: %g, %g, %g, %g s", s.decode_seconds, s.resample_seconds, s.augment_seconds, s.write_seconds);
    s = profiled(bench.context, bench.dataset, plain, 1);
    CHECK(s.rendered >= FILES && s.decode_seconds > 0 && s.resample_seconds > 0 && s.write_seconds > 0, "%d views: %g, %g, %g s",
          (int)s.rendered, s.decode_seconds, s.resample_seconds, s.write_seconds);
    /* A busy machine may stop a thread in the midst of a part: ten tries. */
    double without = 0, with = 0;
    for (int i = 0; i < 10 && with <= without; i++) {
        s = profiled(bench.context, bench.dataset, plain, 1);
        without = s.augment_seconds / (double)s.rendered;
        s = profiled(bench.context, bench.dataset, augmented, 1);
        with = s.augment_seconds / (double)s.rendered;
    }
    CHECK(with > without, "%g s a view with color_jitter, %g s without", with, without);
    ssld_dataset *pixels = make_pixels(bench.context, COUNT);
    s = profiled(bench.context, pixels, "flip normalize(0, 1)", 1);
    CHECK(!(s.decode_seconds > 0) && s.write_seconds > 0, "pixels in memory: %g s of decoding", s.decode_seconds);
    ssld_dataset_destroy(pixels);
    end_files(&bench);
    ssld_context_destroy(bench.context);
}

/* Creating and reading while memory runs out: a batch comes, or is an error of its own; the cache does without. */
TEST(every_allocation_may_fail)
{
    bool done = false;
    for (int allowed = 0; !done; allowed++) {
        struct budget budget;
        ssld_context *context = make_poor_context(&budget, 1 << 20);
        struct bench bench = make_files(context);
        ssld_loader_options options = make_options(8, 2);
        damage_files(&bench);
        options.prefetch = 1;
        options.bad = SSLD_BAD_SKIP;
        options.cache_bytes = 1 << 20;
        options.cache = allowed % 3;
        ssld_batch *batch = make_batch(context);
        ssld_loader *loader = NULL;
        atomic_store(&budget.left, allowed);
        ssld_status status = ssld_loader_create(context, bench.dataset, bench.spec, &options, &loader);
        CHECK(status == (loader ? SSLD_OK : SSLD_OUT_OF_MEMORY), "%d allocations: %s", allowed, ssld_status_name(status));
        int good = 0;
        for (int i = 0; loader && i < 3; i++) {
            status = ssld_loader_next(loader, batch);
            CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "%d allocations, batch %d: %s", allowed, i,
                  ssld_status_name(status));
            good += !status;
        }
        done = good == 3 && atomic_load(&budget.left) > 0;
        ssld_batch_destroy(batch);
        ssld_loader_destroy(loader);
        end_files(&bench);
        ssld_context_destroy(context);
        CHECK(atomic_load(&budget.out) == 0, "%d allocations: %d blocks left", allowed, atomic_load(&budget.out));
    }
}

/* -- Samples of a host's ------------------------------------------------------------------------------------------ */

/* Gives JPEG files, pixels of two sizes, and now and then a failure; counts what is out. */
struct host {
    atomic_int read, out;
    bool       bad;
    uint8_t    pixels[3 * 20 * 30];
};

static ssld_status host_read(void *user, uint64_t sample, ssld_sample *given)
{
    struct host *host = user;
    atomic_fetch_add(&host->read, 1);
    if (host->bad && sample == 3) {
        snprintf(given->text, sizeof given->text, "the shelf is empty");
        return SSLD_IO;
    }
    if (host->bad && sample == 5)
        return SSLD_NOT_FOUND;
    if (host->bad && sample == 7)
        return 12345;
    atomic_fetch_add(&host->out, 1);
    given->token = (void *)(uintptr_t)(sample + 100);
    if (host->bad && sample == 8)
        return SSLD_OK; /* and no bytes */
    given->bytes = sample % 2 ? host->pixels : jpeg_colour;
    given->size = sizeof jpeg_colour;
    given->height = sample % 2 ? 20 + (int32_t)(sample % 4) : 0;
    given->width = sample % 2 ? 25 : 0;
    if (host->bad && sample == 9)
        given->height = -1;
    return SSLD_OK;
}

static void host_release(void *user, uint64_t sample, void *token)
{
    struct host *host = user;
    atomic_fetch_sub(&host->out, token == (void *)(uintptr_t)(sample + 100) ? 1 : 1000);
}

static ssld_dataset_source make_source(struct host *host)
{
    ssld_dataset_source source;
    ssld_dataset_source_init(&source, sizeof source);
    source.read = host_read;
    source.release = host_release;
    source.user = host;
    source.count = 12;
    return source;
}

TEST(hosts_function_gives_files_or_pixels_and_gets_each_back)
{
    static struct host host;
    static const int32_t labels[12] = { 3, 2, 1, 0, -1 };
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "rrc(12) flip normalize(imagenet)");
    ssld_dataset *dataset = NULL;
    ssld_dataset_source source = make_source(&host);
    uint8_t fingerprint[16];
    char name[16];
    for (size_t i = 0; i < sizeof host.pixels; i++)
        host.pixels[i] = (uint8_t)(i * 13);
    source.labels = labels;
    memset(source.fingerprint, 9, sizeof source.fingerprint);
    CHECK_OK(context, ssld_dataset_from_source(context, &source, &dataset));
    ssld_dataset_fingerprint(dataset, fingerprint);
    ssld_dataset_name(dataset, 4, name, sizeof name);
    CHECK(ssld_dataset_count(dataset) == 12 && ssld_dataset_classes(dataset) == 4 && ssld_dataset_label(dataset, 1) == 2 &&
              !memcmp(fingerprint, source.fingerprint, 16) && !strcmp(name, "#4"),
          "%d samples of %d classes, %s", (int)ssld_dataset_count(dataset), ssld_dataset_classes(dataset), name);
    for (int cached = 0; cached < 2; cached++) {
        ssld_loader_options options = make_options(5, 3);
        options.cache_bytes = cached ? 1 << 20 : 0;
        ssld_loader *loader = make_loader(context, dataset, spec, &options);
        ssld_batch *batch = make_batch(context);
        for (int call = 0; call < 8; call++) {
            ssld_status status = ssld_loader_next(loader, batch);
            CHECK(status == (call % 4 == 3 ? SSLD_END : SSLD_OK), "call %d: %s", call, ssld_status_name(status));
            for (int32_t i = 0; !status && i < ssld_batch_count(batch); i++) {
                float view[3 * 12 * 12];
                uint64_t sample = ssld_batch_samples(batch)[i];
                uint32_t number = ssld_batch_views(batch)[i];
                if (sample % 2)
                    CHECK_OK(context, ssld_view_render_pixels(spec, host.pixels,
                                                              (const int32_t[3]){ 3, 20 + (int32_t)(sample % 4), 25 }, 77,
                                                              sample, number, view, 3 * 12 * 12));
                else
                    CHECK_OK(context, ssld_view_render(spec, jpeg_colour, sizeof jpeg_colour, 77, sample, number, view,
                                                       3 * 12 * 12));
                CHECK(!memcmp(view, ssld_batch_pixels(batch) + i * 3 * 12 * 12, sizeof view), "sample %d has other pixels",
                      (int)sample);
            }
        }
        ssld_batch_destroy(batch);
        ssld_loader_destroy(loader);
        CHECK(atomic_load(&host.out) == 0, "%d of %d were not given back", atomic_load(&host.out), atomic_load(&host.read));
    }
    ssld_dataset_destroy(dataset);
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

TEST(what_a_hosts_function_does_wrong_is_an_error_of_the_sample)
{
    static struct host host;
    static const struct {
        uint64_t    sample;
        ssld_status status;
        const char *said;
    } rows[] = { { 3, SSLD_IO, "sample #3: the shelf is empty" },
                 { 5, SSLD_NOT_FOUND, "sample #5: the host's function failed" },
                 { 7, SSLD_INVALID_ARGUMENT, "sample #7: the host's function failed" },
                 { 8, SSLD_INVALID_ARGUMENT, "sample #8: the host's function gave no bytes" },
                 { 9, SSLD_INVALID_ARGUMENT, "sample #9: the host's function gave -1 x 25 pixels" } };
    ssld_context *context = make_context();
    ssld_view_spec *spec = parse(context, "rrc(12) normalize(imagenet)");
    ssld_dataset *dataset = NULL;
    ssld_dataset_source source = make_source(&host);
    host.bad = true;
    CHECK_OK(context, ssld_dataset_from_source(context, &source, &dataset));
    ssld_loader_options options = make_options(1, 2);
    ssld_loader *loader = make_loader(context, dataset, spec, &options);
    ssld_batch *batch = make_batch(context);
    for (uint64_t i = 0, row = 0; i < 12; i++) {
        bool wrong = row < 5 && rows[row].sample == i;
        CHECK_STATUS(context, ssld_loader_next(loader, batch), wrong ? rows[row].status : SSLD_OK);
        if (wrong)
            CHECK_TEXT(context, rows[row++].said);
    }
    ssld_batch_destroy(batch);
    ssld_loader_destroy(loader);
    CHECK(atomic_load(&host.out) == 0, "%d were not given back", atomic_load(&host.out));
    ssld_dataset_destroy(dataset);
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
}

TEST(impossible_sources_are_refused_and_named)
{
    static struct host host;
    static const int32_t labels[12] = { 0, 5 }, negative[12] = { 0, 0, -2 };
    ssld_context *context = make_context();
    for (int row = 0; row < 7; row++) {
        static const char *const said[] = { "no function to read samples with", "images of shape 2 x 0 x 0", "images of shape 0 x 3 x 0",
                                            "images of shape 3 x 65536 x 65536", "classes is -1", "label 1 is 5", "label 2 is -2" };
        ssld_dataset_source source = make_source(&host);
        ssld_dataset *dataset = NULL;
        if (row == 0)
            source.read = NULL;
        else if (row == 1)
            source.image[0] = 2;
        else if (row == 2)
            source.image[1] = 3;
        else if (row == 3)
            source.image[0] = 3, source.image[1] = source.image[2] = 65536;
        else if (row == 4)
            source.classes = -1;
        else
            source.labels = row == 5 ? labels : negative, source.classes = row == 5 ? 5 : 0;
        CHECK_STATUS(context, ssld_dataset_from_source(context, &source, &dataset), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(context, said[row]);
        CHECK(!dataset, "a refused data set was given");
    }
    ssld_context_destroy(context);
}

TEST_MAIN(TEST_ROW(ranks_share_every_epoch_batch_by_batch_as_one_process_sees_it),
          TEST_ROW(rank_resumes_in_the_middle_of_an_epoch), TEST_ROW(impossible_options_are_refused_and_named),
          TEST_ROW(bad_images_are_left_out_and_listed_and_no_other_takes_their_place),
          TEST_ROW(bad_partner_stops_the_batch_and_is_named),
          TEST_ROW(views_with_a_bad_partner_are_left_out_and_the_partner_is_listed),
          TEST_ROW(image_that_may_not_be_opened_is_bad_like_any_other),
          TEST_ROW(data_of_nothing_but_bad_images_has_epochs_without_batches),
          TEST_ROW(views_are_the_same_whatever_is_kept_in_memory), TEST_ROW(images_in_memory_are_not_read_again),
          TEST_ROW(statistics_say_what_was_done),
          TEST_ROW(profile_says_which_parts_of_rendering_took_time), TEST_ROW(every_allocation_may_fail),
          TEST_ROW(hosts_function_gives_files_or_pixels_and_gets_each_back),
          TEST_ROW(what_a_hosts_function_does_wrong_is_an_error_of_the_sample),
          TEST_ROW(impossible_sources_are_refused_and_named))
