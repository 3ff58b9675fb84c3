/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * version.h - the version of the interface. meson.build reads it from here, so it is said once.
 *
 * While the major version is 0 every minor release may break the interface; it then gets a new soname.
 */
#ifndef SSLD_VERSION_H
#define SSLD_VERSION_H

#include "export.h"

#define SSLD_VERSION_MAJOR 0
#define SSLD_VERSION_MINOR 1
#define SSLD_VERSION_PATCH 0

/** The header's version as one number: major * 1000000 + minor * 1000 + patch. */
#define SSLD_VERSION (SSLD_VERSION_MAJOR * 1000000 + SSLD_VERSION_MINOR * 1000 + SSLD_VERSION_PATCH)

SSLD_BEGIN_DECLS

/** The loaded library's version, in the form of SSLD_VERSION. Thread-safety: any thread. Since 0.1. */
SSLD_API int32_t ssld_version(void);

/**
 * One line about the build: the library's version, the oneDNN it was compiled for and the one it runs on, for example
 * "libssld 0.1.0, oneDNN 2.6.3 (compiled for 2.6.3)". Copied to `buffer`, cut to `size`, with a terminating zero.
 * Returns the whole length. Thread-safety: any thread. Since 0.1.
 */
SSLD_API size_t ssld_build_info(char *buffer, size_t size);

SSLD_END_DECLS

#endif
