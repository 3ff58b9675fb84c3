/* SPDX-License-Identifier: BSD-2-Clause */
/* teacher.h - the inside of a teacher: one network with its plans, or an ensemble of teachers. */
#ifndef SSLD_LIB_DISTILL_TEACHER_H
#define SSLD_LIB_DISTILL_TEACHER_H

#include "core/batch.h"
#include "core/labels.h"
#include "distill/model.h"
#include "ssld/teacher.h"

/* An intermediate output that was asked for. */
struct teacher_output {
    char   *name;
    int32_t ndims;
    int64_t dims[8]; /* for one image; 1 past ndims */
    float  *data;    /* for teacher->batch images */
};

struct ssld_teacher {
    ssld_context            *context;
    int32_t                  batch;       /* most views in a call */
    ssld_model_info          info;
    bool                     normalises;  /* the first thing that happens to pixels is arithmetic of their own */
    uint8_t                  fingerprint[16];

    /* A network. */
    struct ssld_graph       *graph;       /* batch statistics only: for plans of other batch sizes */
    struct ssld_plan_options options;
    struct ssld_plan        *plan;        /* for options.batch views */
    struct ssld_plan        *small;       /* batch statistics only: for the last size that was not options.batch */
    int32_t                  small_batch;
    uint64_t                 forwards, profiled_from; /* of plan */
    struct teacher_output   *outputs;
    int32_t                 *keep;         /* of each: the value in the model's graph */
    int32_t                  output_count;
    int32_t                  output_views; /* of the last prediction; 0 before the first */

    /* An ensemble; a network has no members. */
    struct ssld_teacher    **members;
    int32_t                  member_count, owned; /* the first `owned` members are destroyed with it */
    int32_t                  average;     /* SSLD_AVERAGE_x */
    double                  *weights;     /* of sum 1 */
    float                   *answer;      /* (batch, classes): a member's logits */
    double                  *sum;         /* (batch, classes) */
};

/* Is this batch one for the teacher? */
ssld_status ssld_teacher_check_shape(const ssld_teacher *teacher, const ssld_batch *batch);
/* (count, classes) logits of a batch that fits, the teacher's own until its next prediction. */
ssld_status ssld_teacher_answer(ssld_teacher *teacher, const ssld_batch *batch, const float **logits);
/* The same of an ensemble (ensemble.c). */
ssld_status ssld_ensemble_answer(ssld_teacher *ensemble, const ssld_batch *batch, const float **logits);

#endif
