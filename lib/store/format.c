/* SPDX-License-Identifier: BSD-2-Clause */
/* format.c - frames to structs and back. The byte tables are in docs/format.md; offsets here are theirs. */
#include "store/format.h"

#include "core/hash.h"
#include "ssld/store.h"
#include "store/model.h"

/* A skippable frame of the Zstandard format: any reader of it passes over our frames. */
#define SKIPPABLE_MAGIC UINT32_C(0x184D2A5D)
#define SKIPPABLE_BYTES 8
#define PRELUDE_BYTES 32 /* magic, size, kind, link, offset */
#define CHECKSUM_BYTES 8

#define VERSION_MAJOR 1
#define VERSION_MINOR 0
#define KNOWN_REQUIRED UINT64_C(0)
#define KNOWN_OPTIONAL UINT64_C(0)

#define HEADER_FIXED 128 /* where sections begin */
#define SECTION_BYTES 8  /* id, length */
#define SECTION_VIEW_SPEC 1
#define SECTION_MAY_BE_SKIPPED UINT32_C(0x80000000)

#define BLOCK_FIXED 72
#define RUN_BYTES 16

#define INDEX_FIXED 72   /* the last 8 bytes are the checksum of those before them */
#define TRAILER_BYTES 24 /* frame offset, tag, checksum */

static const char head_kind[8] = { 'S', 'S', 'L', 'D', 'H', 'E', 'A', 'D' };
static const char trailer_tag[8] = { 'S', 'S', 'L', 'D', 'T', 'A', 'I', 'L' };

static const struct {
    char    kind[9];
    int32_t id;
} kinds[] = {
    { "SSLDBLCK", SSLD_FRAME_BLOCK },
    { "SSLDmark", SSLD_FRAME_MARK },
    { "SSLDindx", SSLD_FRAME_INDEX },
    { "SSLDMODL", SSLD_FRAME_MODEL },
};

static void frame_begin(uint8_t *bytes, const void *kind, uint64_t size)
{
    ssld_put_u32(bytes, SKIPPABLE_MAGIC);
    ssld_put_u32(bytes + 4, (uint32_t)(size - SKIPPABLE_BYTES));
    memcpy(bytes + 8, kind, 8);
}

static uint64_t frame_end(uint8_t *bytes, uint64_t size)
{
    uint64_t checksum = ssld_checksum(bytes, (size_t)(size - CHECKSUM_BYTES));
    ssld_put_u64(bytes + size - CHECKSUM_BYTES, checksum);
    return checksum;
}

static bool frame_checksum_right(const uint8_t *bytes, uint64_t size)
{
    return ssld_checksum(bytes, (size_t)(size - CHECKSUM_BYTES)) == ssld_get_u64(bytes + size - CHECKSUM_BYTES);
}

/* -- Header ------------------------------------------------------------------------------------------------------- */

size_t ssld_header_size(const struct ssld_store_header *header)
{
    return HEADER_FIXED + SECTION_BYTES + strlen(header->view_spec) + CHECKSUM_BYTES;
}

void ssld_header_write(struct ssld_store_header *header, uint8_t *bytes)
{
    size_t size = ssld_header_size(header), length = strlen(header->view_spec);
    uint64_t kl_bound;
    memset(bytes, 0, size);
    frame_begin(bytes, head_kind, size);
    ssld_put_u16(bytes + 16, VERSION_MAJOR);
    ssld_put_u16(bytes + 18, VERSION_MINOR);
    ssld_put_u32(bytes + 20, HEADER_FIXED);
    /* 24, 32: required and optional features: none is defined */
    ssld_put_u64(bytes + 40, header->samples);
    ssld_put_u32(bytes + 48, header->views);
    ssld_put_u32(bytes + 52, (uint32_t)header->classes);
    ssld_put_u32(bytes + 56, (uint32_t)header->codec);
    ssld_put_u32(bytes + 60, (uint32_t)header->top_k);
    ssld_put_u32(bytes + 64, header->block_records);
    ssld_put_u32(bytes + 68, header->block_bytes);
    ssld_put_u32(bytes + 72, (uint32_t)header->batch_norm);
    ssld_put_u32(bytes + 76, (uint32_t)header->shape_rows);
    ssld_put_u64(bytes + 80, header->view_seed);
    memcpy(bytes + 88, header->dataset_fingerprint, 16);
    memcpy(bytes + 104, header->teacher_fingerprint, 16);
    memcpy(&kl_bound, &header->kl_bound, sizeof kl_bound);
    ssld_put_u64(bytes + 120, kl_bound);
    ssld_put_u32(bytes + HEADER_FIXED, SECTION_VIEW_SPEC);
    ssld_put_u32(bytes + HEADER_FIXED + 4, (uint32_t)length);
    memcpy(bytes + HEADER_FIXED + SECTION_BYTES, header->view_spec, length);
    header->size = size;
    header->link = frame_end(bytes, size);
}

