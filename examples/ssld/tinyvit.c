/* SPDX-License-Identifier: BSD-2-Clause */
/* tinyvit.c - TinyViT's folders of keys and values: nothing in them says what they are, so every record is checked. */
#include "tinyvit.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

#define MOST_EPOCHS 100000
#define MOST_KEY 4096
#define MOST_PATH 4096
/* How far the sum of a record's probabilities may be above 1: rounding each to a half moves it by less than 0.0005. */
#define SUM_SLACK 0.001

static const char values_tail[] = "-values.bin", keys_tail[] = "-keys.txt";

/* -- Records ------------------------------------------------------------------------------------------------------ */

/* A half-precision float: 1 sign, 5 exponent, 10 fraction bits. */
static float half_to_float(unsigned half)
{
    int exponent = (int)(half >> 10 & 31), fraction = (int)(half & 1023);
    float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                      : exponent     ? ldexpf((float)(1024 + fraction), exponent - 25)
                                     : ldexpf((float)fraction, -24);
    return half & 0x8000 ? -magnitude : magnitude;
}

static unsigned read_16(const uint8_t *bytes)
{
    return (unsigned)bytes[0] | (unsigned)bytes[1] << 8;
}

const char *tinyvit_expand(const struct tinyvit_record *record, int32_t top_k, int32_t classes, float *row)
{
    const uint8_t *ids = record->bytes, *halves = ids + 2 * top_k;
    double sum = 0;
    for (int32_t k = 0; k < top_k; k++) {
        float value = half_to_float(read_16(halves + 2 * k));
        if (!(value >= 0 && value <= 1))
            return "a probability is not in 0 to 1";
        sum += (double)value;
    }
    if (!(sum > 0) || sum > 1 + SUM_SLACK)
        return "its probabilities do not sum to at most 1";
    bool rest = classes > top_k && sum < 1;
    double scale = rest ? 1 : 1 / sum; /* rounding may have made the sum more than 1 */
    for (int32_t c = 0; c < classes; c++)
        row[c] = -1;
    for (int32_t k = 0; k < top_k; k++) {
        int32_t id = (int32_t)read_16(ids + 2 * k);
        if (id >= classes)
            return "it has a class beyond --classes";
        if (row[id] >= 0)
            return "it has a class twice";
        row[id] = (float)(scale * (double)half_to_float(read_16(halves + 2 * k)));
    }
    for (int32_t c = 0; c < classes; c++)
        if (row[c] < 0)
            row[c] = rest ? (float)((1 - sum) / (classes - top_k)) : 0;
    return NULL;
}

/* -- Pairs of files ----------------------------------------------------------------------------------------------- */

struct pair {
    char     keys_path[MOST_PATH], values_path[MOST_PATH], key[MOST_KEY];
    FILE    *keys, *values;
    uint64_t line;
    size_t   record_size;
    uint8_t *record;
};

static void close_pair(struct pair *pair)
{
    if (pair->keys)
        fclose(pair->keys);
    if (pair->values)
        fclose(pair->values);
    free(pair->record);
}

static bool open_pair(const char *folder, const char *name, int32_t top_k, struct pair *pair)
{
    *pair = (struct pair){ .record_size = 4 + 4 * (size_t)top_k };
    int length = snprintf(pair->values_path, MOST_PATH, "%s/%s", folder, name);
    if (length >= MOST_PATH) {
        program_complain("%s: the path is too long", folder);
        return false;
    }
    size_t stem = (size_t)length - strlen(values_tail);
    memcpy(pair->keys_path, pair->values_path, stem);
    memcpy(pair->keys_path + stem, keys_tail, sizeof keys_tail); /* the shorter one */
    pair->record = malloc(pair->record_size);
    pair->values = pair->record ? fopen(pair->values_path, "rb") : NULL;
    pair->keys = pair->values ? fopen(pair->keys_path, "rb") : NULL;
    if (pair->keys)
        return true;
    program_complain("%s: cannot be read: %s", pair->values ? pair->keys_path : pair->values_path, strerror(errno));
    close_pair(pair);
    return false;
}

/* The next key without its end of line. 1; 0 at the end; -1 after a text. */
static int next_key(struct pair *pair)
{
    if (!fgets(pair->key, MOST_KEY, pair->keys)) {
        if (!ferror(pair->keys))
            return 0;
        program_complain("%s: cannot be read: %s", pair->keys_path, strerror(errno));
        return -1;
    }
    pair->line++;
    size_t length = strcspn(pair->key, "\r\n");
    if (!pair->key[length] && !feof(pair->keys)) {
        program_complain("%s:%" PRIu64 ": the line has a zero byte, or more than %d bytes", pair->keys_path, pair->line,
                         MOST_KEY - 2);
        return -1;
    }
    pair->key[length] = 0;
    return 1;
}

