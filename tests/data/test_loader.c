/* SPDX-License-Identifier: BSD-2-Clause */
/* The loader: the same batches whatever its threads do, errors in their place, an end at any moment. */
#include "data/loaders.h"

#include <pthread.h>

#include "data/order.h"

#define COUNT 53
#define SIDE 8
#define FLOATS (SIDE * SIDE)

/* -- A data set of the host's pixels ------------------------------------------------------------------------------ */

struct bench {
    ssld_context   *context;
    ssld_dataset   *dataset;
    ssld_view_spec *spec;
};

static uint8_t host_pixels[COUNT * SIDE * SIDE];

static struct bench make_bench(void)
{
    struct bench bench = { make_context(), NULL, NULL };
    int32_t labels[COUNT];
    for (int i = 0; i < COUNT * SIDE * SIDE; i++)
        host_pixels[i] = (uint8_t)(i * 31 + i / 64);
    for (int i = 0; i < COUNT; i++)
        labels[i] = i % 7 - (i == 5) * 6; /* sample 5 has none */
    CHECK_OK(bench.context, ssld_dataset_from_pixels(bench.context, COUNT, (const int32_t[3]){ 1, SIDE, SIDE },
                                                     host_pixels, labels, &bench.dataset));
    bench.spec = parse(bench.context, "pad_crop(8, 2) flip(0.5) normalize(0.3, 0.4)");
    return bench;
}

static void end_bench(struct bench *bench)
{
    ssld_view_spec_destroy(bench->spec);
    ssld_dataset_destroy(bench->dataset);
    ssld_context_destroy(bench->context);
}

/* One number for all that a batch says. */
static uint64_t hash_batch(const ssld_batch *batch)
{
    int32_t count = ssld_batch_count(batch), shape[3];
    ssld_batch_shape(batch, shape);
    uint64_t hash =
        hash_floats(ssld_batch_pixels(batch), (size_t)count * (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2]);
    hash += ssld_checksum(ssld_batch_samples(batch), (size_t)count * sizeof(uint64_t)) * 3;
    hash += ssld_checksum(ssld_batch_views(batch), (size_t)count * sizeof(uint32_t)) * 5;
    return hash + ssld_checksum(ssld_batch_labels(batch), (size_t)count * sizeof(int32_t)) * 7 + (uint64_t)count;
}

/* Hashes of what next() gives, 0 for the end of an epoch. */
static void record(ssld_context *context, ssld_loader *loader, uint64_t *hashes, int count)
{
    ssld_batch *batch = make_batch(context);
    for (int i = 0; i < count; i++) {
        ssld_status status = ssld_loader_next(loader, batch);
        CHECK(status == SSLD_OK || status == SSLD_END, "call %d: %s", i, ssld_status_name(status));
        CHECK(!status == (ssld_batch_count(batch) > 0), "call %d: %d views", i, ssld_batch_count(batch));
        hashes[i] = status ? 0 : hash_batch(batch);
    }
    ssld_batch_destroy(batch);
}

/* -- What is in a batch ------------------------------------------------------------------------------------------- */