/* The sections between `bytes` and `end`. */
static ssld_status sections_read(ssld_context *context, const char *path, const uint8_t *bytes, const uint8_t *end,
                                 struct ssld_store_header *header)
{
    while (bytes < end) {
        uint64_t left = (uint64_t)(end - bytes);
        uint64_t length = left < SECTION_BYTES ? 0 : ssld_get_u32(bytes + 4);
        if (left < SECTION_BYTES || length > left - SECTION_BYTES)
            return ssld_fail(context, SSLD_FORMAT, "%s: a section of the store's header does not fit into it", path);
        uint32_t id = ssld_get_u32(bytes);
        const uint8_t *content = bytes + SECTION_BYTES;
        bytes = content + length;
        if (id & SECTION_MAY_BE_SKIPPED)
            continue;
        if (id != SECTION_VIEW_SPEC)
            return ssld_fail(context, SSLD_FORMAT, "%s: the store's header has a section %u unknown to this libssld; "
                             "install a later version", path, id);
        if (header->view_spec || length > SSLD_FORMAT_VIEW_SPEC || memchr(content, 0, (size_t)length))
            return ssld_fail(context, SSLD_FORMAT, "%s: the store's view spec is not a text", path);
        header->view_spec = ssld_alloc_zero(context, 1, (size_t)length + 1);
        if (!header->view_spec)
            return ssld_fail_memory(context, "the store's view spec", (size_t)length + 1);
        memcpy(header->view_spec, content, (size_t)length);
    }
    if (!header->view_spec)
        return ssld_fail(context, SSLD_FORMAT, "%s: the store's header has no view spec", path);
    return SSLD_OK;
}

static bool codec_within_limits(const struct ssld_store_header *header)
{
    bool top_k = header->codec == SSLD_CODEC_TOPK;
    if (header->codec < SSLD_CODEC_DENSE_F32 || header->codec > SSLD_CODEC_TOPK)
        return true; /* unknown: refused elsewhere, with its own text */
    if (!(header->kl_bound >= 0 && header->kl_bound <= 64) || header->shape_rows < 0 ||
        header->shape_rows > SSLD_MOST_RANK + 1)
        return false;
    return top_k ? header->top_k >= 1 && header->top_k <= header->classes && header->top_k <= SSLD_FORMAT_TOP_K
                 : header->top_k == 0 && header->kl_bound == 0;
}

static bool header_within_limits(const struct ssld_store_header *header)
{
    return codec_within_limits(header) && header->samples >= 1 && header->samples <= SSLD_FORMAT_SAMPLES &&
           header->views >= 1 && header->views <= SSLD_FORMAT_VIEWS && header->classes >= 1 &&
           (uint32_t)header->classes <= SSLD_FORMAT_CLASSES && header->block_records >= 1 &&
           header->block_records <= SSLD_FORMAT_BLOCK_RECORDS && header->block_bytes >= 1 &&
           header->block_bytes <= SSLD_FORMAT_BLOCK_BYTES && header->batch_norm >= 0;
}

static void header_fields_read(const uint8_t *bytes, struct ssld_store_header *header)
{
    header->samples = ssld_get_u64(bytes + 40);
    header->views = ssld_get_u32(bytes + 48);
    header->classes = (int32_t)ssld_get_u32(bytes + 52);
    header->codec = (int32_t)ssld_get_u32(bytes + 56);
    header->top_k = (int32_t)ssld_get_u32(bytes + 60);
    header->block_records = ssld_get_u32(bytes + 64);
    header->block_bytes = ssld_get_u32(bytes + 68);
    header->batch_norm = (int32_t)ssld_get_u32(bytes + 72);
    header->shape_rows = (int32_t)ssld_get_u32(bytes + 76);
    header->view_seed = ssld_get_u64(bytes + 80);
    uint64_t kl_bound = ssld_get_u64(bytes + 120);
    memcpy(&header->kl_bound, &kl_bound, sizeof kl_bound);
    memcpy(header->dataset_fingerprint, bytes + 88, 16);
    memcpy(header->teacher_fingerprint, bytes + 104, 16);
}

