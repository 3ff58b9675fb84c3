/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * context.h - threads, memory, log and cancellation for everything made with it.
 *
 * The library has no global state: two contexts do not know of each other. A context must outlive every object made
 * with it. The library never prints, exits, aborts, changes a signal handler, an environment variable or the locale.
 */
#ifndef SSLD_CONTEXT_H
#define SSLD_CONTEXT_H

#include "status.h"
#include "version.h"

SSLD_BEGIN_DECLS

typedef struct ssld_context ssld_context;

/**
 * Where memory comes from. `alloc` returns `size` bytes aligned to `alignment` (a power of two, 64 at most) or NULL;
 * it may be called from any thread of the library, more than one at a time. `free` takes what alloc returned.
 */
typedef struct ssld_allocator {
    void *user;                                                  /**< passed through */
    void *(*alloc)(void *user, size_t size, size_t alignment);   /**< NULL: the C library's aligned_alloc */
    void (*free)(void *user, void *memory);                      /**< NULL if and only if alloc is NULL */
} ssld_allocator;

#define SSLD_LOG_SILENT 0   /**< nothing (default) */
#define SSLD_LOG_WARNING 1  /**< something a person should know */
#define SSLD_LOG_INFO 2     /**< what was chosen: layouts, implementations, sizes */

/** Receives one finished line without its newline; `message` is valid during the call only. Called on the thread that
 *  has something to say, one call at a time; it must not call the library, throw or longjmp. */
typedef void (*ssld_log_function)(void *user, int32_t level, const char *message);

/** Options of ssld_context_create(). Set by ssld_context_options_init(); 0 in a field is its default. */
typedef struct ssld_context_options {
    size_t            struct_size;  /**< set by ssld_context_options_init() */
    int32_t           threads;      /**< compute threads (default 0: one for each core this process may use) */
    int32_t           log_level;    /**< SSLD_LOG_x; lines above it are not even formatted */
    ssld_log_function log;          /**< receiver of log lines (default NULL: none) */
    void             *log_user;     /**< passed to log */
    ssld_allocator    allocator;    /**< memory (default: the C library's) */
    int64_t           image_pixels_limit; /**< largest image that is decoded, in pixels; what a file claims is compared
                                               before memory is taken (default 0: 2^28, the most) */
    int64_t           image_bytes_limit;  /**< largest image file, in bytes (default 0: 2^30, the most) */
} ssld_context_options;

/** Set every field to its default. `struct_size` is sizeof(ssld_context_options) as the caller compiled it.
 *  Thread-safety: any thread. Since 0.1. */
SSLD_API void ssld_context_options_init(ssld_context_options *options, size_t struct_size);

/** As ssld_context_create(), told which header the caller was compiled with (SSLD_VERSION). For language bindings. */
SSLD_API SSLD_NODISCARD ssld_status ssld_context_create_version(int32_t header_version,
                                                                const ssld_context_options *options,
                                                                ssld_context **context);

/**
 * Make a context.
 *
 * @param options   NULL for the defaults; copied
 * @param context   receives the context
 *
 * @return SSLD_OK; SSLD_INVALID_ARGUMENT for a negative thread count, an impossible limit, half an allocator or a struct_size no release
 *         had; SSLD_OUT_OF_MEMORY; SSLD_MISMATCH if the caller's header is of another incompatible version.
 *
 * Thread-safety: any thread. Since 0.1.
 */
SSLD_NODISCARD static inline ssld_status ssld_context_create(const ssld_context_options *options,
                                                             ssld_context **context)
{
    return ssld_context_create_version(SSLD_VERSION, options, context);
}

/** Free a context whose objects are all destroyed. NULL is ignored. Since 0.1. */
SSLD_API void ssld_context_destroy(ssld_context *context);

/**
 * Copy the text of the last failure of any call made with this context, with a terminating zero, cut to `size`.
 *
 * @param buffer    may be NULL if size is 0
 * @return the length of the whole text without its zero; 0 if nothing failed yet.
 *
 * Thread-safety: any thread; with calls on several threads, the last failure of any of them. Since 0.1.
 */
SSLD_API size_t ssld_context_error(ssld_context *context, char *buffer, size_t size);

/** Ask every running and future call of this context to stop soon with SSLD_CANCELLED; what a store has committed
 *  stays valid. Thread-safety: any thread, and signal handlers. Since 0.1. */
SSLD_API void ssld_context_cancel(ssld_context *context);

/** Take ssld_context_cancel() back: later calls run again. Thread-safety: any thread. Since 0.1. */
SSLD_API void ssld_context_resume(ssld_context *context);

/** The number of compute threads. Thread-safety: any thread. Since 0.1. */
SSLD_API int32_t ssld_context_threads(const ssld_context *context);

SSLD_END_DECLS

#endif
