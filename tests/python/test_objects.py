# SPDX-License-Identifier: BSD-2-Clause
"""Contexts, batches, labels: memory is shared and never copied, freed once and in order, and errors are exceptions."""

from tap import check, check_equal, check_raises, main, test

import contextlib
import gc
import io
import threading
import weakref

import numpy
import ssld
from helper import Account, floats


def address(array):
    return array.__array_interface__["data"][0]


# -- Context -------------------------------------------------------------------------------------------------------

@test
def context_has_the_threads_it_was_given():
    with ssld.Context(threads=3) as context:
        check_equal(context.threads, 3, "threads")
    with ssld.Context() as context:
        check(context.threads >= 1, "%d threads", context.threads)


@test
def impossible_context_is_refused():
    check_raises(ssld.InvalidArgumentError, "INVALID_ARGUMENT: a context of -1 threads", ssld.Context, threads=-1)
    check_raises(OverflowError, "threads: 4294967296 does not fit into C's int", ssld.Context, threads=2 ** 32)
    check_raises(TypeError, "", ssld.Context, threads=1.5)


@test
def failed_call_raises_the_librarys_text():
    with ssld.Context() as context:
        check_equal(context.error, "", "text of a fresh context")
        error = check_raises(ssld.InvalidArgumentError, "ssld_labels_create", ssld.Labels, context, 0, 10)
        check_equal(str(error), context.error, "the exception's text")
        check(isinstance(error, ValueError) and error.status == ssld.INVALID_ARGUMENT, "%r", error)


@test
def closed_objects_say_so():
    context = ssld.Context()
    labels = ssld.Labels(context, 2, 3)
    labels.close()
    labels.close()
    check(labels.closed, "labels are not closed")
    check_raises(ValueError, "this Labels is closed", lambda: labels.count)
    context.close()
    check_raises(ValueError, "this Context is closed", ssld.Batch, context)
    check_raises(ValueError, "this Context is closed", context.__enter__)


@test
def wrong_classes_of_arguments_never_reach_c():
    with ssld.Context() as context:
        labels = ssld.Labels(context, 2, 3)
        check_raises(TypeError, "expected a ssld.Context, got Labels", ssld.Batch, labels)
        check_raises(TypeError, "expected a ssld.Context, got NoneType", ssld.Labels, None, 1, 1)


@test
def cancelled_context_runs_again_after_resume():
    with ssld.Context() as context:
        pixels = numpy.zeros((4, 8, 8), dtype=numpy.uint8)
        data = ssld.Dataset.from_pixels(context, pixels)
        loader = ssld.Loader(context, data, ssld.ViewSpec(context, "normalize(0, 1)"), batch=2)
        batch = ssld.Batch(context)
        context.cancel()
        check_raises(ssld.CancelledError, "cancelled", loader.next, batch)
        context.resume()
        loader.seek(0)
        check(loader.next(batch) and batch.count == 2, "%d views after resume", batch.count)


# -- Memory in order -----------------------------------------------------------------------------------------------

@test
def everything_is_given_back_and_the_context_last():
    account = Account()
    context = ssld.Context(allocator=account.allocator)
    batch, labels = ssld.Batch(context), ssld.Labels(context, 4, 10)
    context.close()
    check(account.out, "the context was freed under its objects")
    del context
    batch.close()
    del labels
    check_equal(account.out, {}, "what is still out")
    check_equal(account.given_back[-1], 0, "the last to come back; 0 is the context")


@test
def garbage_cycles_are_freed_in_order():
    for order in range(6):
        account = Account()
        # A cycle through all of them, met by the collector in different orders: Python promises none.
        cycle = []
        context = ssld.Context(allocator=account.allocator)
        made = [context, ssld.Batch(context), ssld.Labels(context, 4, 10)]
        made[1].lend(floats(2))
        views = [made[1].pixels]
        cycle.extend(made[order % 3:] + made[:order % 3] + views)
        cycle.append(cycle)
        if order >= 3:
            cycle.reverse()
        for number, item in enumerate(made):
            item.cycle = cycle if number != order % 3 else [cycle]
        del cycle, context, made, views, item
        gc.collect()
        check_equal(account.out, {}, "what is still out, order %d" % order)
        check_equal(account.given_back[-1], 0, "the last to come back, order %d; 0 is the context" % order)