ssld_status ssld_header_read(ssld_context *context, const char *path, const uint8_t *bytes, uint64_t size,
                             struct ssld_store_header *header)
{
    memset(header, 0, sizeof *header);
    if (size < 16 || ssld_get_u32(bytes) != SKIPPABLE_MAGIC || memcmp(bytes + 8, head_kind, sizeof head_kind))
        return ssld_fail(context, SSLD_FORMAT, "%s: not a store of soft labels", path);
    uint64_t frame = SKIPPABLE_BYTES + (uint64_t)ssld_get_u32(bytes + 4);
    if (frame > size)
        return ssld_fail(context, SSLD_CORRUPT,
                         "%s: cut off inside its header (%llu of %llu bytes); resume labelling if it "
                         "was interrupted, else take a copy", path, (unsigned long long)size, (unsigned long long)frame);
    if (frame < HEADER_FIXED + CHECKSUM_BYTES || !frame_checksum_right(bytes, frame))
        return ssld_fail(context, SSLD_CORRUPT,
                         "%s: the header at offset 0 fails its checksum; the file is damaged, take a "
                         "copy", path);
    uint32_t major = ssld_get_u16(bytes + 16), minor = ssld_get_u16(bytes + 18), fixed = ssld_get_u32(bytes + 20);
    uint64_t required = ssld_get_u64(bytes + 24), optional = ssld_get_u64(bytes + 32);
    if (major != VERSION_MAJOR || required & ~KNOWN_REQUIRED)
        return ssld_fail(context, SSLD_FORMAT,
                         "%s: a store of format %u.%u with required features %llx; this libssld reads "
                         "format %d: install a later version", path, major, minor, (unsigned long long)required,
                         VERSION_MAJOR);
    if (fixed < HEADER_FIXED || fixed > frame - CHECKSUM_BYTES)
        return ssld_fail(context, SSLD_FORMAT, "%s: the sections of the store's header begin outside it", path);
    header_fields_read(bytes, header);
    header->newer = minor > VERSION_MINOR || optional & ~KNOWN_OPTIONAL;
    header->size = frame;
    header->link = ssld_get_u64(bytes + frame - CHECKSUM_BYTES);
    ssld_status status = sections_read(context, path, bytes + fixed, bytes + frame - CHECKSUM_BYTES, header);
    if (!status && !header_within_limits(header))
        status = ssld_fail(context, SSLD_FORMAT,
                           "%s: a field of the store's header is outside the limits of its format", path);
    if (status)
        ssld_header_free(context, header);
    return status;
}

void ssld_header_free(ssld_context *context, struct ssld_store_header *header)
{
    ssld_free(context, header->view_spec);
    header->view_spec = NULL;
}

/* -- Expectations ------------------------------------------------------------------------------------------------- */

#define AGAIN "label this data set again, or use what these labels were made for"

static ssld_status expect_number(ssld_context *context, const char *path, const char *what, uint64_t found,
                                 uint64_t expected)
{
    if (found == expected)
        return SSLD_OK;
    return ssld_fail(context, SSLD_MISMATCH, "%s: %s is %llu in the store, %llu was expected; " AGAIN, path, what,
                     (unsigned long long)found, (unsigned long long)expected);
}

static ssld_status expect_fingerprint(ssld_context *context, const char *path, const char *what, const uint8_t *found,
                                      const uint8_t *expected)
{
    if (!memcmp(found, expected, 16))
        return SSLD_OK;
    char text[2][33];
    for (int i = 0; i < 32; i++) {
        text[0][i] = "0123456789abcdef"[found[i / 2] >> (i % 2 ? 0 : 4) & 15];
        text[1][i] = "0123456789abcdef"[expected[i / 2] >> (i % 2 ? 0 : 4) & 15];
    }
    text[0][32] = text[1][32] = 0;
    return ssld_fail(context, SSLD_MISMATCH,
                     "%s: made with another %s: its fingerprint is %s in the store, %s was expected; "
                     AGAIN, path, what, text[0], text[1]);
}

