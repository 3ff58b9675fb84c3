/* SPDX-License-Identifier: BSD-2-Clause */
/* Models through the public interface alone: options, files, sizes, fingerprints. */
#include "test.h"

#include <math.h>
#include <unistd.h>

static ssld_context *make_context(void)
{
    ssld_context *context = NULL;
    ssld_status status = ssld_context_create(NULL, &context);
    CHECK(status == SSLD_OK, "status %d", status);
    return context;
}

static ssld_model_options small_options(void)
{
    ssld_model_options options;
    ssld_model_options_init(&options, sizeof options);
    options.classes = 10;
    options.channels = 1;
    options.height = 28;
    options.variant = SSLD_VARIANT_SMALL;
    options.seed = 5;
    return options;
}

static ssld_model_info info_of(ssld_context *context, const ssld_model *model)
{
    ssld_model_info info = { .struct_size = sizeof info };
    CHECK_OK(context, ssld_model_get_info(model, &info));
    return info;
}

TEST(model_has_the_shape_it_was_asked_for)
{
    ssld_context *context = make_context();
    ssld_model_options options = small_options();
    ssld_model *model = NULL;
    options.width = 36;
    CHECK_OK(context, ssld_model_create(context, "PPLCNet_x0_25", &options, &model));
    ssld_model_info info = info_of(context, model);
    CHECK(info.classes == 10 && info.channels == 1 && info.height == 28 && info.width == 36 && info.batch_norms == 27,
          "%d classes, %d x %d x %d, %d batch norms", info.classes, info.channels, info.height, info.width, info.batch_norms);
    /* The 1000-class network's 1521184, less 990 rows of 1280 weights and a bias, less two input channels of the stem. */
    CHECK(info.parameters == 1521184 - 990 * 1281 - 2 * 9 * 8 && info.buffers == 2752, "%lld parameters, %lld buffers",
          (long long)info.parameters, (long long)info.buffers);
    CHECK(!strcmp(ssld_model_name(model), "PPLCNet_x0_25"), "named %s", ssld_model_name(model));
    ssld_model_destroy(model);

    CHECK_OK(context, ssld_model_create(context, "PPLCNet_x1_0", NULL, &model));
    info = info_of(context, model);
    CHECK(info.classes == 1000 && info.channels == 3 && info.height == 224 && info.width == 224 && info.parameters == 2952520 &&
              info.macs == 155700480, "%d classes, %d x %d x %d", info.classes, info.channels, info.height, info.width);
    ssld_model_destroy(model);
    ssld_model_destroy(NULL);
    ssld_context_destroy(context);
}

