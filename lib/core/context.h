/* SPDX-License-Identifier: BSD-2-Clause */
/* context.h - what every part needs of the context: memory, failure texts, log lines, cancellation. */
#ifndef SSLD_LIB_CORE_CONTEXT_H
#define SSLD_LIB_CORE_CONTEXT_H

#include <stdbool.h>
#include <stdarg.h>

#include "ssld/context.h"

#if defined(__GNUC__)
#define SSLD_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define SSLD_PRINTF(text, first)
#endif

/* -- Memory: all of it comes from the context's allocator, aligned to 64 bytes ------------------------------------ */

/* `size` bytes of any content, NULL when there are none; size 0 gives a unique pointer. */
void *ssld_alloc(ssld_context *context, size_t size);
/* count * size zeroed bytes, NULL on overflow too. */
void *ssld_alloc_zero(ssld_context *context, size_t count, size_t size);
/* A larger (or smaller) block with the old content; on NULL the old block still stands. old_size and new_size in bytes. */
void *ssld_realloc(ssld_context *context, void *memory, size_t old_size, size_t new_size);
char *ssld_strdup(ssld_context *context, const char *text);
void  ssld_free(ssld_context *context, void *memory); /* NULL is ignored */

/* -- Failure ------------------------------------------------------------------------------------------------------ */

/* Keep the text for ssld_context_error() and return `status`: `return ssld_fail(context, SSLD_IO, "%s: ...", path);` */
ssld_status ssld_fail(ssld_context *context, ssld_status status, const char *format, ...) SSLD_PRINTF(3, 4);
/* The usual text for memory that could not be had; `what` is a noun: "the block buffer". */
ssld_status ssld_fail_memory(ssld_context *context, const char *what, size_t size);
/* A text from errno for a file operation: "labels.ssld: cannot write: No space left on device". Chooses the status. */
ssld_status ssld_fail_errno(ssld_context *context, const char *path, const char *verb);

/* -- Log, cancellation -------------------------------------------------------------------------------------------- */

void ssld_log(ssld_context *context, int32_t level, const char *format, ...) SSLD_PRINTF(3, 4);
bool ssld_cancelled(const ssld_context *context);
/* SSLD_CANCELLED with its text when cancelled, else SSLD_OK. */
ssld_status ssld_check_cancelled(ssld_context *context);

/* -- Limits on images, see ssld_context_options ------------------------------------------------------------------- */

#define SSLD_IMAGE_MOST_PIXELS ((int64_t)1 << 28) /* at three bytes a pixel this is 768 MiB */
#define SSLD_IMAGE_MOST_BYTES ((int64_t)1 << 30)
int64_t ssld_context_image_pixels(const ssld_context *context);
int64_t ssld_context_image_bytes(const ssld_context *context);

/* -- Sized structs ------------------------------------------------------------------------------------------------ */

/* Copy a caller's options onto `own`, which the function fills with zeros first. `given` may be NULL. A struct of a later
 * header is accepted if what this library does not know is zero; `first_size` is the size in its first release. */
ssld_status ssld_options_take(ssld_context *context, const char *function, void *own, size_t own_size, const void *given,
                              size_t first_size);
/* Write an info struct back to a caller: own_size bytes or as many as the caller's struct_size says. */
ssld_status ssld_info_give(ssld_context *context, const char *function, void *given, const void *own, size_t own_size);

/* Body of the public `_options_init()` functions. */
void ssld_options_zero(void *options, size_t struct_size);

#endif