ssld_status ssld_header_expect(ssld_context *context, const char *path, const struct ssld_store_header *header,
                               const struct ssld_expected *expected)
{
    const struct {
        const char *what;
        bool        asked;
        uint64_t    found, expected;
    } numbers[] = {
#define NUMBER(field, what) \
    { what, expected->field, (uint64_t)header->field, expected->field ? (uint64_t)*expected->field : 0 }
        NUMBER(classes, "the number of classes"),
        NUMBER(samples, "the number of samples"),
        NUMBER(views, "the number of views a sample"),
        NUMBER(codec, "the codec"),
        NUMBER(top_k, "top_k"),
        NUMBER(shape_rows, "tail_coefficients and one"),
        NUMBER(block_records, "block_records"),
        NUMBER(batch_norm, "the teacher's batch-norm mode"),
        NUMBER(view_seed, "the view seed"),
#undef NUMBER
    };
    ssld_status status = SSLD_OK;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && !status; i++)
        if (numbers[i].asked)
            status = expect_number(context, path, numbers[i].what, numbers[i].found, numbers[i].expected);
    if (!status && expected->kl_bound && *expected->kl_bound != header->kl_bound)
        status = ssld_fail(context, SSLD_MISMATCH, "%s: kl_bound is %g in the store, %g was expected; " AGAIN, path,
                           header->kl_bound, *expected->kl_bound);
    if (!status && expected->dataset_fingerprint)
        status = expect_fingerprint(context, path, "data set", header->dataset_fingerprint,
                                    expected->dataset_fingerprint);
    if (!status && expected->teacher_fingerprint)
        status = expect_fingerprint(context, path, "teacher", header->teacher_fingerprint,
                                    expected->teacher_fingerprint);
    if (!status && expected->view_spec && strcmp(header->view_spec, expected->view_spec))
        status = ssld_fail(context, SSLD_MISMATCH,
                           "%s: the view spec is '%s' in the store, '%s' was expected; " AGAIN, path,
                           header->view_spec, expected->view_spec);
    return status;
}

/* -- Any frame behind the header ---------------------------------------------------------------------------------- */

static void bound_frame_begin(const struct ssld_store_header *header, uint64_t offset, const void *kind, uint64_t size,
                              uint8_t *bytes)
{
    frame_begin(bytes, kind, size);
    ssld_put_u64(bytes + 16, header->link);
    ssld_put_u64(bytes + 24, offset);
}

bool ssld_frame_read(const struct ssld_store_file *file, uint64_t offset, struct ssld_frame *frame)
{
    if (offset > file->size || file->size - offset < PRELUDE_BYTES + CHECKSUM_BYTES)
        return false;
    const uint8_t *bytes = file->bytes + offset;
    uint64_t size = SKIPPABLE_BYTES + (uint64_t)ssld_get_u32(bytes + 4);
    if (ssld_get_u32(bytes) != SKIPPABLE_MAGIC || memcmp(bytes + 8, "SSLD", 4) ||
        ssld_get_u64(bytes + 16) != file->header->link || ssld_get_u64(bytes + 24) != offset ||
        size < PRELUDE_BYTES + CHECKSUM_BYTES || size > file->size - offset || !frame_checksum_right(bytes, size))
        return false;
    /* As in PNG: a kind that begins with a small letter may be skipped by who does not know it. */
    frame->kind = bytes[12] & 0x20 ? SSLD_FRAME_SKIPPED : SSLD_FRAME_UNKNOWN;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (!memcmp(bytes + 8, kinds[i].kind, 8))
            frame->kind = kinds[i].id;
    frame->bytes = bytes;
    frame->size = size;
    return true;
}

/* -- Blocks ------------------------------------------------------------------------------------------------------- */

size_t ssld_block_frame_size(uint32_t runs)
{
    return BLOCK_FIXED + (size_t)runs * RUN_BYTES + CHECKSUM_BYTES;
}

void ssld_block_write(const struct ssld_store_header *header, const struct ssld_block *block,
                      const struct ssld_run *runs, uint8_t *bytes)
{
    size_t size = ssld_block_frame_size(block->runs);
    bound_frame_begin(header, block->offset, kinds[0].kind, size, bytes);
    ssld_put_u32(bytes + 32, block->records);
    ssld_put_u32(bytes + 36, block->runs);
    ssld_put_u32(bytes + 40, block->payload_bytes);
    ssld_put_u32(bytes + 44, block->compressed_bytes);
    ssld_put_u64(bytes + 48, block->checksum);
    ssld_put_u64(bytes + 56, block->model);
    ssld_put_u32(bytes + 64, (uint32_t)block->codec);
    ssld_put_u32(bytes + 68, 0);
    for (uint32_t i = 0; i < block->runs; i++) {
        uint8_t *run = bytes + BLOCK_FIXED + (size_t)i * RUN_BYTES;
        ssld_put_u64(run, runs[i].sample);
        ssld_put_u32(run + 8, runs[i].view);
        ssld_put_u32(run + 12, runs[i].count);
    }
    frame_end(bytes, size);
}

