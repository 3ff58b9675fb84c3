/* SPDX-License-Identifier: BSD-2-Clause */
/* onnx_files.h - what tests of the ONNX part share: small files built by hand, files read back, graphs compared. */
#ifndef SSLD_TESTS_GRAPH_ONNX_FILES_H
#define SSLD_TESTS_GRAPH_ONNX_FILES_H

#include "test.h"

#include <unistd.h>

#include "core/file.h"
#include "core/philox.h"
#include "onnx/onnx.h"
#include "onnx_builder.h"

static inline ssld_context *make_context(void)
{
    ssld_context *context = NULL;
    ssld_status status = ssld_context_create(NULL, &context);
    CHECK(status == SSLD_OK, "status %d", status);
    return context;
}

/* A graph that starts with x (N, 2, 6, 6), for nodes that lead to "y". */
static inline struct bytes start(void)
{
    struct bytes graph = { NULL, 0 };
    put_graph_input(&graph, "x", 4, (int64_t[]){ 0, 2, 6, 6 });
    return graph;
}

/* The small files of the tests are where fuzzing starts: SSLD_CORPUS=FOLDER/PREFIX writes them, as they stand in
 * tests/graph/corpus. */
static inline void keep_for_corpus(const struct bytes *model)
{
    static int number;
    const char *folder = getenv("SSLD_CORPUS");
    char path[1024];
    if (!folder || model->size > 4096)
        return;
    snprintf(path, sizeof path, "%s-%03d.onnx", folder, number++);
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(model->data, 1, model->size, file) == model->size && !fclose(file), "cannot write %s", path);
}

static inline ssld_status read_model(ssld_context *context, struct bytes *graph, int64_t opset, struct ssld_graph **read)
{
    put_graph_output(graph, "y");
    struct bytes model = finish_model(graph, opset);
    keep_for_corpus(&model);
    ssld_status status = ssld_onnx_read(context, model.data, model.size, "test.onnx", 6, 6, read);
    free(model.data);
    return status;
}

/* Kinds of a small graph's nodes as text: "Conv Relu Gemm". Valid until the next call. */
static inline const char *kinds_of(const struct ssld_graph *graph)
{
    static char text[1024];
    text[0] = 0;
    for (int32_t n = 0; n < graph->node_count; n++) {
        strcat(text, n ? " " : "");
        strcat(text, ssld_ops[graph->nodes[n].kind].name);
    }
    return text;
}

static inline void make_folder(char folder[64])
{
    strcpy(folder, "/tmp/ssld-onnx-XXXXXX");
    CHECK(mkdtemp(folder), "no folder");
}

static inline struct ssld_graph *read_file(ssld_context *context, const char *path, struct ssld_map *map)
{
    struct ssld_graph *graph = NULL;
    CHECK_OK(context, ssld_map_open(context, path, map));
    CHECK_OK(context, ssld_onnx_read(context, map->bytes, map->size, path, 224, 224, &graph));
    CHECK_OK(context, ssld_graph_check(graph));
    return graph;
}

static inline void check_same_graph(const struct ssld_graph *a, const struct ssld_graph *b)
{
    CHECK(a->node_count == b->node_count && !strcmp(a->name, b->name), "%s has %d nodes, not %d", b->name, b->node_count,
          a->node_count);
    for (int32_t n = 0; n < a->node_count; n++) {
        const struct ssld_node *first = &a->nodes[n], *second = &b->nodes[n];
        CHECK(first->kind == second->kind && !memcmp(&first->attributes, &second->attributes, sizeof first->attributes) &&
                  !strcmp(first->name, second->name) && first->input_count == second->input_count, "node '%s' differs",
              first->name);
        for (int32_t i = 0; i < first->input_count; i++) {
            const struct ssld_value *from = &a->values[first->inputs[i]], *to = &b->values[second->inputs[i]];
            CHECK(!strcmp(from->name, to->name) && from->role == to->role && from->no_decay == to->no_decay &&
                      !memcmp(from->dims, to->dims, sizeof from->dims), "input '%s' of '%s' differs", from->name, first->name);
            CHECK(!from->data || !memcmp(from->data, to->data, (size_t)ssld_value_elements(from) * sizeof(float)),
                  "data of '%s' differs", from->name);
        }
    }
}

/* -- Damage ------------------------------------------------------------------------------------------------------- */

static inline bool is_a_verdict(ssld_status status)
{
    return status == SSLD_OK || status == SSLD_FORMAT || status == SSLD_UNSUPPORTED;
}

/* One to eight bytes changed, inserted or taken out, by a stream that is the same every time. */
static inline struct bytes damage(const struct bytes *model, uint64_t number)
{
    struct ssld_stream stream = ssld_stream_start(2024, number, 0, 0);
    struct bytes damaged = { malloc(model->size + 8), model->size };
    memcpy(damaged.data, model->data, model->size);
    uint32_t edits = 1 + ssld_stream_below(&stream, 8);
    for (uint32_t i = 0; i < edits; i++) {
        uint32_t at = ssld_stream_below(&stream, (uint32_t)damaged.size), kind = ssld_stream_below(&stream, 4);
        uint8_t byte = (uint8_t)ssld_stream_word(&stream);
        if (kind == 0) {
            memmove(damaged.data + at + 1, damaged.data + at, damaged.size++ - at);
            damaged.data[at] = byte;
        } else if (kind == 1 && damaged.size > 1) {
            memmove(damaged.data + at, damaged.data + at + 1, --damaged.size - at);
        } else if (kind == 2) {
            damaged.data[at] = byte;
        } else {
            damaged.data[at] ^= (uint8_t)(1u << (byte & 7));
        }
    }
    return damaged;
}

/* Read so many files damaged each in its own way: every one gets a graph or a verdict. Returns how many were read. */
static inline int read_damaged(const struct bytes *model, uint64_t count)
{
    ssld_context *context = make_context();
    int read = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct bytes damaged = damage(model, i);
        struct ssld_graph *graph = NULL;
        ssld_status status = ssld_onnx_read(context, damaged.data, damaged.size, "damaged.onnx", 6, 6, &graph);
        CHECK(is_a_verdict(status), "damage %llu: %s", (unsigned long long)i, ssld_status_name(status));
        CHECK((status == SSLD_OK) == (graph != NULL), "damage %llu: a graph or a failure, not both", (unsigned long long)i);
        if (graph) {
            read++;
            CHECK_OK(context, ssld_graph_check(graph));
        }
        ssld_graph_destroy(graph);
        free(damaged.data);
    }
    ssld_context_destroy(context);
    return read;
}

#endif