/* As next_key(), with its record. */
static int next_record(struct pair *pair, int32_t top_k, struct tinyvit_record *record)
{
    int found = next_key(pair);
    if (found <= 0)
        return found;
    if (fread(pair->record, pair->record_size, 1, pair->values) != 1) {
        program_complain("%s: ends before record %" PRIu64 ", that of '%s': it is cut short, or K is not %" PRId32,
                         pair->values_path, pair->line, pair->key, top_k);
        return -1;
    }
    uint32_t seed = read_16(pair->record) | (uint32_t)read_16(pair->record + 2) << 16;
    *record = (struct tinyvit_record){ .keys_path = pair->keys_path, .values_path = pair->values_path, .key = pair->key,
                                       .line = pair->line, .seed = (int32_t)seed, .bytes = pair->record + 4 };
    return 1;
}

static bool walk_pair(const struct tinyvit *files, const char *folder, const char *name, tinyvit_visitor visit,
                      void *user)
{
    struct pair pair;
    struct tinyvit_record record;
    int found;
    if (!open_pair(folder, name, files->top_k, &pair))
        return false;
    while ((found = next_record(&pair, files->top_k, &record)) > 0)
        if (!visit(user, &record))
            break;
    if (!found && fgetc(pair.values) != EOF) {
        program_complain("%s: has more records than %s has lines, or K is not %" PRId32, pair.values_path,
                         pair.keys_path, files->top_k);
        found = -1;
    }
    close_pair(&pair);
    return !found;
}

/* -- Folders ------------------------------------------------------------------------------------------------------ */

/* K and E of "logits_top{K}_epoch{E}". */
static bool parse_folder(const char *name, int32_t *top_k, uint32_t *epoch)
{
    int end = 0;
    if (sscanf(name, "logits_top%5" SCNd32 "_epoch%5" SCNu32 "%n", top_k, epoch, &end) != 2)
        return false;
    return end && !name[end] && *top_k > 0;
}

bool tinyvit_open(const char *path, struct tinyvit *files)
{
    DIR *folder = opendir(path);
    uint32_t least = UINT32_MAX, most = 0, epoch;
    int32_t top_k;
    bool same = true;
    *files = (struct tinyvit){ .folder = path };
    if (!folder) {
        program_complain("%s: cannot be read: %s", path, strerror(errno));
        return false;
    }
    for (struct dirent *entry; (entry = readdir(folder));)
        if (parse_folder(entry->d_name, &top_k, &epoch)) {
            same = same && (!files->top_k || files->top_k == top_k);
            files->top_k = top_k;
            least = epoch < least ? epoch : least;
            most = epoch > most ? epoch : most;
        }
    closedir(folder);
    files->first_epoch = least;
    files->epochs = files->top_k ? most - least + 1 : 0;
    if (!files->epochs)
        program_complain("%s: has no folder logits_top{K}_epoch{E}; name the folder that those are in", path);
    else if (!same)
        program_complain("%s: has folders of several K; keep those of one K in a folder of their own", path);
    else if (files->epochs > MOST_EPOCHS)
        program_complain("%s: has epochs %" PRIu32 " to %" PRIu32 ", more than %d", path, least, most, MOST_EPOCHS);
    else
        return true;
    return false;
}

static bool is_values_name(const char *name)
{
    size_t length = strlen(name), tail = strlen(values_tail);
    return length > tail && !strcmp(name + length - tail, values_tail);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of a folder's values files, sorted; -1 after a text. */
static int list_values(const char *path, char ***names)
{
    int count = 0;
    DIR *folder = opendir(path);
    *names = NULL;
    if (!folder) {
        program_complain("warning: %s: cannot be read (%s): the labels of this view stay missing", path,
                         strerror(errno));
        return 0;
    }
    for (struct dirent *entry; count >= 0 && (entry = readdir(folder));) {
        if (!is_values_name(entry->d_name))
            continue;
        char **more = realloc(*names, ((size_t)count + 1) * sizeof **names), *name = strdup(entry->d_name);
        *names = more ? more : *names;
        if (more && name) {
            (*names)[count++] = name;
            continue;
        }
        program_complain("no memory");
        free(name);
        while (count)
            free((*names)[--count]);
        count = -1;
    }
    closedir(folder);
    if (count > 1)
        qsort(*names, (size_t)count, sizeof **names, compare_names);
    return count;
}

bool tinyvit_walk(const struct tinyvit *files, uint32_t epoch, tinyvit_visitor visit, void *user)
{
    char path[MOST_PATH], **names;
    int length = snprintf(path, sizeof path, "%s/logits_top%" PRId32 "_epoch%" PRIu32, files->folder, files->top_k,
                          files->first_epoch + epoch);
    if (length >= MOST_PATH) {
        program_complain("%s: the path is too long", files->folder);
        return false;
    }
    int count = list_values(path, &names);
    bool whole = count >= 0;
    for (int i = 0; i < count; i++) {
        whole = whole && walk_pair(files, path, names[i], visit, user);
        free(names[i]);
    }
    free(names);
    return whole;
}
