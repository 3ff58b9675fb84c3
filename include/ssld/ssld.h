/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * ssld.h - offline knowledge distillation: all of libssld's interface.
 *
 *   teacher.h   teacher inference: ONNX classifier -> logits for a batch of pixels
 *   store.h     soft-label store: (sample, view) -> the teacher's distribution, compressed, memory-mapped, crash-safe
 *   student.h   student training: pixels + labels -> forward, loss, backward, update; ONNX out
 *   profile.h   where a training step spends its time
 *   view.h      (image, sample, view) -> the same pixels, bit for bit, on any machine, in any order
 *
 * model.h, dataset.h, loader.h, batch.h and labels.h are what these speak of; context.h and status.h what all of them use.
 *
 * Conventions. Handles are opaque; `_create` and `_open` give one through the last parameter, `_destroy` and `_close`
 * take it back and accept NULL. Options start from their `_options_init()`. Shapes are (N, C, H, W).
 */
#ifndef SSLD_SSLD_H
#define SSLD_SSLD_H

#include "batch.h"
#include "context.h"
#include "dataset.h"
#include "labels.h"
#include "loader.h"
#include "model.h"
#include "profile.h"
#include "status.h"
#include "store.h"
#include "student.h"
#include "teacher.h"
#include "version.h"
#include "view.h"

#endif