@test
def every_allocation_may_fail():
    for allowed in range(100):
        account = Account(fail_at=allowed)
        try:
            with ssld.Context(allocator=account.allocator) as context, ssld.Batch(context), ssld.Labels(context, 4, 10):
                done = True
        except ssld.OutOfMemoryError as error:
            check(isinstance(error, MemoryError), "%r", error)
            done = False
        context = None
        gc.collect()
        check_equal(account.out, {}, "what is still out when call %d fails" % allowed)
        if done:
            return
    check(False, "100 allocations for three objects")


@test
def failing_callback_is_a_failed_allocation():
    def alloc(size, alignment):
        raise RuntimeError("alloc raises %d, %d" % (size, alignment))

    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        check_raises(ssld.OutOfMemoryError, "OUT_OF_MEMORY", ssld.Context, allocator=(alloc, lambda memory: None))
    check("RuntimeError: alloc raises" in printed.getvalue(), "printed: %s", printed.getvalue())


# -- Batch ---------------------------------------------------------------------------------------------------------

@test
def wrapped_array_is_the_batchs_memory():
    with ssld.Context() as context:
        pixels = floats(5, channels=3, height=6, width=4)
        samples = numpy.arange(5, dtype=numpy.uint64) + 2 ** 40
        batch = ssld.Batch.wrap(context, pixels, samples, views=7, labels=[1, -1, 0, 2, 3])
        check_equal((batch.count, len(batch), batch.shape), (5, 5, (3, 6, 4)), "count and shape")
        check_equal((address(batch.pixels), batch.pixels.shape, batch.pixels.dtype), (address(pixels), pixels.shape,
                                                                                     numpy.dtype("float32")), "pixels")
        check_equal(address(batch.samples), address(samples), "address of samples")
        pixels[4, 2, 5, 3] = 42
        check_equal(batch.pixels[4, 2, 5, 3], 42, "a pixel changed by the host")
        check_equal(batch.views.tolist(), [7] * 5, "views")
        check_equal(batch.labels.tolist(), [1, -1, 0, 2, 3], "labels")
        check(not batch.pixels.flags.writeable, "the view is writable")


@test
def empty_batch_has_no_arrays():
    with ssld.Context() as context:
        batch = ssld.Batch(context)
        check_equal((batch.count, batch.pixels), (0, None), "an empty batch")
        check_equal((batch.samples, batch.views, batch.labels), (None, None, None), "its arrays")
        batch.lend(floats(2))
        check_equal((batch.samples, batch.views, batch.labels), (None, None, None), "what was not lent")


@test
def arrays_that_would_need_a_copy_are_refused():
    with ssld.Context() as context:
        batch = ssld.Batch(context)
        pixels = floats(4)
        for wrong, part in ((pixels.astype(numpy.float64), "got an array of float64"),
                            (pixels[::2, :, ::2], "not C-contiguous"), (pixels[0], "got an array of float32, shape (1, 28"),
                            (pixels.tolist(), "got list"), (pixels.astype(">f4"), "got an array of >f4")):
            error = check_raises(TypeError, "pixels: expected a C-contiguous float32 array (N, C, H, W)", batch.lend, wrong)
            check(part in str(error), "%s", error)
        check_raises(ValueError, "samples: expected 4 numbers, got 3", batch.lend, pixels, samples=[1, 2, 3])
        check_raises(OverflowError, "samples: a number does not fit into uint64", batch.lend, pixels, samples=[-1, 0, 0, 0])
        check_raises(OverflowError, "views: 4294967296 does not fit", batch.lend, pixels, views=2 ** 32)
        check_raises(TypeError, "labels: expected integers", batch.lend, pixels, labels=[0.5] * 4)
        check_raises(ssld.InvalidArgumentError, "ssld_batch_wrap: 0 views", batch.lend, pixels[:0])
        check_equal(batch.count, 0, "views after refusals")