TEST(impossible_options_are_refused_by_name)
{
    ssld_context *context = make_context();
    const struct {
        int32_t classes, channels, height, width, variant;
        float dropout;
        const char *text;
    } cases[] = {
        { -1, 3, 32, 32, 0, 0, "classes is -1" },    { 10, 2, 32, 32, 0, 0, "channels is 2" },
        { 10, 3, -5, 32, 0, 0, "height is -5" },     { 10, 3, 32, 100000, 0, 0, "width is 100000" },
        { 10, 3, 32, 32, 2, 0, "variant is 2" },     { 10, 3, 32, 32, 0, 1, "dropout is 1" },
        { 10, 3, 32, 32, 0, NAN, "dropout is" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ssld_model_options options = small_options();
        ssld_model *model = NULL;
        options.classes = cases[i].classes;
        options.channels = cases[i].channels;
        options.height = cases[i].height;
        options.width = cases[i].width;
        options.variant = cases[i].variant;
        options.dropout = cases[i].dropout;
        CHECK_STATUS(context, ssld_model_create(context, "ResNet18", &options, &model), SSLD_INVALID_ARGUMENT);
        CHECK_TEXT(context, cases[i].text);
        CHECK(!model, "case %zu gave a model", i);
    }
    ssld_model *model = NULL;
    CHECK_STATUS(context, ssld_model_create(context, "AlexNet", NULL, &model), SSLD_NOT_FOUND);
    CHECK_TEXT(context, "ResNet50_vd");
    ssld_model_options unset;
    memset(&unset, 0, sizeof unset);
    CHECK_STATUS(context, ssld_model_create(context, "ResNet18", &unset, &model), SSLD_INVALID_ARGUMENT);
    CHECK_TEXT(context, "struct_size");
    ssld_context_destroy(context);
}

TEST(unreadable_files_are_refused_by_path)
{
    ssld_context *context = make_context();
    ssld_model *model = NULL;
    CHECK_STATUS(context, ssld_model_load(context, "/no/such/teacher.onnx", NULL, &model), SSLD_NOT_FOUND);
    CHECK_TEXT(context, "/no/such/teacher.onnx");
    CHECK_STATUS(context, ssld_model_load(context, "/tmp", NULL, &model), SSLD_IO);
    CHECK_TEXT(context, "/tmp");
    CHECK_STATUS(context, ssld_model_load(context, "/proc/self/status", NULL, &model), SSLD_FORMAT);
    CHECK_TEXT(context, "/proc/self/status: not an ONNX file");
    CHECK(!model, "a model was given");
    ssld_context_destroy(context);
}

static uint64_t fingerprint_of(const ssld_model *model)
{
    uint8_t print[16];
    uint64_t first;
    ssld_model_fingerprint(model, print);
    memcpy(&first, print, sizeof first);
    return first;
}

TEST(fingerprint_tells_networks_apart_and_survives_a_file)
{
    ssld_context *context = make_context();
    ssld_model *models[5] = { NULL }, *loaded = NULL;
    uint64_t prints[5];
    /* Another seed, another size, another network, another dropout; all with 10 classes. */
    for (int i = 0; i < 5; i++) {
        ssld_model_options options = small_options();
        options.seed += i == 1;
        options.height = i == 2 ? 32 : 28;
        options.dropout = i == 4 ? -1.0f : 0;
        CHECK_OK(context, ssld_model_create(context, i == 3 ? "PPLCNet_x0_35" : "PPLCNet_x0_25", &options, &models[i]));
        prints[i] = fingerprint_of(models[i]);
        for (int j = 0; j < i; j++)
            CHECK(prints[i] != prints[j], "models %d and %d have one fingerprint", i, j);
    }
    char folder[] = "/tmp/ssld-model-XXXXXX", path[64];
    CHECK(mkdtemp(folder), "no folder");
    snprintf(path, sizeof path, "%s/m.onnx", folder);
    CHECK_OK(context, ssld_model_save(models[0], path));
    CHECK_OK(context, ssld_model_load(context, path, NULL, &loaded));
    CHECK(fingerprint_of(loaded) == prints[0], "the file has another fingerprint than what was written");
    ssld_model_info before = info_of(context, models[0]), after = info_of(context, loaded);
    CHECK(!memcmp(&before, &after, sizeof before), "%d nodes, then %d", before.nodes, after.nodes);
    ssld_model_destroy(loaded);
    for (int i = 0; i < 5; i++)
        ssld_model_destroy(models[i]);
    unlink(path);
    rmdir(folder);
    ssld_context_destroy(context);
}

TEST(info_writes_no_more_than_the_caller_has)
{
    ssld_context *context = make_context();
    ssld_model_options options = small_options();
    ssld_model *model = NULL;
    CHECK_OK(context, ssld_model_create(context, "PPLCNet_x0_25", &options, &model));
    ssld_model_info info;
    memset(&info, 0xAA, sizeof info);
    info.struct_size = offsetof(ssld_model_info, height);
    CHECK_OK(context, ssld_model_get_info(model, &info));
    CHECK(info.classes == 10 && info.height == (int32_t)0xAAAAAAAA, "%d classes, height %x", info.classes, (unsigned)info.height);
    info.struct_size = 0;
    CHECK_STATUS(context, ssld_model_get_info(model, &info), SSLD_INVALID_ARGUMENT);
    ssld_model_destroy(model);
    ssld_context_destroy(context);
}

TEST(every_allocation_may_fail)
{
    for (int allowed = 1;; allowed++) {
        int left = allowed;
        ssld_context *context = NULL;
        ssld_context_options options;
        ssld_model_options model_options = small_options();
        ssld_model *model = NULL;
        model_options.classes = 1;
        model_options.height = 8;
        ssld_context_options_init(&options, sizeof options);
        options.allocator = test_allocator(&left);
        CHECK_OK(NULL, ssld_context_create(&options, &context));
        ssld_status status = ssld_model_create(context, "PPLCNet_x0_25", &model_options, &model);
        CHECK(status == (model ? SSLD_OK : SSLD_OUT_OF_MEMORY), "allocation %d: status %d", allowed, status);
        uint8_t print[16];
        if (model)
            ssld_model_fingerprint(model, print);
        ssld_model_destroy(model);
        ssld_context_destroy(context);
        if (model && left > 0)
            break;
    }
}

TEST_MAIN(TEST_ROW(model_has_the_shape_it_was_asked_for), TEST_ROW(impossible_options_are_refused_by_name),
          TEST_ROW(unreadable_files_are_refused_by_path), TEST_ROW(fingerprint_tells_networks_apart_and_survives_a_file),
          TEST_ROW(info_writes_no_more_than_the_caller_has), TEST_ROW(every_allocation_may_fail))
