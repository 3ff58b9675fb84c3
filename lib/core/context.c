/* SPDX-License-Identifier: BSD-2-Clause */
/* context.c - the context: allocator, failure text, log, cancellation. */
#define _GNU_SOURCE /* sched_getaffinity: the cores this process may use, not those the machine has */
#include "core/context.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64
#define TEXT_CAPACITY 4096
#define MOST_THREADS 1024

struct ssld_context {
    int32_t           threads;
    int32_t           log_level;
    ssld_log_function log;
    void             *log_user;
    ssld_allocator    allocator;
    int64_t           image_pixels;
    int64_t           image_bytes;
    atomic_bool       cancelled;
    pthread_mutex_t   text_lock; /* guards text */
    pthread_mutex_t   log_lock;  /* one log call at a time */
    char              text[TEXT_CAPACITY];
};

/* -- Memory ------------------------------------------------------------------------------------------------------- */

static void *default_alloc(void *user, size_t size, size_t alignment)
{
    (void)user;
    return aligned_alloc(alignment, size);
}

static void default_free(void *user, void *memory)
{
    (void)user;
    free(memory);
}

void *ssld_alloc(ssld_context *context, size_t size)
{
    /* Whole alignment units: aligned_alloc wants them, and vector loops may read to the end of the last one. */
    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    size = size ? (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    return context->allocator.alloc(context->allocator.user, size, ALIGNMENT);
}

void *ssld_alloc_zero(ssld_context *context, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    void *memory = ssld_alloc(context, count * size);
    if (memory)
        memset(memory, 0, count * size);
    return memory;
}

void *ssld_realloc(ssld_context *context, void *memory, size_t old_size, size_t new_size)
{
    void *larger = ssld_alloc(context, new_size);
    if (!larger)
        return NULL;
    if (memory)
        memcpy(larger, memory, old_size < new_size ? old_size : new_size);
    ssld_free(context, memory);
    return larger;
}

char *ssld_strdup(ssld_context *context, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = ssld_alloc(context, size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void ssld_free(ssld_context *context, void *memory)
{
    if (memory)
        context->allocator.free(context->allocator.user, memory);
}

/* -- Failure ------------------------------------------------------------------------------------------------------ */

ssld_status ssld_fail(ssld_context *context, ssld_status status, const char *format, ...)
{
    char text[TEXT_CAPACITY];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);

    pthread_mutex_lock(&context->text_lock);
    memcpy(context->text, text, sizeof text);
    pthread_mutex_unlock(&context->text_lock);
    return status;
}

ssld_status ssld_fail_memory(ssld_context *context, const char *what, size_t size)
{
    return ssld_fail(context, SSLD_OUT_OF_MEMORY, "no memory for %s (%zu bytes)", what, size);
}

ssld_status ssld_fail_errno(ssld_context *context, const char *path, const char *verb)
{
    int error = errno;
    ssld_status status = error == ENOENT || error == ENOTDIR     ? SSLD_NOT_FOUND
                         : error == ENOSPC || error == EDQUOT    ? SSLD_NO_SPACE
                         : error == ENOMEM                       ? SSLD_OUT_OF_MEMORY
                                                                 : SSLD_IO;
    char reason[128];
    /* The GNU form of strerror_r returns the text, wherever that is. */
    return ssld_fail(context, status, "%s: cannot %s: %s", path, verb, strerror_r(error, reason, sizeof reason));
}

size_t ssld_context_error(ssld_context *context, char *buffer, size_t size)
{
    pthread_mutex_lock(&context->text_lock);
    size_t length = strlen(context->text);
    if (buffer && size) {
        size_t copied = length < size ? length : size - 1;
        memcpy(buffer, context->text, copied);
        buffer[copied] = 0;
    }
    pthread_mutex_unlock(&context->text_lock);
    return length;
}

/* -- Log, cancellation -------------------------------------------------------------------------------------------- */

void ssld_log(ssld_context *context, int32_t level, const char *format, ...)
{
    if (!context->log || level > context->log_level)
        return;
    char text[TEXT_CAPACITY];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);

    pthread_mutex_lock(&context->log_lock);
    context->log(context->log_user, level, text);
    pthread_mutex_unlock(&context->log_lock);
}

void ssld_context_cancel(ssld_context *context)
{
    atomic_store(&context->cancelled, true);
}

void ssld_context_resume(ssld_context *context)
{
    atomic_store(&context->cancelled, false);
}

bool ssld_cancelled(const ssld_context *context)
{
    return atomic_load_explicit(&context->cancelled, memory_order_relaxed);
}

ssld_status ssld_check_cancelled(ssld_context *context)
{
    return ssld_cancelled(context) ? ssld_fail(context, SSLD_CANCELLED, "cancelled by the application") : SSLD_OK;
}

int32_t ssld_context_threads(const ssld_context *context)
{
    return context->threads;
}

int64_t ssld_context_image_pixels(const ssld_context *context)
{
    return context->image_pixels;
}

int64_t ssld_context_image_bytes(const ssld_context *context)
{
    return context->image_bytes;
}

/* -- Sized structs ------------------------------------------------------------------------------------------------ */

/* Every sized struct starts with its size. */
static size_t struct_size_of(const void *sized)
{
    size_t size;
    memcpy(&size, sized, sizeof size);
    return size;
}

void ssld_options_zero(void *options, size_t struct_size)
{
    memset(options, 0, struct_size);
    memcpy(options, &struct_size, sizeof struct_size);
}

/* Without a context, for the options of the context itself. Returns what is wrong, NULL if nothing. */
static const char *options_take(void *own, size_t own_size, const void *given, size_t first_size)
{
    ssld_options_zero(own, own_size);
    if (!given)
        return NULL;
    size_t size = struct_size_of(given);
    if (size < first_size)
        return "struct_size is not set; call the options' _init() function first";
    for (size_t i = own_size; i < size; i++)
        if (((const unsigned char *)given)[i])
            return "an option is set that only a later libssld knows; install that version or leave the option out";
    memcpy(own, given, size < own_size ? size : own_size);
    memcpy(own, &own_size, sizeof own_size);
    return NULL;
}

ssld_status ssld_options_take(ssld_context *context, const char *function, void *own, size_t own_size, const void *given,
                              size_t first_size)
{
    const char *wrong = options_take(own, own_size, given, first_size);
    return wrong ? ssld_fail(context, SSLD_INVALID_ARGUMENT, "%s: options: %s", function, wrong) : SSLD_OK;
}

ssld_status ssld_info_give(ssld_context *context, const char *function, void *given, const void *own, size_t own_size)
{
    size_t size = struct_size_of(given);
    if (size < sizeof size)
        return ssld_fail(context, SSLD_INVALID_ARGUMENT,
                         "%s: struct_size is not set; set it to sizeof the struct before the call", function);
    memcpy(given, own, size < own_size ? size : own_size);
    memcpy(given, &size, sizeof size);
    return SSLD_OK;
}

/* -- The context itself ------------------------------------------------------------------------------------------- */

void ssld_context_options_init(ssld_context_options *options, size_t struct_size)
{
    ssld_options_zero(options, struct_size);
}

static int32_t usable_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    return 1;
}

