/* SPDX-License-Identifier: BSD-2-Clause */
/* multiversion.h - loops compiled for the instruction sets that matter, of which the loader chooses.
 *
 * Not with clang, not where SSLD_GENERIC asks for the plain body (a test compares), and not under sanitizers, whose run time is
 * not ready yet when the choice is made: one body then. */
#ifndef SSLD_LIB_CORE_MULTIVERSION_H
#define SSLD_LIB_CORE_MULTIVERSION_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__) && !defined(SSLD_GENERIC)
#define MULTIVERSION_X86 1 /* and instructions of a single kind of processor may be used where it has them */
#define MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MULTIVERSION
#endif

/* What a multiversioned function calls must be part of its body. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#endif
