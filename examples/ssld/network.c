/* SPDX-License-Identifier: BSD-2-Clause */
/* network.c - the networks that answer: one file or an ensemble of several, opened for the images at hand, and checked before
 * hours are spent on them. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

#define MOST_MEMBERS 64

const char *network_name(const struct network_values *values, char *buffer, size_t size)
{
    int32_t more = values->paths.count - 1;
    if (more > 0)
        snprintf(buffer, size, "%s and %" PRId32 " more", values->paths.items[0], more);
    else
        snprintf(buffer, size, "%s", values->paths.items[0]);
    return buffer;
}

/* -- Opening ------------------------------------------------------------------------------------------------------ */

/* As many positive numbers, with commas between them, as there are networks. */
static bool parse_weights(const struct network_values *values, float *weights)
{
    int32_t count = 0;
    const char *next = values->weights;
    for (;; next++) {
        char *end = NULL;
        double weight = strtod(next, &end);
        if (end == next || !(weight > 0 && isfinite(weight)) || count == values->paths.count)
            break;
        weights[count++] = (float)weight;
        next = end;
        if (*next != ',')
            break;
    }
    if (!*next && count == values->paths.count)
        return true;
    program_complain("--teacher-weights: '%s' is not %" PRId32 " number%s above 0, one for each network, with commas between them",
                     values->weights, values->paths.count, values->paths.count > 1 ? "s" : "");
    return false;
}

static ssld_status open_networks(struct program *program, const struct network_values *values, const float *weights,
                                 const ssld_teacher_options *options, ssld_teacher **network)
{
    static const int32_t averages[] = { SSLD_AVERAGE_LOGITS, SSLD_AVERAGE_PROBABILITIES };
    ssld_ensemble_options ensemble;
    if (values->paths.count == 1)
        return ssld_teacher_open(program->context, values->paths.items[0], options, network);
    ssld_ensemble_options_init(&ensemble, sizeof ensemble);
    ensemble.average = averages[values->average];
    ensemble.weights = weights;
    return ssld_teacher_open_ensemble(program->context, values->paths.count, values->paths.items, options, &ensemble, network);
}

int network_open(struct program *program, const struct source *source, const struct network_values *values, int32_t batch,
                 ssld_teacher **network, ssld_model_info *info)
{
    static const int32_t modes[] = { SSLD_BATCH_NORM_EVAL, SSLD_BATCH_NORM_BATCH };
    float weights[MOST_MEMBERS];
    char name[256];
    ssld_teacher_options options;
    ssld_status status;
    if (values->paths.count > MOST_MEMBERS) {
        program_complain("%" PRId32 " networks are more than the %d that an ensemble may have", values->paths.count, MOST_MEMBERS);
        return EXIT_USAGE;
    }
    if (values->weights && !parse_weights(values, weights))
        return EXIT_USAGE;
    ssld_teacher_options_init(&options, sizeof options);
    options.batch = batch;
    options.batch_norm = modes[values->batch_norm];
    options.height = source->shape[1];
    options.width = source->shape[2];
    options.precision = precision_of(values->precision);
    info->struct_size = sizeof *info;
    if ((status = open_networks(program, values, values->weights ? weights : NULL, &options, network)) ||
        (status = ssld_teacher_get_info(*network, info)))
        return program_fail(program, status);
    return source_fits(source, network_name(values, name, sizeof name), info) ? 0 : EXIT_WORK;
}

/* -- The check ---------------------------------------------------------------------------------------------------- */

static void report(struct program *program, const ssld_teacher_verdict *verdict)
{
    static const char *const words[] = { "good", "doubtful", "bad" };
    printf("teacher checked with %" PRIu64 " views: mean entropy %.3f (at most %.3f)", verdict->views, verdict->entropy,
           verdict->entropy_most);
    if (verdict->labelled)
        printf(", top-1 %.2f %% (by chance %.2f %%)", 100 * verdict->top1, 100 * verdict->chance);
    printf("\n");
    fflush(stdout);
    log_begin(&program->log, "check");
    log_text(&program->log, "verdict", words[verdict->verdict]);
    log_count(&program->log, "findings", (uint64_t)verdict->findings);
    log_count(&program->log, "views", verdict->views);
    log_real(&program->log, "entropy", verdict->entropy);
    log_real(&program->log, "information", verdict->information);
    if (verdict->labelled) {
        log_real(&program->log, "top1", verdict->top1);
        log_real(&program->log, "chance", verdict->chance);
    }
    log_end(&program->log);
}

int network_check(struct program *program, const struct source *source, const struct network_values *values, int32_t batch,
                  uint64_t view_seed, ssld_teacher *network)
{
    char text[2048] = "";
    ssld_teacher_verdict verdict = { .struct_size = sizeof verdict };
    ssld_loader *loader = NULL;
    ssld_loader_options options;
    if (values->no_check)
        return 0;
    ssld_loader_options_init(&options, sizeof options);
    options.batch = batch;
    options.order = SSLD_ORDER_SHUFFLED; /* folders come class by class */
    options.view_seed = view_seed;
    options.bad = SSLD_BAD_SKIP; /* what is to be done with them is the work's affair */
    ssld_status status = ssld_loader_create(program->context, source->dataset, source->spec, &options, &loader);
    if (!status)
        status = ssld_teacher_check(network, loader, 0, &verdict, text, sizeof text);
    ssld_loader_destroy(loader);
    if (status)
        return program_fail(program, status);
    report(program, &verdict);
    if (verdict.verdict == SSLD_VERDICT_DOUBTFUL)
        program_complain("warning: %s", text);
    if (verdict.verdict != SSLD_VERDICT_BAD)
        return 0;
    return program_complain("%s Nothing was done; with --no-check it is, whatever the teacher answers.", text);
}
