# SPDX-License-Identifier: BSD-2-Clause
"""Models, teachers, stores, students: the way from pixels to a trained network, through NumPy."""

from tap import check, check_equal, check_raises, main, test

import os
import signal
import threading

import numpy
import ssld
from helper import Account, floats, folder, images, small_model

SPEC = "normalize(0.286, 0.353)"


def data_and_loader(context, count=16, **options):
    data = ssld.Dataset.from_pixels(context, *images(count))
    return data, ssld.Loader(context, data, ssld.ViewSpec(context, SPEC), **options)


# -- Model ---------------------------------------------------------------------------------------------------------

@test
def zoo_builds_what_it_names():
    names = ssld.zoo()
    check({"PPLCNet_x0_25", "ResNet18", "ResNet50_vd"} <= set(names), "zoo: %s", names)
    with ssld.Context() as context:
        # PaddleClas's table: PPLCNet_x0_25 has 1.5 million parameters.
        info = ssld.Model(context, "PPLCNet_x0_25").info
        check_equal((info.classes, info.channels, info.height, info.width), (1000, 3, 224, 224), "shape")
        check(1.45e6 < info.parameters < 1.55e6 and info.batch_norms > 0 and info.macs > 0, "%s", info)
        check_raises(ssld.NotFoundError, "PPLCNet_x0_25", ssld.Model, context, "PPLCNet_x9")
        check_raises(ssld.InvalidArgumentError, "", ssld.Model, context, "ResNet18", classes=-1)


@test
def saved_model_is_the_same_model():
    with ssld.Context() as context, folder() as path:
        model = small_model(context)
        check_equal(model.name, "PPLCNet_x0_25", "name")
        check_equal(small_model(context).fingerprint, model.fingerprint, "fingerprint of the same seed")
        check(small_model(context, seed=4).fingerprint != model.fingerprint, "another seed, same fingerprint")
        model.save(path + "/m.onnx")
        loaded = ssld.Model.load(context, path + "/m.onnx", height=28)
        with open(path + "/m.onnx", "rb") as file:
            content = file.read()
        from_memory = ssld.Model.load_memory(context, content, name="m", height=28)
        check_equal(loaded.info, model.info, "info after saving and loading")
        check_equal(from_memory.fingerprint, loaded.fingerprint, "fingerprint from memory")
        check_raises(ssld.FormatError, "cut.onnx", ssld.Model.load_memory, context, content[:1000], name="cut.onnx")
        check_raises(ssld.NotFoundError, path + "/none.onnx", ssld.Model.load, context, path + "/none.onnx")
        check_raises(ssld.NotFoundError, path + "/no/m.onnx", model.save, path + "/no/m.onnx")


# -- Teacher -------------------------------------------------------------------------------------------------------

@test
def teacher_predicts_the_hosts_own_pixels():
    with ssld.Context(threads=2) as context, folder() as path:
        model = small_model(context)
        teacher = ssld.Teacher(context, model, batch=8)
        check_equal((teacher.info.classes, teacher.info.height), (4, 28), "the teacher's model")
        pixels = floats(8)
        labels = teacher.predict(ssld.Batch.wrap(context, pixels))
        check_equal((labels.kind, labels.logits.shape), (ssld.LABELS_LOGITS, (8, 4)), "labels")
        logits = labels.logits.copy()
        check(numpy.isfinite(logits).all() and logits.std() > 0, "logits %s", logits)
        same = teacher.predict(ssld.Batch.wrap(context, pixels[:3]), labels)
        check(same is labels and labels.count == 3, "%d rows", labels.count)
        # Smaller batches may be summed in another order.
        check(numpy.allclose(labels.logits, logits[:3], rtol=1e-4, atol=1e-5), "logits depend on the batch")
        model.save(path + "/m.onnx")
        opened = ssld.Teacher.open(context, path + "/m.onnx", batch=8, height=28)
        check_equal(opened.fingerprint, teacher.fingerprint, "fingerprint of the same weights")
        again = opened.predict(ssld.Batch.wrap(context, pixels)).logits
        check(numpy.array_equal(again, logits), "the file's logits differ by up to %g", numpy.abs(again - logits).max())
        batch_mode = ssld.Teacher(context, model, batch=8, batch_norm=ssld.BATCH_NORM_BATCH)
        check(batch_mode.fingerprint != teacher.fingerprint, "the batch-norm mode is not in the fingerprint")