struct ssld_run ssld_block_run(const struct ssld_block *block, uint32_t i)
{
    const uint8_t *bytes = block->run_table + (size_t)i * RUN_BYTES;
    return (struct ssld_run){ .sample = ssld_get_u64(bytes), .block = block->offset, .view = ssld_get_u32(bytes + 8),
                              .count = ssld_get_u32(bytes + 12) };
}

/* Within the store's samples and views, and wholly behind `before` (NULL: the first). */
static bool run_sound(const struct ssld_store_header *header, const struct ssld_run *run, const struct ssld_run *before)
{
    if (run->view >= header->views || run->count < 1 || run->sample >= header->samples ||
        run->count > header->samples - run->sample)
        return false;
    return !before || before->view < run->view ||
           (before->view == run->view && before->sample + before->count <= run->sample);
}

static bool run_table_sound(const struct ssld_store_header *header, const struct ssld_block *block)
{
    uint64_t records = 0;
    struct ssld_run before = { 0 };
    for (uint32_t i = 0; i < block->runs; i++) {
        struct ssld_run run = ssld_block_run(block, i);
        if (!run_sound(header, &run, i ? &before : NULL))
            return false;
        records += run.count;
        before = run;
    }
    return records == block->records;
}

bool ssld_block_read(const struct ssld_store_file *file, uint64_t offset, struct ssld_block *block)
{
    struct ssld_frame frame;
    if (!ssld_frame_read(file, offset, &frame) || frame.kind != SSLD_FRAME_BLOCK ||
        frame.size < ssld_block_frame_size(1))
        return false;
    *block = (struct ssld_block){
        .offset = offset,
        .records = ssld_get_u32(frame.bytes + 32),
        .runs = ssld_get_u32(frame.bytes + 36),
        .payload_bytes = ssld_get_u32(frame.bytes + 40),
        .compressed_bytes = ssld_get_u32(frame.bytes + 44),
        .checksum = ssld_get_u64(frame.bytes + 48),
        .model = ssld_get_u64(frame.bytes + 56),
        .codec = (int32_t)ssld_get_u32(frame.bytes + 64),
        .run_table = frame.bytes + BLOCK_FIXED,
        .compressed = frame.bytes + frame.size,
        .end = offset + frame.size,
    };
    if (block->records > file->header->block_records || block->payload_bytes > file->header->block_bytes ||
        frame.size != ssld_block_frame_size(block->runs) || block->compressed_bytes > file->size - block->end ||
        !run_table_sound(file->header, block))
        return false;
    block->end += block->compressed_bytes;
    return true;
}

/* -- Models ------------------------------------------------------------------------------------------------------- */

size_t ssld_model_frame_size(size_t model_bytes)
{
    return PRELUDE_BYTES + model_bytes + CHECKSUM_BYTES;
}

void ssld_model_frame_write(const struct ssld_store_header *header, uint64_t offset, const uint8_t *model, size_t model_bytes,
                            uint8_t *bytes)
{
    size_t size = ssld_model_frame_size(model_bytes);
    bound_frame_begin(header, offset, kinds[3].kind, size, bytes);
    memcpy(bytes + PRELUDE_BYTES, model, model_bytes);
    frame_end(bytes, size);
}

const uint8_t *ssld_model_frame_content(const struct ssld_frame *frame, size_t *size)
{
    *size = (size_t)frame->size - PRELUDE_BYTES - CHECKSUM_BYTES;
    return frame->bytes + PRELUDE_BYTES;
}

/* -- Mark, index -------------------------------------------------------------------------------------------------- */

void ssld_mark_write(const struct ssld_store_header *header, uint64_t offset, uint8_t bytes[SSLD_MARK_BYTES])
{
    bound_frame_begin(header, offset, kinds[1].kind, SSLD_MARK_BYTES, bytes);
    frame_end(bytes, SSLD_MARK_BYTES);
}

uint64_t ssld_index_size(uint64_t runs, uint64_t models)
{
    uint64_t most = (UINT32_MAX - INDEX_FIXED - TRAILER_BYTES - 8 * SSLD_MOST_MODELS) / SSLD_RUN_ENTRY;
    return runs > most || models > SSLD_MOST_MODELS ? 0 : INDEX_FIXED + models * 8 + runs * SSLD_RUN_ENTRY + TRAILER_BYTES;
}

