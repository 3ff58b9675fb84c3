/* SPDX-License-Identifier: BSD-2-Clause */
/* Every spec in docs/recipes.md is read, prints a text that reads back, and renders.
 *
 *   test_recipes DOCUMENT [NAME] */
#include "image/help.h"

#include <math.h>

#include "image/operation.h"
#include "image/samples.h"

#define MOST_DOCUMENT (1 << 17)
#define MOST_FLOATS (3 * 256 * 256)

static char document[MOST_DOCUMENT];

/* The text between two backticks, if it is a spec: all of them normalise. */
static bool next_spec(char **at, char **spec)
{
    for (char *begin; (begin = strchr(*at, '`'));) {
        char *end = strchr(begin + 1, '`');
        CHECK(end, "a backtick has no other");
        *end = 0;
        *at = end + 1;
        *spec = begin + 1;
        if (strstr(*spec, "normalize(") && strchr(*spec, ' '))
            return true;
    }
    return false;
}

TEST(every_recipe_is_read_and_rendered)
{
    ssld_context *context = make_context();
    static float view[MOST_FLOATS];
    int count = 0;
    char *at = document, *text;
    while (next_spec(&at, &text)) {
        ssld_view_spec *spec = parse(context, text), *again = parse(context, ssld_view_spec_text(spec));
        int32_t shape[3];
        CHECK(!strcmp(ssld_view_spec_text(spec), ssld_view_spec_text(again)), "'%s' reads back as '%s'",
              ssld_view_spec_text(spec), ssld_view_spec_text(again));
        /* pad_crop(32, 4) is for images of 32 x 32. */
        int32_t side = strncmp(text, "pad_crop", 8) ? 0 : 32;
        CHECK_OK(context, ssld_view_spec_shape(spec, (const int32_t[3]){ 3, side, side }, shape));
        size_t floats = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
        CHECK(floats <= MOST_FLOATS, "%zu floats", floats);
        static uint8_t pixels[3 * 32 * 32];
        if (side)
            CHECK_OK(context,
                     ssld_view_render_pixels(spec, pixels, (const int32_t[3]){ 3, 32, 32 }, 1, 2, 3, view, floats));
        else
            CHECK_OK(context, ssld_view_render(spec, jpeg_colour, sizeof jpeg_colour, 1, 2, 3, view, floats));
        double sum = 0;
        for (size_t i = 0; i < floats; i++)
            sum += fabs(view[i]);
        CHECK(isfinite(sum) && sum > 0 && sum < 10.0 * (double)floats, "'%s': the mean is %g", text,
              sum / (double)floats);
        ssld_view_spec_destroy(again);
        ssld_view_spec_destroy(spec);
        count++;
    }
    CHECK(count >= 50, "%d specs in the document", count);
    ssld_context_destroy(context);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = { TEST_ROW(every_recipe_is_read_and_rendered) };
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!file)
        return 2;
    size_t size = fread(document, 1, sizeof document - 1, file);
    document[size] = 0;
    fclose(file);
    return test_run_all(tests, 1, argc - 1, argv + 1);
}
