/* SPDX-License-Identifier: BSD-2-Clause */
/* train.h - what `ssld train` works on: train_open.c puts it together, train.c runs it. */
#ifndef SSLD_PROGRAM_TRAIN_H
#define SSLD_PROGRAM_TRAIN_H

#include "data.h"
#include "measure.h"
#include "program.h"
#include "schedule.h"

struct train_values {
    const char *data, *views, *model, *loss, *eval_data, *eval_views, *out, *checkpoint, *log, *schedule, *groups;
    struct texts labels; /* files of one labelling */
    struct network_values teacher; /* its precision is the student's too */
    struct data_values how;
    struct loading_values loading;
    uint64_t limit, view_seed, seed;
    int32_t epochs, batch, view_count, classes, variant, size, channels, optimizer, threads, eval_every, accumulate;
    double learning_rate, momentum, l2, weight_decay, beta1, beta2, epsilon, trust, ema_decay, clip_norm, clip_value,
        warmup_epochs, dropout;
    bool resume, nesterov;
};

struct training {
    struct program            *program;
    const struct train_values *values;
    const char                *mode; /* "hard", "online", "offline": where labels come from */
    const char                *loss;
    struct schedule            schedule;
    struct source              source, eval_source;
    ssld_store                *store;   /* offline */
    ssld_teacher              *teacher; /* online */
    ssld_labels               *labels;  /* online, offline */
    ssld_student              *student;
    ssld_loader               *loader, *eval_loader;
    ssld_batch                *batch;
    ssld_model_info            info;        /* of the student */
    uint32_t                   view_count;  /* 0: new views every epoch */
    uint64_t                   steps_epoch, steps_total;
    struct timings             step_ms, label_ms; /* whole steps; the part that gets the labels */
    struct filled {                              /* a full batch of the images of one that is not */
        ssld_batch *batch;
        float      *pixels;
        uint64_t   *samples;
        uint32_t   *views;
        int32_t    *labels;
    } filled;
    uint64_t                   rows_filled;
};

/* Everything from data set to student. 0, or the program's exit code after a text. `t` is zeroed but for its values. */
int  training_open(struct training *t);
void training_close(struct training *t);

/* The loader's batch, or, if images were left out of it, one with others of them twice. How many rows those are; -1: no memory. */
int32_t training_fill(struct training *t, ssld_batch **batch);
void    training_fill_end(struct training *t);

#endif