TEST(batches_are_the_rendered_views_of_their_samples)
{
    struct bench bench = make_bench();
    ssld_loader_options options = make_options(10, 3);
    options.order = SSLD_ORDER_SHUFFLED;
    options.views = 3;
    options.first_view = 1;
    ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
    ssld_batch *batch = make_batch(bench.context);
    int32_t shape[3];
    ssld_loader_shape(loader, shape);
    CHECK(ssld_loader_batches(loader) == 6 && shape[0] == 1 && shape[1] == SIDE && shape[2] == SIDE,
          "%d batches, %d x %d x %d", (int)ssld_loader_batches(loader), shape[0], shape[1], shape[2]);
    for (uint64_t epoch = 0; epoch < 4; epoch++) {
        uint64_t order[COUNT];
        ssld_order_shuffle(78, epoch, COUNT, order);
        for (int at = 0; at < COUNT; at += 10) {
            CHECK_OK(bench.context, ssld_loader_next(loader, batch));
            int32_t count = COUNT - at < 10 ? COUNT - at : 10;
            CHECK(ssld_batch_count(batch) == count, "%d views", ssld_batch_count(batch));
            for (int i = 0; i < count; i++) {
                uint64_t sample = ssld_batch_samples(batch)[i];
                uint32_t view = ssld_batch_views(batch)[i];
                float expected[FLOATS];
                CHECK(sample == order[at + i], "place %d of epoch %d is sample %d", at + i, (int)epoch, (int)sample);
                CHECK(view == (1 + epoch) % 3, "epoch %d renders view %u", (int)epoch, view);
                CHECK(ssld_batch_labels(batch)[i] == ssld_dataset_label(bench.dataset, sample),
                      "sample %d has label %d", (int)sample, ssld_batch_labels(batch)[i]);
                CHECK_OK(bench.context, ssld_view_render_pixels(bench.spec, host_pixels + sample * FLOATS,
                                                                (const int32_t[3]){ 1, SIDE, SIDE }, 77, sample, view,
                                                                expected, FLOATS));
                CHECK(!memcmp(expected, ssld_batch_pixels(batch) + i * FLOATS, sizeof expected),
                      "other pixels of sample %d", (int)sample);
            }
        }
        CHECK_STATUS(bench.context, ssld_loader_next(loader, batch), SSLD_END);
        CHECK(ssld_batch_count(batch) == 0, "a batch at the end of an epoch");
    }
    ssld_batch_destroy(batch);
    ssld_loader_destroy(loader);
    end_bench(&bench);
}

TEST(mixed_views_are_two_renderings_and_have_no_label)
{
    struct bench bench = make_bench();
    ssld_view_spec_destroy(bench.spec);
    bench.spec = parse(bench.context, "pad_crop(8, 2) normalize(0.3, 0.4) mixup_or_cutmix(0.8, 1, p=0.8)");
    ssld_loader_options options = make_options(10, 3);
    ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
    ssld_batch *batch = make_batch(bench.context);
    const int32_t shape[3] = { 1, SIDE, SIDE };
    int kinds[3] = { 0 };
    CHECK(ssld_view_spec_mixes(bench.spec), "it does not mix");
    for (int at = 0; at < COUNT; at += 10) {
        CHECK_OK(bench.context, ssld_loader_next(loader, batch));
        for (int i = 0; i < ssld_batch_count(batch); i++) {
            uint64_t sample = ssld_batch_samples(batch)[i];
            ssld_view_mix mix = { .struct_size = sizeof mix };
            float own[FLOATS], other[FLOATS];
            CHECK_OK(bench.context, ssld_view_partner(bench.spec, 77, sample, 0, COUNT, shape, &mix));
            CHECK(mix.partner < COUNT, "partner %d", (int)mix.partner);
            CHECK_OK(bench.context, ssld_view_render_pixels(bench.spec, host_pixels + sample * FLOATS, shape, 77,
                                                            sample, 0, own, FLOATS));
            CHECK_OK(bench.context, ssld_view_render_pixels(bench.spec, host_pixels + mix.partner * FLOATS, shape, 77,
                                                            mix.partner, 0, other, FLOATS));
            ssld_view_mix_pixels(&mix, shape, other, own);
            CHECK(!memcmp(own, ssld_batch_pixels(batch) + i * FLOATS, sizeof own), "other pixels of sample %d",
                  (int)sample);
            int32_t label = mix.kind == SSLD_MIX_NONE ? ssld_dataset_label(bench.dataset, sample) : -1;
            CHECK(ssld_batch_labels(batch)[i] == label, "label %d instead of %d", ssld_batch_labels(batch)[i], label);
            kinds[mix.kind]++;
        }
    }
    CHECK(kinds[SSLD_MIX_NONE] && kinds[SSLD_MIX_BLEND] && kinds[SSLD_MIX_BOX], "%d, %d, %d views of a kind", kinds[0],
          kinds[1], kinds[2]);
    ssld_batch_destroy(batch);
    ssld_loader_destroy(loader);
    end_bench(&bench);
}

