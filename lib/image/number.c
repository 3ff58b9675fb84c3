/* SPDX-License-Identifier: BSD-2-Clause */
/* number.c - decimal numbers in the C locale whatever the host has set: a view spec written on a German desktop must
 * read the same in a container. The thread's locale is put back before anyone else runs on it. */
#define _GNU_SOURCE /* newlocale() where the system headers hide it from POSIX.1-2008 */
#include "image/number.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static locale_t plain_begin(locale_t *plain)
{
    *plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return *plain ? uselocale(*plain) : (locale_t)0;
}

static void plain_end(locale_t plain, locale_t before)
{
    if (!plain)
        return;
    uselocale(before);
    freelocale(plain);
}

bool ssld_number_read(const char *text, size_t length, double *value)
{
    char copy[64], *end;
    /* strtod() would also take leading blanks, hexadecimal, infinity and not-a-number. */
    if (!length || length >= sizeof copy || strspn(text, "0123456789.eE+-") < length)
        return false;
    memcpy(copy, text, length);
    copy[length] = 0;
    locale_t plain, before = plain_begin(&plain);
    double read = strtod(copy, &end);
    plain_end(plain, before);
    if (*end || !isfinite(read))
        return false;
    *value = read == 0 ? 0 : read; /* no negative zero: it would print differently and render the same */
    return true;
}

size_t ssld_number_write(double value, char text[32])
{
    locale_t plain, before = plain_begin(&plain);
    int length = 0;
    bool whole = fabs(value) < 1e15 && value == floor(value); /* "20", where %g would say 2e+01 */
    if (whole)
        length = snprintf(text, 32, "%.0f", value);
    for (int digits = 1; !whole && digits <= 17; digits++) {
        length = snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    plain_end(plain, before);
    return (size_t)length;
}
