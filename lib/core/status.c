/* SPDX-License-Identifier: BSD-2-Clause */
/* status.c - statuses by name, and the library's version. */
#include "ssld/status.h"

#include "ssld/version.h"

#define ROW(name) { SSLD_##name, #name }

static const struct {
    ssld_status status;
    const char *name;
} names[] = {
    ROW(OK),          ROW(END),    ROW(INVALID_ARGUMENT), ROW(UNSUPPORTED), ROW(MISMATCH), ROW(OUT_OF_MEMORY),
    ROW(IO),          ROW(BUSY),   ROW(NOT_FOUND),        ROW(NO_SPACE),    ROW(CORRUPT),  ROW(FORMAT),
    ROW(CANCELLED),   ROW(BACKEND), ROW(NOT_FINITE),      ROW(INTERNAL),
};

const char *ssld_status_name(ssld_status status)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].status == status)
            return names[i].name;
    return "UNKNOWN";
}

int32_t ssld_version(void)
{
    return SSLD_VERSION;
}