@test
def lent_array_lives_as_long_as_it_is_needed():
    with ssld.Context() as context:
        batch = ssld.Batch(context)
        pixels = floats(2)
        alive = weakref.ref(pixels)
        batch.lend(pixels)
        del pixels
        gc.collect()
        check(alive() is not None, "the array is gone while the batch has it")
        seen = batch.pixels
        batch.lend(floats(3))
        gc.collect()
        check(alive() is not None, "the array is gone while a view has it")
        del seen
        gc.collect()
        check(alive() is None, "nobody needs the array, but it is kept")


# -- Labels --------------------------------------------------------------------------------------------------------

@test
def logits_and_probabilities_are_not_mixed_up():
    with ssld.Context() as context:
        logits = numpy.array([[0, 0, 0], [1000, 0, -1000]], dtype=numpy.float32)
        labels = ssld.Labels.wrap_logits(context, logits)
        check_equal((labels.kind, labels.count, len(labels), labels.capacity, labels.classes),
                    (ssld.LABELS_LOGITS, 2, 2, 2, 3), "labels")
        check_equal(address(labels.logits), address(logits), "address of the logits")
        check(labels.probabilities is None, "logits taken for probabilities")
        labels.softmax()
        check(labels.logits is None and labels.kind == ssld.LABELS_PROBABILITIES, "kind %d", labels.kind)
        check_equal(labels.probabilities[1].tolist(), [1, 0, 0], "softmax of far logits")
        check_equal(logits[1].tolist(), [1000, 0, -1000], "the host's logits")
        labels.lend_probabilities(numpy.full((1, 3), 1 / 3, dtype=numpy.float32))
        check_equal((labels.kind, labels.count), (ssld.LABELS_PROBABILITIES, 1), "after lending probabilities")
        check_equal(ssld.Labels.wrap_probabilities(context, labels.probabilities.copy()).kind, ssld.LABELS_PROBABILITIES,
                    "kind of wrapped probabilities")


@test
def labels_refuse_what_does_not_fit():
    with ssld.Context() as context:
        labels = ssld.Labels(context, 2, 3)
        check_equal((labels.kind, labels.logits, labels.probabilities), (ssld.LABELS_EMPTY, None, None), "empty labels")
        check_raises(ssld.InvalidArgumentError, "empty", labels.softmax)
        check_raises(ssld.InvalidArgumentError, "1 to 2", labels.lend_logits, numpy.zeros((3, 3), dtype=numpy.float32))
        check_raises(ValueError, "4 columns, these labels have 3 classes", labels.lend_logits,
                     numpy.zeros((2, 4), dtype=numpy.float32))
        check_raises(TypeError, "float64", labels.lend_probabilities, numpy.zeros((2, 3)))


@test
def array_outlives_closed_labels():
    account = Account()
    with ssld.Context(allocator=account.allocator) as context:
        labels = ssld.Labels.wrap_logits(context, numpy.zeros((8, 2), dtype=numpy.float32))
        labels.softmax()
        seen = labels.probabilities[3:]
        labels.close()
    check(account.out, "freed under an array")
    check_equal(seen.tolist(), [[0.5, 0.5]] * 5, "values after close")
    del seen
    check_equal(account.out, {}, "what is still out")


@test
def handles_survive_many_threads():
    account = Account()
    context = ssld.Context(allocator=account.allocator)

    def work():
        for _ in range(200):
            labels = ssld.Labels(context, 2, 2)
            labels.lend_logits(numpy.zeros((2, 2), dtype=numpy.float32))
            labels.softmax()
            view = labels.probabilities
            labels.close()
            del view

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    context.close()
    check_equal(account.out, {}, "what is still out")


main()
