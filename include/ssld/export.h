/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * export.h - how libssld's functions are marked. Nothing here is called by a host.
 */
#ifndef SSLD_EXPORT_H
#define SSLD_EXPORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define SSLD_BEGIN_DECLS extern "C" {
#define SSLD_END_DECLS }
#else
#define SSLD_BEGIN_DECLS
#define SSLD_END_DECLS
#endif

#if defined(__GNUC__)
#define SSLD_API __attribute__((visibility("default")))
#define SSLD_NODISCARD __attribute__((warn_unused_result))
#else
#define SSLD_API
#define SSLD_NODISCARD
#endif

#endif