TEST(batches_do_not_depend_on_threads_or_prefetch)
{
    enum { CALLS = 45 };
    static const int32_t settings[][2] = { { 1, 1 }, { 4, 1 }, { 2, 5 }, { 8, 20 }, { 4, 0 } };
    struct bench bench = make_bench();
    uint64_t hashes[2][CALLS];
    for (int last = SSLD_LAST_KEEP; last <= SSLD_LAST_DROP; last++)
        for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
            ssld_loader_options options = make_options(5, settings[i][0]);
            options.order = SSLD_ORDER_SHUFFLED;
            options.prefetch = settings[i][1];
            options.last = last;
            ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
            CHECK(ssld_loader_batches(loader) == (last == SSLD_LAST_KEEP ? 11 : 10), "%d batches",
                  (int)ssld_loader_batches(loader));
            record(bench.context, loader, hashes[i > 0], CALLS);
            ssld_loader_destroy(loader);
            for (int k = 0; k < CALLS; k++)
                CHECK(hashes[i > 0][k] == hashes[0][k], "%d threads, %d ahead: call %d differs", settings[i][0],
                      settings[i][1], k);
        }
    end_bench(&bench);
}

TEST(seek_goes_on_as_an_uninterrupted_run)
{
    enum { EPOCH = 8, CALLS = 4 * EPOCH }; /* 7 batches and an end */
    struct bench bench = make_bench();
    ssld_loader_options options = make_options(8, 3);
    options.order = SSLD_ORDER_SHUFFLED;
    ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
    uint64_t whole[CALLS], part[CALLS];
    record(bench.context, loader, whole, CALLS);
    for (int round = 0; round < 60; round++) {
        int epoch = round * 7 % 3, number = round * 5 % 7, from = epoch * EPOCH + number, calls = round % 9;
        CHECK_OK(bench.context, ssld_loader_seek(loader, (uint64_t)epoch, (uint64_t)number));
        record(bench.context, loader, part, calls);
        for (int i = 0; i < calls; i++)
            CHECK(part[i] == whole[from + i], "from batch %d of epoch %d: call %d differs", number, epoch, i);
    }
    CHECK_STATUS(bench.context, ssld_loader_seek(loader, 0, 7), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(bench.context, "batch 7; an epoch has batches 0 to 6");
    ssld_loader_destroy(loader);
    end_bench(&bench);
}

TEST(batch_keeps_its_memory_while_others_are_read)
{
    struct bench bench = make_bench();
    ssld_loader_options options = make_options(4, 2);
    options.prefetch = 2; /* three slots */
    ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
    ssld_batch *held[3], *fourth = make_batch(bench.context);
    uint64_t hashes[3];
    for (int i = 0; i < 3; i++) {
        held[i] = make_batch(bench.context);
        CHECK_OK(bench.context, ssld_loader_next(loader, held[i]));
        hashes[i] = hash_batch(held[i]);
    }
    CHECK_STATUS(bench.context, ssld_loader_next(loader, fourth), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(bench.context, "other batches hold all 3 of the loader's; give one back or make prefetch larger");
    ssld_batch_destroy(held[1]);
    CHECK_OK(bench.context, ssld_loader_next(loader, fourth));
    CHECK(ssld_batch_samples(fourth)[0] == 12, "the refused batch was left out: sample %d",
          (int)ssld_batch_samples(fourth)[0]);
    CHECK(hash_batch(held[0]) == hashes[0] && hash_batch(held[2]) == hashes[2], "a held batch has changed");
    CHECK_OK(bench.context, ssld_loader_seek(loader, 0, 0));
    CHECK(hash_batch(held[0]) == hashes[0] && hash_batch(held[2]) == hashes[2], "a held batch has changed by a seek");
    CHECK_OK(bench.context, ssld_loader_next(loader, held[2]));
    CHECK(hash_batch(held[2]) == hashes[0], "the first batch again is another");
    ssld_batch_destroy(held[0]);
    ssld_batch_destroy(held[2]);
    ssld_batch_destroy(fourth);
    ssld_loader_destroy(loader);
    end_bench(&bench);
}

/* -- Files -------------------------------------------------------------------------------------------------------- */

#define FILES 24

/* FILES images of several kinds, and list.txt of them. */
static struct folder make_images(void)
{
    struct folder folder = make_folder();
    char list[FILES * 16] = "";
    for (int i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.%s", i, i % 3 == 2 ? "png" : "jpg");
        if (i % 3 == 0)
            add_file(&folder, name, jpeg_colour, sizeof jpeg_colour);
        else if (i % 3 == 1)
            add_file(&folder, name, jpeg_grey, sizeof jpeg_grey);
        else
            add_file(&folder, name, png_colour, sizeof png_colour);
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s %d\n", name, i % 5);
    }
    add_text(&folder, "list.txt", list);
    return folder;
}

static struct bench make_file_bench(const struct folder *folder, const char *spec)
{
    struct bench bench = { make_context(), NULL, NULL };
    CHECK_OK(bench.context, ssld_dataset_open(bench.context, place("list:", folder, "list.txt"), NULL, &bench.dataset));
    bench.spec = parse(bench.context, spec);
    return bench;
}

TEST(unreadable_images_are_errors_in_their_place_and_the_rest_goes_on)
{
    struct folder folder = make_images();
    struct bench bench = make_file_bench(&folder, "rrc(12) flip normalize(imagenet)");
    static const struct {
        int         batch;
        ssld_status status;
        const char *file, *said;
    } damaged[] = {
        { 1, SSLD_CORRUPT, "6.jpg", "cut-off JPEG" },    /* 7.jpg, behind it in the same batch, is not reached */
        { 3, SSLD_NOT_FOUND, "13.jpg", "cannot open" },
        { 4, SSLD_FORMAT, "17.png", "neither a JPEG nor a PNG" },
    };
    add_file(&folder, "6.jpg", jpeg_colour, sizeof jpeg_colour / 2);
    add_file(&folder, "7.jpg", "no image", 8);
    unlink(place("", &folder, "13.jpg"));
    add_file(&folder, "17.png", "GIF89a", 6);
    for (int32_t threads = 1; threads <= 4; threads += 3) {
        ssld_loader_options options = make_options(4, threads);
        ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
        ssld_batch *batch = make_batch(bench.context);
        for (int epoch = 0; epoch < 2; epoch++) {
            int next = 0;
            for (int number = 0; number < FILES / 4; number++) {
                if (next < 3 && damaged[next].batch == number) {
                    CHECK_STATUS(bench.context, ssld_loader_next(loader, batch), damaged[next].status);
                    CHECK_TEXT(bench.context, place("", &folder, damaged[next].file));
                    CHECK_TEXT(bench.context, damaged[next].said);
                    CHECK(ssld_batch_count(batch) == 0, "a failed batch has %d views", ssld_batch_count(batch));
                    next++;
                    continue;
                }
                CHECK_OK(bench.context, ssld_loader_next(loader, batch));
                CHECK(ssld_batch_samples(batch)[0] == (uint64_t)number * 4, "batch %d begins with sample %d", number,
                      (int)ssld_batch_samples(batch)[0]);
            }
            CHECK_STATUS(bench.context, ssld_loader_next(loader, batch), SSLD_END);
        }
        ssld_batch_destroy(batch);
        ssld_loader_destroy(loader);
    }
    end_bench(&bench);
    remove_all(folder.path);
}

TEST(image_too_small_for_the_spec_is_named)
{
    struct folder folder = make_images();
    struct bench bench = make_file_bench(&folder, "center_crop(18)");
    ssld_loader_options options = make_options(2, 2);
    ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
    ssld_batch *batch = make_batch(bench.context);
    CHECK_STATUS(bench.context, ssld_loader_next(loader, batch), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(bench.context, "/1.jpg: center_crop: the image is 17 x 16, too small for a crop of 18 x 18");
    ssld_batch_destroy(batch);
    ssld_loader_destroy(loader);
    end_bench(&bench);
    remove_all(folder.path);
}

/* -- Waiting and ending ------------------------------------------------------------------------------------------- */

TEST(loader_can_be_destroyed_at_any_moment)
{
    struct folder folder = make_images();
    struct bench bench = make_file_bench(&folder, "rrc(64) flip normalize(imagenet)");
    for (int round = 0; round < 40; round++) {
        ssld_loader_options options = make_options(4, 1 + round % 4);
        options.order = round % 2;
        ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
        ssld_batch *batch = make_batch(bench.context);
        for (int i = 0; i < round % 9; i++) {
            ssld_status status = ssld_loader_next(loader, batch);
            CHECK(status == SSLD_OK || status == SSLD_END, "%s", ssld_status_name(status));
        }
        if (round % 5 == 0)
            CHECK_OK(bench.context, ssld_loader_seek(loader, (uint64_t)round, 1));
        ssld_batch_destroy(batch);
        ssld_loader_destroy(loader);
    }
    ssld_loader_destroy(NULL);
    end_bench(&bench);
    remove_all(folder.path);
}

static void *cancel_soon(void *context)
{
    usleep(30000);
    ssld_context_cancel(context);
    return NULL;
}

TEST(cancel_ends_a_wait_and_nothing_is_lost)
{
    struct bench bench = make_bench();
    ssld_view_spec_destroy(bench.spec);
    bench.spec = parse(bench.context, "resize(2500x2500) color_jitter(1) center_crop(8)"); /* slow on purpose */
    ssld_loader_options options = make_options(20, 1);
    options.prefetch = 1;
    ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
    ssld_batch *batch = make_batch(bench.context);
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_soon, bench.context);
    CHECK_STATUS(bench.context, ssld_loader_next(loader, batch), SSLD_CANCELLED);
    pthread_join(thread, NULL);
    CHECK(ssld_loader_wait_seconds(loader) > 0.005, "waited %g seconds", ssld_loader_wait_seconds(loader));
    CHECK_STATUS(bench.context, ssld_loader_next(loader, batch), SSLD_CANCELLED);
    ssld_context_resume(bench.context);
    CHECK_OK(bench.context, ssld_loader_next(loader, batch));
    CHECK(ssld_batch_samples(batch)[0] == 0, "the cancelled batch was left out: sample %d",
          (int)ssld_batch_samples(batch)[0]);
    ssld_batch_destroy(batch);
    ssld_loader_destroy(loader);
    end_bench(&bench);
}

TEST(reader_that_is_slower_than_the_threads_does_not_wait)
{
    struct bench bench = make_bench();
    ssld_loader_options options = make_options(10, 2);
    ssld_loader *loader = make_loader(bench.context, bench.dataset, bench.spec, &options);
    ssld_batch *batch = make_batch(bench.context);
    /* Four batches of 80 microseconds each are ready long after, unless the machine is busy: ten tries. */
    double waited = 1;
    for (int attempt = 0; attempt < 10 && waited > 0; attempt++) {
        CHECK_OK(bench.context, ssld_loader_seek(loader, 0, 0));
        usleep(100000);
        double before = ssld_loader_wait_seconds(loader);
        for (int i = 0; i < 4; i++)
            CHECK_OK(bench.context, ssld_loader_next(loader, batch));
        waited = ssld_loader_wait_seconds(loader) - before;
    }
    CHECK(waited == 0, "waited %g seconds", waited);
    ssld_batch_destroy(batch);
    ssld_loader_destroy(loader);
    end_bench(&bench);
}

/* -- Bad input ---------------------------------------------------------------------------------------------------- */

TEST(impossible_options_are_refused_and_named)
{
    struct bench bench = make_bench();
    ssld_loader *loader = NULL;
    static const struct {
        int32_t     batch, order, last, threads, prefetch;
        const char *said;
    } rows[] = {
        { -1, 0, 0, 0, 0, "batch is -1; it must be 0 to" },
        { 1 << 30, 0, 0, 0, 0, "batch is 1073741824" },
        { 8, 2, 0, 0, 0, "order is 2; it must be 0 to 1" },
        { 8, 0, -1, 0, 0, "last is -1" },
        { 8, 0, 0, -3, 0, "threads is -3" },
        { 8, 0, 0, 0, -1, "prefetch is -1" },
        { 54, 0, SSLD_LAST_DROP, 0, 0,
          "batch is 54, but the data set has 53 samples and the last batch is to be dropped" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ssld_loader_options options = make_options(rows[i].batch, rows[i].threads);
        options.order = rows[i].order;
        options.last = rows[i].last;
        options.prefetch = rows[i].prefetch;
        CHECK_STATUS(bench.context, ssld_loader_create(bench.context, bench.dataset, bench.spec, &options, &loader),
                     SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(bench.context, rows[i].said);
    }
    ssld_dataset *empty = NULL;
    CHECK_OK(bench.context,
             ssld_dataset_from_pixels(bench.context, 0, (const int32_t[3]){ 1, 8, 8 }, NULL, NULL, &empty));
    CHECK_STATUS(bench.context, ssld_loader_create(bench.context, empty, bench.spec, NULL, &loader),
                 SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(bench.context, "the data set is empty");
    ssld_view_spec *coloured = parse(bench.context, "normalize(imagenet)");
    CHECK_STATUS(bench.context, ssld_loader_create(bench.context, bench.dataset, coloured, NULL, &loader),
                 SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(bench.context, "put rgb before it");
    CHECK(!loader, "a refused loader was given");
    ssld_view_spec_destroy(coloured);
    ssld_dataset_destroy(empty);
    end_bench(&bench);
}

/* Creating, and reading files while memory runs out under the threads: each batch comes or is an error of its own. */
TEST(every_allocation_may_fail)
{
    struct folder folder = make_images();
    bool done = false;
    for (int allowed = 0; !done; allowed++) {
        struct budget budget;
        ssld_context *context = make_poor_context(&budget, 1 << 20);
        struct bench bench = { context, NULL, parse(context, "rrc(12) flip normalize(imagenet)") };
        CHECK_OK(context, ssld_dataset_open(context, place("list:", &folder, "list.txt"), NULL, &bench.dataset));
        ssld_loader_options options = make_options(8, 2);
        options.order = SSLD_ORDER_SHUFFLED;
        options.prefetch = 1;
        ssld_batch *batch = make_batch(context);
        ssld_loader *loader = NULL;
        atomic_store(&budget.left, allowed);
        ssld_status status = ssld_loader_create(context, bench.dataset, bench.spec, &options, &loader);
        CHECK(status == (loader ? SSLD_OK : SSLD_OUT_OF_MEMORY), "%d allocations: %s", allowed,
              ssld_status_name(status));
        int good = 0;
        for (int i = 0; loader && i < 3; i++) {
            status = ssld_loader_next(loader, batch);
            CHECK(status == SSLD_OK || status == SSLD_OUT_OF_MEMORY, "%d allocations, batch %d: %s", allowed, i,
                  ssld_status_name(status));
            good += !status;
        }
        done = good == 3;
        ssld_batch_destroy(batch);
        ssld_loader_destroy(loader);
        end_bench(&bench);
        CHECK(atomic_load(&budget.out) == 0, "%d allocations: %d blocks left", allowed, atomic_load(&budget.out));
    }
    remove_all(folder.path);
}

TEST_MAIN(TEST_ROW(batches_are_the_rendered_views_of_their_samples),
          TEST_ROW(mixed_views_are_two_renderings_and_have_no_label),
          TEST_ROW(batches_do_not_depend_on_threads_or_prefetch), TEST_ROW(seek_goes_on_as_an_uninterrupted_run),
          TEST_ROW(batch_keeps_its_memory_while_others_are_read),
          TEST_ROW(unreadable_images_are_errors_in_their_place_and_the_rest_goes_on),
          TEST_ROW(image_too_small_for_the_spec_is_named), TEST_ROW(loader_can_be_destroyed_at_any_moment),
          TEST_ROW(cancel_ends_a_wait_and_nothing_is_lost),
          TEST_ROW(reader_that_is_slower_than_the_threads_does_not_wait),
          TEST_ROW(impossible_options_are_refused_and_named), TEST_ROW(every_allocation_may_fail))
