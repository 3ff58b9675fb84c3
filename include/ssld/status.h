/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * status.h - what every fallible function returns.
 *
 * 0 is success, negative is failure, SSLD_END (positive) is the regular end of an iteration. On failure the outputs
 * of a function are unchanged unless its own description says otherwise, and ssld_context_error() has a text that
 * names the file, node or option at fault and what to do about it. Numbers are never reused.
 */
#ifndef SSLD_STATUS_H
#define SSLD_STATUS_H

#include "export.h"

typedef int32_t ssld_status;

#define SSLD_OK 0                  /**< done */
#define SSLD_END 1                 /**< nothing left to iterate; not an error */

#define SSLD_INVALID_ARGUMENT (-10) /**< an argument or option outside its documented range */
#define SSLD_UNSUPPORTED (-11)     /**< valid, but not something this version can do */
#define SSLD_MISMATCH (-12)        /**< two things that do not belong together: classes, data set, view spec ... */
#define SSLD_OUT_OF_MEMORY (-20)   /**< the context's allocator returned NULL */
#define SSLD_IO (-30)              /**< the operating system refused a read or write */
#define SSLD_NOT_FOUND (-31)       /**< no such file, view or name */
#define SSLD_BUSY (-32)            /**< held by another writer */
#define SSLD_NO_SPACE (-33)        /**< the disk or the quota is full */
#define SSLD_CORRUPT (-40)         /**< a checksum or a structure that was once right is wrong now */
#define SSLD_FORMAT (-41)          /**< not a file or text of the expected form */
#define SSLD_CANCELLED (-50)       /**< ssld_context_cancel() was called */
#define SSLD_NOT_FINITE (-51)      /**< a loss became NaN or infinite; nothing was updated */
#define SSLD_BACKEND (-60)         /**< oneDNN reported an error, or is not of the major version compiled for */
#define SSLD_INTERNAL (-90)        /**< a defect of libssld; please report the text */

SSLD_BEGIN_DECLS

/** The constant's name without its prefix, for example "CORRUPT"; "UNKNOWN" for numbers that are none of the above.
 *  Static text. Thread-safety: any thread. Since 0.1. */
SSLD_API const char *ssld_status_name(ssld_status status);

SSLD_END_DECLS

#endif
