/* SPDX-License-Identifier: BSD-2-Clause */
/* lookup.c - from a sample and a view to the bits of its record. */
#include "store/reader.h"

/* -- Runs --------------------------------------------------------------------------------------------------------- */

/* Runs are in order of key = view * samples + first sample. Keys are doubles: they only guess where to look. */
static double key_of(const struct ssld_part *part, uint32_t view, uint64_t sample)
{
    return (double)view * (double)part->header.samples + (double)sample;
}

static bool run_holds(const struct ssld_run *run, uint32_t view, uint64_t sample)
{
    return run->view == view && sample >= run->sample && sample - run->sample < run->count;
}

/* The run that holds a view. Labels are written in order as a rule, and runs are alike: where a view's run is can be guessed
 * from its place between the first and the last. Every second step halves what is left, should the guesses be bad. */
static bool find_run(const struct ssld_part *part, uint32_t view, uint64_t sample, struct ssld_run *found)
{
    uint64_t low = 0, high = part->runs; /* the last run that begins at or before the view is in [low, high) */
    double key = key_of(part, view, sample), low_key = part->first_key, high_key = part->end_key;
    if (!high || key < low_key || key >= high_key)
        return false;
    for (int step = 0; high - low > 1; step++) {
        uint64_t middle = low + (high - low) / 2;
        if (step % 2 == 0 && high_key > low_key) {
            double guess = (double)low + (double)(high - low) * ((key - low_key) / (high_key - low_key));
            middle = guess <= (double)low ? low + 1 : guess >= (double)(high - 1) ? high - 1 : (uint64_t)guess;
            middle = middle > low ? middle : low + 1;
        }
        struct ssld_run run = ssld_run_entry_read(part->entries + middle * SSLD_RUN_ENTRY);
        if (run_holds(&run, view, sample)) {
            *found = run;
            return true;
        }
        if (run.view < view || (run.view == view && run.sample <= sample)) {
            low = middle;
            low_key = key_of(part, run.view, run.sample);
        } else {
            high = middle;
            high_key = key_of(part, run.view, run.sample);
        }
    }
    *found = ssld_run_entry_read(part->entries + low * SSLD_RUN_ENTRY);
    return run_holds(found, view, sample);
}

bool ssld_store_find(const ssld_store *store, uint32_t view, uint64_t sample, struct ssld_place *place)
{
    struct ssld_run run;
    for (int32_t i = 0; i < store->part_count; i++) {
        const struct ssld_part *part = &store->parts[i];
        if (find_run(part, view, sample, &run)) {
            *place = (struct ssld_place){ part, run.block, run.record + (uint32_t)(sample - run.sample) };
            return true;
        }
    }
    return false;
}

/* Whether the part's index was right when it was written, if it has one. */
static bool index_sound(const struct ssld_part *part)
{
    if (part->own_entries || !part->closed)
        return true;
    int state = atomic_load(&((struct ssld_part *)(uintptr_t)part)->index_state);
    if (state == SSLD_INDEX_UNSEEN) {
        const struct ssld_store_file file = { &part->header, part->map.bytes, part->map.size };
        state = ssld_index_intact(&file, &part->index) ? SSLD_INDEX_SOUND : SSLD_INDEX_DAMAGED;
        atomic_store(&((struct ssld_part *)(uintptr_t)part)->index_state, state);
    }
    return state == SSLD_INDEX_SOUND;
}

bool ssld_store_hides(const ssld_store *store, const char **path, uint64_t *offset)
{
    for (int32_t i = 0; i < store->part_count; i++) {
        const struct ssld_part *part = &store->parts[i];
        bool sound = index_sound(part);
        if (part->broken || !sound) {
            *path = part->path;
            *offset = part->broken ? part->broken : part->index.offset;
            return true;
        }
    }
    return false;
}

/* -- Blocks ------------------------------------------------------------------------------------------------------- */

ssld_status ssld_reading_make(ssld_context *context, const ssld_store *store, struct ssld_reading *reading)
{
    struct ssld_store_header largest = store->parts[0].header;
    largest.block_bytes = (uint32_t)store->block_bytes;
    *reading = (struct ssld_reading){ .plain_coding = { .classes = largest.classes } };
    return ssld_unpacker_make(context, &largest, &reading->unpacker);
}

void ssld_reading_free(ssld_context *context, struct ssld_reading *reading)
{
    ssld_unpacker_free(context, &reading->unpacker);
}

const struct ssld_model *ssld_part_model(const struct ssld_part *part, uint64_t id)
{
    for (int32_t i = 0; i < part->model_count; i++)
        if (part->models[i]->id == id)
            return part->models[i];
    return NULL;
}

const struct ssld_model *ssld_store_last_model(const ssld_store *store)
{
    const struct ssld_part *part = &store->parts[0];
    return part->model_count ? part->models[part->model_count - 1] : NULL;
}

/* Codec and model of a block that was read. NULL, or what is wrong with them. */
static const char *choose_codec(struct ssld_reading *reading, const struct ssld_part *part)
{
    bool plain = reading->block.codec == SSLD_CODEC_DENSE_F16;
    if (reading->block.codec != part->header.codec && !plain)
        return "is of a codec that its store does not have";
    reading->codec = plain ? &ssld_codec_f16 : part->codec;
    reading->coding = plain ? &reading->plain_coding : &part->coding;
    reading->model = NULL;
    if (!reading->codec->columns && !(reading->model = ssld_part_model(part, reading->block.model)))
        return "needs a model that is damaged";
    return NULL;
}

bool ssld_reading_open(struct ssld_reading *reading, const ssld_store *store, const struct ssld_part *part, uint64_t offset,
                       const char **text)
{
    if (reading->opened == store->opened && reading->part == part && reading->offset == offset)
        return true;
    const struct ssld_store_file file = { &part->header, part->map.bytes, part->map.size };
    reading->opened = 0; /* its payload may be overwritten */
    *text = "is damaged";
    if (!ssld_block_read(&file, offset, &reading->block))
        return false;
    const char *wrong = choose_codec(reading, part);
    if (wrong) {
        *text = wrong;
        return false;
    }
    reading->payload = ssld_block_payload(&reading->unpacker, &reading->block);
    if (!reading->payload)
        return false;
    reading->opened = store->opened;
    reading->part = part;
    reading->offset = offset;
    return true;
}

bool ssld_reading_record_at(struct ssld_reading *reading, uint32_t i, struct ssld_source *source)
{
    return ssld_payload_record(&reading->unpacker, reading->codec, reading->coding, reading->model, &reading->block,
                               reading->payload, i, source);
}

bool ssld_reading_record(struct ssld_reading *reading, uint32_t view, uint64_t sample, struct ssld_source *source)
{
    uint32_t record = 0;
    for (uint32_t i = 0; i < reading->block.runs; i++) {
        struct ssld_run run = ssld_block_run(&reading->block, i);
        if (run_holds(&run, view, sample))
            return ssld_reading_record_at(reading, record + (uint32_t)(sample - run.sample), source);
        record += run.count;
    }
    return false;
}