@test
def teacher_refuses_what_does_not_fit():
    with ssld.Context() as context:
        teacher = ssld.Teacher(context, small_model(context), batch=4)
        check_raises(ssld.MismatchError, "", teacher.predict, ssld.Batch.wrap(context, floats(2, height=20, width=20)))
        check_raises(ssld.MismatchError, "", teacher.predict, ssld.Batch.wrap(context, floats(2)),
                     ssld.Labels(context, 2, 5))
        check_raises(TypeError, "expected a ssld.Batch", teacher.predict, floats(2))
        check_raises(ssld.NotFoundError, "/nowhere/t.onnx", ssld.Teacher.open, context, "/nowhere/t.onnx")


@test
def evaluation_counts_what_predict_gets_right():
    with ssld.Context(threads=2) as context:
        data, loader = data_and_loader(context, batch=4)
        teacher = ssld.Teacher(context, small_model(context), batch=4)
        right, loss = 0, 0.0
        for batch in loader.epoch(0):
            labels = teacher.predict(batch)
            classes = batch.labels
            right += (labels.logits.argmax(axis=1) == classes).sum()
            labels.softmax()
            loss -= numpy.log(labels.probabilities[numpy.arange(len(classes)), classes].astype(float)).sum()
        loader.seek(0)
        evaluation = teacher.evaluate(loader)
        check_equal((evaluation.samples, evaluation.top1, evaluation.top5), (16, right / 16, 1.0), "evaluation")
        # Probabilities are floats with a relative error of some 1e-6.
        check(abs(evaluation.loss - loss / 16) < 1e-4, "loss %g, by hand %g", evaluation.loss, loss / 16)


def long_evaluation(context):
    """A teacher and a loader whose epoch takes far longer than the tests below wait."""
    pixels = numpy.zeros((200000, 28, 28), dtype=numpy.uint8)
    data = ssld.Dataset.from_pixels(context, pixels, numpy.zeros(len(pixels), dtype=numpy.int32))
    loader = ssld.Loader(context, data, ssld.ViewSpec(context, SPEC), batch=16)
    return ssld.Teacher(context, small_model(context), batch=16), loader


@test
def cancel_from_another_thread_ends_a_long_call():
    with ssld.Context() as context:
        teacher, loader = long_evaluation(context)
        # The timer's thread runs while the call does: calls release Python's lock.
        timer = threading.Timer(0.2, context.cancel)
        timer.start()
        check_raises(ssld.CancelledError, "cancelled", teacher.evaluate, loader)
        timer.join()


@test
def control_c_ends_a_long_call_and_the_context_goes_on():
    with ssld.Context() as context:
        teacher, loader = long_evaluation(context)
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started us may have had it ignored
        timer.start()
        try:
            teacher.evaluate(loader)
            check(False, "the evaluation was not interrupted")
        except KeyboardInterrupt:
            pass
        timer.join()
        signal.signal(signal.SIGINT, before)
        loader.seek(0)
        batch = ssld.Batch(context)
        check(loader.next(batch) and len(teacher.predict(batch)) == 16, "nothing runs after the interruption")


# -- Store ---------------------------------------------------------------------------------------------------------

def distribution(count, classes, seed=6):
    logits = numpy.random.default_rng(seed).standard_normal((count, classes)).astype(numpy.float32) * 3
    probabilities = numpy.exp(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True)