void ssld_run_entry_write(const struct ssld_run *run, uint8_t *entry)
{
    ssld_put_u64(entry, run->sample);
    ssld_put_u64(entry + 8, run->block);
    ssld_put_u32(entry + 16, run->view);
    ssld_put_u32(entry + 20, run->count);
    ssld_put_u32(entry + 24, run->record);
    ssld_put_u32(entry + 28, 0);
}

struct ssld_run ssld_run_entry_read(const uint8_t *entry)
{
    return (struct ssld_run){ .sample = ssld_get_u64(entry), .block = ssld_get_u64(entry + 8),
                              .view = ssld_get_u32(entry + 16), .count = ssld_get_u32(entry + 20),
                              .record = ssld_get_u32(entry + 24) };
}

void ssld_index_write(const struct ssld_store_header *header, const struct ssld_index *index, const struct ssld_run *runs,
                      const uint64_t *model_offsets, uint8_t *bytes)
{
    uint64_t size = ssld_index_size(index->runs, index->models);
    uint8_t *at = bytes + INDEX_FIXED;
    bound_frame_begin(header, index->offset, kinds[2].kind, size, bytes);
    ssld_put_u64(bytes + 32, index->runs);
    ssld_put_u64(bytes + 40, index->blocks);
    ssld_put_u64(bytes + 48, index->records);
    ssld_put_u64(bytes + 56, index->models);
    ssld_put_u64(bytes + 64, ssld_checksum(bytes, INDEX_FIXED - CHECKSUM_BYTES));
    for (uint64_t i = 0; i < index->models; i++, at += 8)
        ssld_put_u64(at, model_offsets[i]);
    for (uint64_t i = 0; i < index->runs; i++, at += SSLD_RUN_ENTRY)
        ssld_run_entry_write(&runs[i], at);
    ssld_put_u64(bytes + size - TRAILER_BYTES, index->offset);
    memcpy(bytes + size - TRAILER_BYTES + 8, trailer_tag, sizeof trailer_tag);
    frame_end(bytes, size);
}

bool ssld_index_find(const struct ssld_store_file *file, struct ssld_index *index)
{
    if (file->size < file->header->size + INDEX_FIXED + TRAILER_BYTES)
        return false;
    const uint8_t *trailer = file->bytes + file->size - TRAILER_BYTES;
    uint64_t offset = ssld_get_u64(trailer);
    if (memcmp(trailer + 8, trailer_tag, sizeof trailer_tag) || offset < file->header->size ||
        offset > file->size - INDEX_FIXED - TRAILER_BYTES)
        return false;
    const uint8_t *bytes = file->bytes + offset;
    uint64_t size = SKIPPABLE_BYTES + (uint64_t)ssld_get_u32(bytes + 4);
    if (ssld_get_u32(bytes) != SKIPPABLE_MAGIC || memcmp(bytes + 8, kinds[2].kind, 8) ||
        ssld_get_u64(bytes + 16) != file->header->link || ssld_get_u64(bytes + 24) != offset ||
        size != file->size - offset ||
        ssld_checksum(bytes, INDEX_FIXED - CHECKSUM_BYTES) != ssld_get_u64(bytes + INDEX_FIXED - CHECKSUM_BYTES))
        return false;
    *index = (struct ssld_index){ .offset = offset, .size = size, .runs = ssld_get_u64(bytes + 32),
                                  .blocks = ssld_get_u64(bytes + 40), .records = ssld_get_u64(bytes + 48),
                                  .models = ssld_get_u64(bytes + 56), .model_offsets = bytes + INDEX_FIXED };
    if (index->runs > size || index->models > SSLD_MOST_MODELS || ssld_index_size(index->runs, index->models) != size)
        return false;
    index->entries = index->model_offsets + index->models * 8;
    return true;
}

bool ssld_index_intact(const struct ssld_store_file *file, const struct ssld_index *index)
{
    struct ssld_run before = { 0 };
    if (!frame_checksum_right(file->bytes + index->offset, index->size))
        return false;
    for (uint64_t i = 0; i < index->runs; i++) {
        struct ssld_run run = ssld_run_entry_read(index->entries + i * SSLD_RUN_ENTRY);
        if (!run_sound(file->header, &run, i ? &before : NULL) || run.block < file->header->size ||
            run.block >= index->offset)
            return false;
        before = run;
    }
    return true;
}