ssld_status ssld_context_create_version(int32_t header_version, const ssld_context_options *given, ssld_context **context)
{
    ssld_context_options options;
    if (!context || options_take(&options, sizeof options, given, sizeof options))
        return SSLD_INVALID_ARGUMENT;
    if (options.threads < 0 || options.threads > MOST_THREADS || options.log_level < 0)
        return SSLD_INVALID_ARGUMENT;
    if (options.image_pixels_limit < 0 || options.image_pixels_limit > SSLD_IMAGE_MOST_PIXELS ||
        options.image_bytes_limit < 0 || options.image_bytes_limit > SSLD_IMAGE_MOST_BYTES)
        return SSLD_INVALID_ARGUMENT;
    if (!options.allocator.alloc != !options.allocator.free)
        return SSLD_INVALID_ARGUMENT;
    /* Before 1.0 a minor release may break the interface. */
    if (header_version / 1000 != SSLD_VERSION / 1000)
        return SSLD_MISMATCH;

    ssld_allocator allocator = options.allocator;
    if (!allocator.alloc) {
        allocator.alloc = default_alloc;
        allocator.free = default_free;
    }
    size_t size = (sizeof(ssld_context) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    ssld_context *made = allocator.alloc(allocator.user, size, ALIGNMENT);
    if (!made)
        return SSLD_OUT_OF_MEMORY;
    memset(made, 0, sizeof *made);
    made->threads = options.threads ? options.threads : usable_cores();
    made->log_level = options.log_level;
    made->log = options.log;
    made->log_user = options.log_user;
    made->allocator = allocator;
    made->image_pixels = options.image_pixels_limit ? options.image_pixels_limit : SSLD_IMAGE_MOST_PIXELS;
    made->image_bytes = options.image_bytes_limit ? options.image_bytes_limit : SSLD_IMAGE_MOST_BYTES;
    atomic_init(&made->cancelled, false);
    pthread_mutex_init(&made->text_lock, NULL);
    pthread_mutex_init(&made->log_lock, NULL);
    *context = made;
    return SSLD_OK;
}

void ssld_context_destroy(ssld_context *context)
{
    if (!context)
        return;
    pthread_mutex_destroy(&context->text_lock);
    pthread_mutex_destroy(&context->log_lock);
    ssld_allocator allocator = context->allocator;
    allocator.free(allocator.user, context);
}