@test
def store_gives_back_what_was_appended():
    with ssld.Context() as context, folder() as path:
        data, loader = data_and_loader(context, batch=8)
        rows = distribution(16, 4)
        with ssld.StoreWriter(context, path + "/s", 4, 16, views=2, codec=ssld.CODEC_DENSE_F16, view_spec=SPEC,
                              view_seed=5, dataset_fingerprint=data.fingerprint,
                              teacher_fingerprint=bytes(range(16))) as writer:
            check_equal(writer.missing(), ssld.Missing(0, 0, 16), "missing at first")
            for number, batch in enumerate(loader.epoch(0)):
                writer.append(batch, ssld.Labels.wrap_probabilities(context, rows[8 * number:8 * number + 8]))
            writer.commit()
            check_equal((writer.records, writer.missing()), (16, ssld.Missing(1, 0, 16)), "after view 0")
            writer.append_views([3, 1], [1, 1], ssld.Labels.wrap_logits(context, numpy.log(rows[[3, 1]])))
            check_equal(writer.missing(1, 2), ssld.Missing(1, 2, 1), "missing from view 1, sample 2 on")
        store = ssld.Store(context, path + "/s", verify=True, classes=4, samples=16, view_spec=SPEC, view_seed=5,
                           dataset_fingerprint=data.fingerprint, teacher_fingerprint=bytes(range(16)))
        info = store.info
        check_equal((len(store), info.samples, info.views, info.classes, info.codec, info.closed, info.view_seed),
                    (18, 16, 2, 4, ssld.CODEC_DENSE_F16, 1, 5), "info")
        check_equal((info.dataset_fingerprint, info.teacher_fingerprint, store.view_spec),
                    (data.fingerprint, bytes(range(16)), SPEC), "what the store is bound to")
        # ln p as a half float has a relative error of 2^-11 at most, so p one of 2^-11 |ln p|; p |ln p| <= 1/e, and as much
        # again for the sum of a row: below 4e-4.
        for batch in loader.epoch(0):
            got = store.read(batch).probabilities
            check(numpy.abs(got - rows[batch.samples.astype(int)]).max() < 4e-4, "read: %s", got)
        got = store.read_views(numpy.array([1, 3, 1], dtype=numpy.uint64), [1, 1, 0]).probabilities
        check(numpy.abs(got - rows[[1, 3, 1]]).max() < 4e-4, "read_views: %s", got)


@test
def complete_store_misses_nothing_and_resumes():
    with ssld.Context() as context, folder() as path:
        rows = distribution(6, 100)
        labels = ssld.Labels.wrap_probabilities(context, rows)
        with ssld.StoreWriter(context, path + "/s", 100, 8, codec=ssld.CODEC_TOPK, top_k=5, block_records=2,
                              level=9) as writer:
            writer.append_views(range(6), [0] * 6, labels)
        check_raises(ssld.InvalidArgumentError, path + "/s", ssld.StoreWriter, context, path + "/s", 100, 8)
        with ssld.StoreWriter(context, path + "/s", 100, 8, codec=ssld.CODEC_TOPK, top_k=5, resume=True) as writer:
            check_equal(writer.missing(), ssld.Missing(0, 6, 2), "missing after resume")
            writer.append_views([6, 7], [0, 0], ssld.Labels.wrap_probabilities(context, rows[:2]))
            check_equal(writer.missing(), None, "missing at the end")
        store = ssld.Store(context, path + "/s")
        check_equal((len(store), store.info.codec, store.info.top_k), (8, ssld.CODEC_TOPK, 5), "the store")
        got = store.read_views([2], [0]).probabilities[0]
        check_equal(sorted(got.argsort()[-5:]), sorted(rows[2].argsort()[-5:]), "the five most probable classes")


@test
def writer_guards_its_file():
    with ssld.Context() as context, folder() as path:
        writer = ssld.StoreWriter(context, path + "/s", 4, 16)
        check_raises(ssld.BusyError, path + "/s", ssld.StoreWriter, context, path + "/s", 4, 16, resume=True)
        writer.append_views([0], [0], ssld.Labels.wrap_probabilities(context, distribution(1, 4)))
        writer.commit()
        writer.append_views([1], [0], ssld.Labels.wrap_probabilities(context, distribution(1, 4)))
        writer.abandon()
        check(writer.closed, "the writer is not closed")
        check_equal(len(ssld.Store(context, path + "/s")), 1, "records committed before abandon")


@test
def exception_in_the_loop_keeps_what_was_appended():
    with ssld.Context() as context, folder() as path:
        try:
            with ssld.StoreWriter(context, path + "/s", 4, 16) as writer:
                writer.append_views([0, 1], [0, 0], ssld.Labels.wrap_probabilities(context, distribution(2, 4)))
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        check_equal(len(ssld.Store(context, path + "/s")), 2, "records after the interruption")


