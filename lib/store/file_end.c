/* SPDX-License-Identifier: BSD-2-Clause */
/* file_end.c - the end of a store's file: what is written goes there, and is cut off again if it could not be written
 * whole; commit makes it durable and says so with a mark. */
#include <errno.h>
#include <unistd.h>

#include "core/file.h"
#include "store/writer.h"

ssld_status ssld_writer_fail(ssld_store_writer *writer, const char *verb)
{
    if (errno == EFBIG) /* a limit of the process or of the file system: to the caller it is a full disk */
        return ssld_fail(writer->context, SSLD_NO_SPACE,
                         "%s: cannot %s: the file would grow past the size limit of this process or file system; raise it "
                         "(ulimit -f) and go on", writer->path, verb);
    return ssld_fail_errno(writer->context, writer->path, verb);
}

ssld_status ssld_writer_sync(ssld_store_writer *writer)
{
    if (writer->sync_failed)
        return ssld_fail(writer->context, SSLD_IO,
                         "%s: the system could not write what it had accepted; open the store again "
                         "with SSLD_STORE_RESUME", writer->path);
    if (!fdatasync(writer->descriptor))
        return SSLD_OK;
    writer->sync_failed = true;
    return ssld_writer_fail(writer, "sync");
}

/* What is behind the end goes before the first write, not earlier: a store that is opened and left is not touched. */
static ssld_status cut_to_end(ssld_store_writer *writer)
{
    if (writer->file_size == writer->end)
        return SSLD_OK;
    if (ftruncate(writer->descriptor, (off_t)writer->end))
        return ssld_writer_fail(writer, "cut the end off");
    writer->file_size = writer->end;
    writer->indexed = false;
    return ssld_writer_sync(writer);
}

/* Write at the end. A failure leaves the file as it was, as far as the system lets it. */
ssld_status ssld_writer_write(ssld_store_writer *writer, const void *bytes, size_t size)
{
    ssld_status status = cut_to_end(writer);
    if (status)
        return status;
    if (lseek(writer->descriptor, (off_t)writer->end, SEEK_SET) < 0 ||
        ssld_write_all(writer->descriptor, bytes, size)) {
        status = ssld_writer_fail(writer, "write");
        /* If this fails too, the next write's cut_to_end() tries it again. */
        if (ftruncate(writer->descriptor, (off_t)writer->end))
            writer->file_size = UINT64_MAX;
        return status;
    }
    writer->end += size;
    writer->file_size = writer->end;
    return SSLD_OK;
}

/* `least`: labels that a model may be fitted to. */
ssld_status ssld_writer_make_durable(ssld_store_writer *writer, size_t least)
{
    ssld_status status = ssld_writer_settle_lesson(writer, least);
    if (!status)
        status = ssld_writer_flush(writer);
    if (status || writer->durable == writer->end)
        return status;
    status = ssld_writer_sync(writer);
    if (!status)
        writer->durable = writer->end;
    return status;
}

ssld_status ssld_store_writer_commit(ssld_store_writer *writer)
{
    uint64_t before = writer->durable;
    ssld_status status = ssld_writer_make_durable(writer, (writer->lesson.wanted + 1) / 2);
    if (status || writer->durable == before)
        return status;
    /* The mark tells a later recovery what must be whole. It only says what is so already: without it nothing is lost. */
    uint8_t mark[SSLD_MARK_BYTES];
    ssld_mark_write(&writer->header, writer->end, mark);
    if (!ssld_writer_write(writer, mark, sizeof mark))
        writer->durable = writer->end;
    return SSLD_OK;
}

ssld_status ssld_writer_write_index(ssld_store_writer *writer)
{
    ssld_context *context = writer->context;
    struct ssld_index index = { .offset = writer->end, .runs = writer->list.count, .blocks = writer->blocks,
                                .records = writer->records, .models = writer->model_frames };
    uint64_t size = ssld_index_size(index.runs, index.models);
    if (!size) {
        ssld_log(context, SSLD_LOG_WARNING, "%s: too many runs for an index; opening the store will walk its blocks",
                 writer->path);
        return SSLD_OK;
    }
    ssld_status status = ssld_run_list_sort(context, writer->path, &writer->list);
    uint8_t *bytes = status ? NULL : ssld_alloc(context, (size_t)size);
    if (status || !bytes)
        return status ? status : ssld_fail_memory(context, "a store's index", (size_t)size);
    ssld_index_write(&writer->header, &index, writer->list.runs, writer->model_offsets, bytes);
    status = ssld_writer_write(writer, bytes, (size_t)size);
    ssld_free(context, bytes);
    return status ? status : ssld_writer_sync(writer);
}
