/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz_spec.c - any bytes as a view spec. What is read must print a text that reads back as the same spec and the same text, and
 * must render small images, or say why not. */
#include "fuzz.h"

#include "image/operation.h"

#define MOST_FLOATS (3 * 256 * 256)

/* Two images, where the views are small enough to be quick. */
static void render(const ssld_view_spec *spec)
{
    static const int32_t images[2][3] = { { 3, 9, 13 }, { 1, 7, 1 } };
    static uint8_t pixels[3 * 9 * 13];
    static float dst[MOST_FLOATS];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);
    for (int i = 0; i < 2; i++) {
        int32_t at[3] = { images[i][0], images[i][1], images[i][2] }, shape[3];
        bool small = true;
        struct ssld_fault fault;
        for (int32_t o = 0; o < spec->count && small; o++) {
            small = !ssld_operation_shape(&spec->operations[o], at, shape, &fault) &&
                    (int64_t)shape[0] * shape[1] * shape[2] <= MOST_FLOATS;
            memcpy(at, shape, sizeof at);
        }
        /* exif leaves the size open until the file says it. */
        bool known = small && at[1] > 0 && at[2] > 0;
        if (small && ssld_view_render_pixels(spec, pixels, images[i], 1, 2, 3, dst, MOST_FLOATS) == SSLD_OK &&
            known) {
            ssld_view_mix mix = { .struct_size = sizeof mix };
            must(ssld_view_partner(spec, 1, 2, 3, 10, at, &mix) == SSLD_OK, "no partner");
            ssld_view_mix_pixels(&mix, at, dst, dst);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ssld_context *context = NULL;
    ssld_view_spec *spec = NULL, *again = NULL;
    char *text = malloc(size + 1);
    if (!text || ssld_context_create(NULL, &context))
        abort();
    memcpy(text, data, size);
    text[size] = 0;
    if (ssld_view_spec_parse(context, text, &spec) == SSLD_OK) {
        must(ssld_view_spec_parse(context, ssld_view_spec_text(spec), &again) == SSLD_OK,
             "the printed text is not read");
        must(!strcmp(ssld_view_spec_text(spec), ssld_view_spec_text(again)), "the printed text is printed otherwise");
        must(spec->count == again->count && spec->normalize == again->normalize && spec->mix == again->mix &&
                 !memcmp(spec->operations, again->operations, sizeof spec->operations),
             "the printed text is another spec");
        render(spec);
    }
    ssld_view_spec_destroy(again);
    ssld_view_spec_destroy(spec);
    ssld_context_destroy(context);
    free(text);
    return 0;
}