@test
def store_refuses_what_it_is_not_bound_to():
    with ssld.Context() as context, folder() as path:
        with ssld.StoreWriter(context, path + "/s", 4, 16, view_spec=SPEC, view_seed=1, dataset_fingerprint=b"d" * 16,
                              teacher_fingerprint=b"t" * 16) as writer:
            writer.append_views([0], [0], ssld.Labels.wrap_probabilities(context, distribution(1, 4)))
        for wrong in ({"classes": 5}, {"samples": 17}, {"view_spec": "flip(0.5)"}, {"view_seed": 0},
                      {"dataset_fingerprint": b"e" * 16}, {"teacher_fingerprint": b"e" * 16}):
            check_raises(ssld.MismatchError, path + "/s", ssld.Store, context, path + "/s", **wrong)
        check_raises(ValueError, "expected 16 bytes, got 3", ssld.Store, context, path + "/s", dataset_fingerprint=b"abc")
        store = ssld.Store(context, path + "/s")
        check_raises(ssld.NotFoundError, "", store.read_views, [1], [0])
        check_raises(ssld.MismatchError, "", store.read_views, [0], [0], ssld.Labels(context, 1, 5))
        check_raises(ssld.InvalidArgumentError, "", store.read, ssld.Batch.wrap(context, floats(1)))
        check_raises(ssld.NotFoundError, "/nowhere", ssld.Store, context, "/nowhere/s")
        with open(path + "/foreign", "wb") as file:
            file.write(b"not a store" * 100)
        check_raises(ssld.FormatError, path + "/foreign", ssld.Store, context, path + "/foreign")


# -- Student -------------------------------------------------------------------------------------------------------

@test
def student_learns_from_stored_labels():
    with ssld.Context(threads=2) as context:
        pixels = floats(8)
        batch = ssld.Batch.wrap(context, pixels)
        labels = ssld.Labels.wrap_probabilities(context, distribution(8, 4))
        student = ssld.Student(context, small_model(context), batch=8, loss="soft_ce", learning_rate=0.05,
                               schedule=ssld.SCHEDULE_COSINE, total_steps=30, warmup_steps=2, l2=1e-4, momentum=0.8)
        steps = [student.step(batch, labels) for _ in range(30)]
        check_equal([step.step for step in steps], list(range(1, 31)), "steps")
        check_equal((student.steps, steps[0].top1), (30, -1.0), "steps done, and top-1 without hard labels")
        check(steps[-1].loss < steps[0].loss and steps[-1].learning_rate < 0.01, "%s to %s", steps[0], steps[-1])


@test
def profile_says_where_a_step_goes():
    with ssld.Context() as context:
        data, loader = data_and_loader(context, batch=8)
        student = ssld.Student(context, small_model(context), batch=8, loss="hard_ce")
        check_equal(student.precision, ssld.PRECISION_F32, "the default precision")
        check_equal(student.profile, [], "a profile that was not begun")
        student.profile_begin()
        for batch in loader.epoch(0):
            student.step(batch)
        entries = {(entry.name, entry.direction, entry.stage): entry for entry in student.profile}
        conv = entries["Conv", "forward", ssld.STAGE_FORWARD]
        check(conv.calls > 0 and conv.milliseconds > 0 and conv.gflop > 0 and conv.bytes > 0, "%s", conv)
        check(("Optimizer", "update", ssld.STAGE_UPDATE) in entries, "%s", sorted(entries))
        student.profile_end()
        check_equal(student.profile, [], "a profile that was ended")
        check(student.measure_primitives(1) > 0, "primitives take no time")
        check_raises(ssld.InvalidArgumentError, "0 repeats", student.measure_primitives, 0)
        check(ssld.isa(), "no name for the instructions")


@test
def three_parts_are_one_step():
    with ssld.Context(threads=2) as context:
        hard = numpy.arange(8, dtype=numpy.int32) % 4
        batch = ssld.Batch.wrap(context, floats(8), labels=hard)
        one, other = (ssld.Student(context, small_model(context), batch=8, loss="hard_ce", seed=1) for _ in range(2))
        step = one.step(batch)
        out = numpy.empty((8, 4), dtype=numpy.float32)
        logits = other.forward(batch, out)
        check(logits is out and numpy.isfinite(out).all(), "logits %s", out)
        check_equal(step.top1, (out.argmax(axis=1) == hard).mean(), "top-1")
        check_equal(other.backward(batch), step.loss, "loss")
        other.update()
        check_equal(other.steps, 1, "steps")
        for mine, theirs in zip(one.parameters, other.parameters):
            check(numpy.array_equal(mine.value, theirs.value), "%s differs", mine.name)
        check_equal(one.forward(batch).shape, (8, 4), "shape of logits in a new array")


@test
def accumulated_parts_are_a_step_in_parts():
    with ssld.Context(threads=2) as context:
        hard = numpy.arange(8, dtype=numpy.int32) % 4
        pixels = floats(8)
        options = dict(batch=8, accumulate=2, loss="hard_ce", optimizer=ssld.OPTIMIZER_LARS, ema_decay=0.5)
        one, other = (ssld.Student(context, small_model(context), **options) for _ in range(2))
        step = one.step(ssld.Batch.wrap(context, pixels, labels=hard))
        losses = []
        for first in (0, 4):
            part = ssld.Batch.wrap(context, pixels[first:first + 4], labels=hard[first:first + 4])
            other.forward(part)
            losses.append(other.accumulate(part, scale=0.5))
        other.update()
        check(abs(sum(losses) / 2 - step.loss) < 1e-12 and step.gradient_norm > 0, "%s, losses %s", step, losses)
        check_equal(one.get_model().fingerprint, other.get_model().fingerprint, "the network")
        check_equal(one.get_ema_model().fingerprint, other.get_ema_model().fingerprint, "the average")
        check(one.get_model().fingerprint != one.get_ema_model().fingerprint, "the average is the network itself")
        check_raises(ssld.InvalidArgumentError, "no forward", other.accumulate, part)
        check_raises(ssld.InvalidArgumentError, "ema_decay", ssld.Student(context, small_model(context)).get_ema_model)


@test
def options_of_optimizers_and_schedules_reach_the_library():
    with ssld.Context() as context:
        model = small_model(context)
        batch = ssld.Batch.wrap(context, floats(4), labels=[0, 1, 2, 3])

        def student(**options):
            return ssld.Student(context, model, batch=4, loss="hard_ce", **options)

        got = student(schedule=ssld.SCHEDULE_MULTISTEP, milestones=numpy.array([1, 2]), gamma=0.5, learning_rate=1)
        check_equal([got.step(batch).learning_rate for _ in range(3)], [1, 0.5, 0.25], "rates")
        check_equal(student(optimizer=ssld.OPTIMIZER_ADAMW).step(batch).learning_rate, numpy.float32(0.001), "AdamW's rate")
        for options, part in (({"milestones": [2, 1], "schedule": ssld.SCHEDULE_MULTISTEP}, "1 follows 2"),
                              ({"milestones": [1]}, "milestones is set"), ({"beta1": 0.5}, "beta1 is set"),
                              ({"beta2": 1.5, "optimizer": ssld.OPTIMIZER_ADAMW}, "beta2 is 1.5"),
                              ({"trust": 0.1}, "trust is set"), ({"weight_decay": 0.1}, "weight_decay is set"),
                              ({"ema_decay": 2}, "ema_decay is 2"), ({"clip_norm": -1}, "clip_norm is -1"),
                              ({"clip_value": -1}, "clip_value is -1"), ({"decay_steps": 1}, "decay_steps is set"),
                              ({"parameter_groups": "x: rate=1"}, "no parameter fits 'x'"),
                              ({"rise": 0.5}, "rise is set"), ({"start_divisor": 3}, "start_divisor is set"),
                              ({"final_divisor": 3}, "final_divisor is set"), ({"final_rate": 3}, "final_rate is set"),
                              ({"gamma": 3}, "gamma is set"), ({"epsilon": 3}, "epsilon is set"),
                              ({"nesterov": 2}, "nesterov must be"), ({"accumulate": 3}, "accumulate is 3"),
                              ({"optimizer": 7}, "optimizer is no"), ({"precision": 7}, "precision 7")):
            check_raises(ssld.InvalidArgumentError, part, student, **options)
        check_raises(ssld.InvalidArgumentError, "precision 7", ssld.Teacher, context, model, precision=7)


@test
def parameters_are_read_and_written():
    with ssld.Context() as context:
        batch = ssld.Batch.wrap(context, floats(4), labels=[0, 1, 2, 3])
        model = small_model(context)
        student = ssld.Student(context, model, batch=4, loss="hard_ce", momentum=-1, learning_rate=0.5)
        parameters = student.parameters
        check_equal(sum(parameter.value.size for parameter in parameters), model.info.parameters, "values in all")
        check_equal(len({parameter.name for parameter in parameters}), len(parameters), "different names")
        student.forward(batch)
        student.backward(batch)
        last = parameters[-1]
        before, gradient = last.value, last.gradient
        check(numpy.abs(gradient).max() > 0 and gradient.shape == last.shape, "%r has no gradient", last)
        last.gradient = 2 * gradient
        student.update()
        check(numpy.allclose(last.value, before - 0.5 * 2 * gradient, rtol=1e-5, atol=1e-7), "w - rate * gradient")
        last.value = 0.25
        check(numpy.array_equal(last.value, numpy.full(last.shape, 0.25, dtype=numpy.float32)), "a value written")
        check_raises(ValueError, "", setattr, last, "value", numpy.zeros(last.value.size + 1))


@test
def restored_student_goes_on_as_if_uninterrupted():
    with ssld.Context(threads=2) as context, folder() as path:
        batch = ssld.Batch.wrap(context, floats(8), labels=numpy.arange(8) % 4)

        def make():
            return ssld.Student(context, small_model(context), batch=8, loss="hard_ce", seed=1)

        student = make()
        student.step(batch)
        student.save(path + "/c")
        expected = [student.step(batch) for _ in range(3)]
        again = make()
        again.restore(path + "/c")
        check_equal([again.step(batch) for _ in range(3)], expected, "the steps after")
        other = ssld.Student(context, small_model(context, classes=5), batch=8, loss="hard_ce")
        check_raises(ssld.MismatchError, "", other.restore, path + "/c")
        check_raises(ssld.NotFoundError, path + "/none", other.restore, path + "/none")


@test
def exported_student_predicts_the_same():
    with ssld.Context(threads=2) as context, folder() as path:
        batch = ssld.Batch.wrap(context, floats(8), labels=numpy.arange(8) % 4)
        student = ssld.Student(context, small_model(context), batch=8, loss="hard_ce")
        student.step(batch)
        student.export(path + "/s.onnx")
        logits = ssld.Teacher(context, student.get_model(), batch=8).predict(batch).logits
        exported = ssld.Teacher.open(context, path + "/s.onnx", batch=8, height=28).predict(batch).logits
        check(numpy.array_equal(logits, exported), "logits differ by up to %g", numpy.abs(logits - exported).max())


@test
def student_refuses_what_does_not_fit():
    with ssld.Context() as context:
        model = small_model(context)
        check_raises(ssld.InvalidArgumentError, "entropy", ssld.Student, context, model, loss="entropy")
        student = ssld.Student(context, model, batch=4)
        check_raises(ssld.InvalidArgumentError, "", student.step, ssld.Batch.wrap(context, floats(4)))
        labels = ssld.Labels.wrap_probabilities(context, distribution(4, 5))
        check_raises(ssld.MismatchError, "", student.step, ssld.Batch.wrap(context, floats(4)), labels)
        check_raises(ssld.MismatchError, "", student.step, ssld.Batch.wrap(context, floats(3)),
                     ssld.Labels.wrap_probabilities(context, distribution(3, 4)))
        check_raises(TypeError, "expected a ssld.Labels, got ndarray", student.step, ssld.Batch.wrap(context, floats(4)),
                     distribution(4, 4))
        broken = ssld.Labels.wrap_probabilities(context, numpy.full((4, 4), numpy.nan, dtype=numpy.float32))
        check_raises(ssld.NotFiniteError, "", student.step, ssld.Batch.wrap(context, floats(4)), broken)
        check_equal(student.steps, 0, "steps after refusals")


@test
def everything_made_for_training_is_given_back():
    account = Account()
    with ssld.Context(threads=2, allocator=account.allocator) as context, folder() as path:
        data, loader = data_and_loader(context, batch=8)
        teacher = ssld.Teacher(context, small_model(context), batch=8)
        with ssld.StoreWriter(context, path + "/s", 4, 16) as writer:
            for batch in loader.epoch(0):
                writer.append(batch, teacher.predict(batch))
        store = ssld.Store(context, path + "/s")
        student = ssld.Student(context, small_model(context, seed=9), batch=8)
        losses = [student.step(batch, store.read(batch)).loss for batch in loader.epoch(0)]
        check(numpy.isfinite(losses).all(), "losses %s", losses)
    del data, loader, teacher, writer, store, student, batch
    check_equal(account.out, {}, "what is still out")
    check_equal(account.given_back[-1], 0, "the last to come back; 0 is the context")


main()
