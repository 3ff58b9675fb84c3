# SPDX-License-Identifier: BSD-2-Clause
"""libssld's interface as ctypes sees it: structs, functions, constants, as they stand in include/ssld/*.h.

tests/python/test_interface.py reads the headers and holds every row here to them: layouts, signatures, values.
"""

from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint8,
                    c_uint32, c_uint64, c_void_p)

# -- Constants, without their SSLD_ --------------------------------------------------------------------------------

CONSTANTS = {
    "OK": 0, "END": 1,
    "INVALID_ARGUMENT": -10, "UNSUPPORTED": -11, "MISMATCH": -12, "OUT_OF_MEMORY": -20, "IO": -30, "NOT_FOUND": -31,
    "BUSY": -32, "NO_SPACE": -33, "CORRUPT": -40, "FORMAT": -41, "CANCELLED": -50, "NOT_FINITE": -51, "BACKEND": -60,
    "INTERNAL": -90,
    "LOG_SILENT": 0, "LOG_WARNING": 1, "LOG_INFO": 2,
    "VARIANT_STANDARD": 0, "VARIANT_SMALL": 1,
    "BATCH_NORM_EVAL": 0, "BATCH_NORM_BATCH": 1,
    "AVERAGE_LOGITS": 0, "AVERAGE_PROBABILITIES": 1,
    "VERDICT_GOOD": 0, "VERDICT_DOUBTFUL": 1, "VERDICT_BAD": 2,
    "FINDING_NOT_FINITE": 1, "FINDING_UNIFORM": 2, "FINDING_CONSTANT": 4, "FINDING_CERTAIN": 8, "FINDING_TOP1": 16,
    "FINDING_PIXELS": 32, "FINDING_PLAIN_PIXELS": 64,
    "ORDER_DATASET": 0, "ORDER_SHUFFLED": 1, "MIX_NONE": 0, "MIX_BLEND": 1, "MIX_BOX": 2,
    "LAST_KEEP": 0, "LAST_DROP": 1,
    "MANIFEST_KEEP": 0, "MANIFEST_CHECK": 1, "MANIFEST_NONE": 2,
    "BAD_STOP": 0, "BAD_SKIP": 1,
    "CACHE_AUTO": 0, "CACHE_FILES": 1, "CACHE_PIXELS": 2,
    "PRIORITY_LOW": 0, "PRIORITY_NORMAL": 1,
    "LABELS_EMPTY": 0, "LABELS_LOGITS": 1, "LABELS_PROBABILITIES": 2,
    "CODEC_AUTO": 0, "CODEC_DENSE_F32": 1, "CODEC_DENSE_F16": 2, "CODEC_DENSE_LOG8": 3, "CODEC_TOPK": 4,
    "TAIL_AUTO": 0, "TAIL_UNIFORM": 1, "TAIL_LEARNED": 2,
    "STORE_CREATE": 0, "STORE_RESUME": 1,
    "STORE_ERROR": 0, "STORE_REUSE": 1, "STORE_SKIP": 2,
    "ROW_STORED": 0, "ROW_REUSED": 1, "ROW_MISSING": 2, "ROW_DAMAGED": 3,
    "SCHEDULE_CONSTANT": 0, "SCHEDULE_COSINE": 1, "SCHEDULE_STEP": 2, "SCHEDULE_MULTISTEP": 3, "SCHEDULE_ONE_CYCLE": 4,
    "OPTIMIZER_SGD": 0, "OPTIMIZER_ADAMW": 1, "OPTIMIZER_LARS": 2,
    "PRECISION_DEFAULT": 0, "PRECISION_F32": 1, "PRECISION_BF16": 2, "PRECISION_AUTO": 3,
    "PARAMETER_VALUE": 0, "PARAMETER_GRADIENT": 1,
    "STAGE_FORWARD": 0, "STAGE_BACKWARD": 1, "STAGE_UPDATE": 2,
}

# -- Structs -------------------------------------------------------------------------------------------------------

LogFunction = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
AllocFunction = CFUNCTYPE(c_void_p, c_void_p, c_size_t, c_size_t)
FreeFunction = CFUNCTYPE(None, c_void_p, c_void_p)
Fingerprint = c_uint8 * 16


class Allocator(Structure):
    _fields_ = [("user", c_void_p), ("alloc", AllocFunction), ("free", FreeFunction)]


class ContextOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("threads", c_int32), ("log_level", c_int32), ("log", LogFunction),
                ("log_user", c_void_p), ("allocator", Allocator), ("image_pixels_limit", c_int64), ("image_bytes_limit", c_int64)]


class ModelOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("classes", c_int32), ("channels", c_int32), ("height", c_int32),
                ("width", c_int32), ("variant", c_int32), ("dropout", c_float), ("seed", c_uint64)]


class ModelLoadOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("height", c_int32), ("width", c_int32), ("memory_limit", c_uint64)]


class Layer(Structure):
    _fields_ = [("struct_size", c_size_t), ("name", c_char_p), ("kind", c_char_p), ("output", c_char_p),
                ("parameters", c_int64), ("buffers", c_int64), ("macs", c_int64), ("group", c_int32), ("ndims", c_int32),
                ("dims", c_int64 * 8), ("kernel", c_int32 * 2), ("strides", c_int32 * 2)]


class ModelInfo(Structure):
    _fields_ = [("struct_size", c_size_t), ("classes", c_int32), ("channels", c_int32), ("height", c_int32),
                ("width", c_int32), ("nodes", c_int32), ("batch_norms", c_int32), ("parameters", c_int64),
                ("buffers", c_int64), ("macs", c_int64)]


class TeacherOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("batch", c_int32), ("batch_norm", c_int32), ("threads", c_int32),
                ("height", c_int32), ("width", c_int32), ("precision", c_int32), ("output_count", c_int32),
                ("padding", c_int32), ("outputs", c_void_p)]


class EnsembleOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("average", c_int32), ("padding", c_int32), ("weights", POINTER(c_float))]


class Output(Structure):
    _fields_ = [("struct_size", c_size_t), ("name", c_char_p), ("data", c_void_p), ("ndims", c_int32), ("padding", c_int32),
                ("dims", c_int64 * 8)]


class TeacherVerdict(Structure):
    _fields_ = [("struct_size", c_size_t), ("verdict", c_int32), ("findings", c_int32), ("views", c_uint64),
                ("labelled", c_uint64), ("top1", c_double), ("chance", c_double), ("entropy", c_double),
                ("entropy_most", c_double), ("information", c_double), ("pixel_least", c_double), ("pixel_most", c_double),
                ("pixel_mean", c_double), ("pixel_deviation", c_double)]


class Evaluation(Structure):
    _fields_ = [("struct_size", c_size_t), ("samples", c_uint64), ("top1", c_double), ("top5", c_double),
                ("loss", c_double)]


class DatasetOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("root", c_char_p), ("limit", c_uint64), ("classes", c_int32),
                ("hash_contents", c_int32), ("manifest_path", c_char_p), ("manifest", c_int32), ("padding", c_int32)]


class Sample(Structure):
    _fields_ = [("struct_size", c_size_t), ("bytes", c_void_p), ("size", c_size_t), ("height", c_int32), ("width", c_int32),
                ("token", c_void_p), ("text", c_char * 256)]


ReadFunction = CFUNCTYPE(c_int32, c_void_p, c_uint64, POINTER(Sample))
ReleaseFunction = CFUNCTYPE(None, c_void_p, c_uint64, c_void_p)


class DatasetSource(Structure):
    _fields_ = [("struct_size", c_size_t), ("read", ReadFunction), ("release", ReleaseFunction), ("user", c_void_p),
                ("count", c_uint64), ("labels", c_void_p), ("classes", c_int32), ("image", c_int32 * 3),
                ("fingerprint", Fingerprint)]


class LoaderOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("batch", c_int32), ("order", c_int32), ("last", c_int32),
                ("threads", c_int32), ("prefetch", c_int32), ("views", c_uint32), ("first_view", c_uint32),
                ("bad", c_int32), ("view_seed", c_uint64), ("order_seed", c_uint64), ("cache_bytes", c_uint64),
                ("cache", c_int32), ("priority", c_int32), ("rank", c_int32), ("ranks", c_int32),
                ("profile", c_int32), ("padding", c_int32)]


class LoaderStatistics(Structure):
    _fields_ = [("struct_size", c_size_t), ("batches", c_uint64), ("images", c_uint64), ("skipped", c_uint64),
                ("bytes_read", c_uint64), ("cache_hits", c_uint64), ("cache_images", c_uint64), ("cache_bytes", c_uint64),
                ("wait_seconds", c_double), ("read_seconds", c_double), ("render_seconds", c_double),
                ("rendered", c_uint64), ("decode_seconds", c_double), ("resample_seconds", c_double), ("augment_seconds", c_double),
                ("write_seconds", c_double)]


class BadImage(Structure):
    _fields_ = [("struct_size", c_size_t), ("sample", c_uint64), ("status", c_int32), ("padding", c_int32),
                ("text", c_char_p)]


class ViewMix(Structure):
    _fields_ = [("struct_size", c_size_t), ("partner", c_uint64), ("share", c_double), ("kind", c_int32), ("top", c_int32),
                ("left", c_int32), ("height", c_int32), ("width", c_int32), ("padding", c_int32)]


class StoreWriterOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("mode", c_int32), ("classes", c_int32), ("samples", c_uint64),
                ("views", c_uint32), ("codec", c_int32), ("top_k", c_int32), ("batch_norm", c_int32),
                ("view_seed", c_uint64), ("view_spec", c_char_p), ("dataset_fingerprint", Fingerprint),
                ("teacher_fingerprint", Fingerprint), ("block_records", c_int32), ("level", c_int32), ("tail", c_int32),
                ("tail_coefficients", c_int32), ("kl_bound", c_double), ("learn_records", c_int32), ("padding", c_int32),
                ("model_from", c_char_p)]


class StoreRange(Structure):
    _fields_ = [("struct_size", c_size_t), ("sample", c_uint64), ("sample_count", c_uint64), ("view", c_uint32),
                ("view_count", c_uint32)]


class StoreOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("verify", c_int32), ("classes", c_int32), ("samples", c_uint64),
                ("view_spec", c_char_p), ("view_seed", POINTER(c_uint64)), ("dataset_fingerprint", POINTER(c_uint8)),
                ("teacher_fingerprint", POINTER(c_uint8)), ("missing", c_int32), ("damaged", c_int32)]


class StoreInfo(Structure):
    _fields_ = [("struct_size", c_size_t), ("file_bytes", c_uint64), ("records", c_uint64), ("samples", c_uint64),
                ("views", c_uint32), ("classes", c_int32), ("codec", c_int32), ("top_k", c_int32),
                ("batch_norm", c_int32), ("closed", c_int32), ("blocks", c_uint64), ("view_seed", c_uint64),
                ("dataset_fingerprint", Fingerprint), ("teacher_fingerprint", Fingerprint), ("tail", c_int32),
                ("tail_coefficients", c_int32), ("kl_bound", c_double), ("files", c_int32), ("models", c_int32)]


class StoreSizes(Structure):
    _fields_ = [("struct_size", c_size_t), ("classes", c_uint64), ("values", c_uint64), ("tail", c_uint64),
                ("statistics", c_uint64), ("offsets", c_uint64), ("model", c_uint64), ("index", c_uint64),
                ("framing", c_uint64), ("file_bytes", c_uint64)]


class StoreStatistics(Structure):
    _fields_ = [("struct_size", c_size_t), ("rows", c_uint64), ("reused", c_uint64), ("missing", c_uint64),
                ("damaged", c_uint64)]


class StoreDamage(Structure):
    _fields_ = [("struct_size", c_size_t), ("path", c_char_p), ("offset", c_uint64), ("records", c_uint64),
                ("sample", c_uint64), ("view", c_uint32), ("padding", c_int32), ("text", c_char_p)]


StoreDamageFunction = CFUNCTYPE(None, c_void_p, POINTER(StoreDamage))


class StudentOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("batch", c_int32), ("threads", c_int32), ("loss", c_char_p),
                ("learning_rate", c_float), ("momentum", c_float), ("l2", c_float), ("schedule", c_int32),
                ("total_steps", c_uint64), ("warmup_steps", c_uint64), ("seed", c_uint64), ("optimizer", c_int32),
                ("nesterov", c_int32), ("beta1", c_float), ("beta2", c_float), ("epsilon", c_float),
                ("weight_decay", c_float), ("trust", c_float), ("ema_decay", c_float), ("clip_norm", c_float),
                ("clip_value", c_float), ("parameter_groups", c_char_p), ("decay_steps", c_uint64),
                ("milestones", POINTER(c_uint64)), ("milestone_count", c_int32), ("gamma", c_float),
                ("final_rate", c_float), ("rise", c_float), ("start_divisor", c_float), ("final_divisor", c_float),
                ("accumulate", c_int32), ("precision", c_int32)]


class Step(Structure):
    _fields_ = [("struct_size", c_size_t), ("step", c_uint64), ("loss", c_double), ("learning_rate", c_double),
                ("top1", c_double), ("gradient_norm", c_double)]


class ProfileEntry(Structure):
    _fields_ = [("struct_size", c_size_t), ("name", c_char_p), ("direction", c_char_p), ("stage", c_int32),
                ("padding", c_int32), ("calls", c_int64), ("milliseconds", c_double), ("gflop", c_double),
                ("bytes", c_int64)]


# C's name of each struct.
STRUCTS = {
    "ssld_allocator": Allocator, "ssld_context_options": ContextOptions, "ssld_model_options": ModelOptions,
    "ssld_model_load_options": ModelLoadOptions, "ssld_model_info": ModelInfo, "ssld_teacher_options": TeacherOptions,
    "ssld_layer": Layer, "ssld_ensemble_options": EnsembleOptions, "ssld_output": Output,
    "ssld_teacher_verdict": TeacherVerdict, "ssld_evaluation": Evaluation, "ssld_dataset_options": DatasetOptions,
    "ssld_sample": Sample, "ssld_dataset_source": DatasetSource, "ssld_loader_options": LoaderOptions,
    "ssld_loader_statistics": LoaderStatistics, "ssld_bad_image": BadImage,
    "ssld_view_mix": ViewMix,
    "ssld_store_writer_options": StoreWriterOptions, "ssld_store_options": StoreOptions, "ssld_store_info": StoreInfo,
    "ssld_store_range": StoreRange, "ssld_store_sizes": StoreSizes, "ssld_store_statistics": StoreStatistics,
    "ssld_store_damage": StoreDamage,
    "ssld_student_options": StudentOptions, "ssld_step": Step,
    "ssld_profile_entry": ProfileEntry,
}

# The function that sets each options struct to its defaults.
OPTIONS_INIT = {struct: name + "_init" for name, struct in STRUCTS.items() if name.endswith(("_options", "_source"))}

# -- Functions -----------------------------------------------------------------------------------------------------

# Handles and arrays of numbers are addresses; a handle that is given back is the address of one.
handle = address = c_void_p
receives_handle = POINTER(c_void_p)
receives = POINTER
status = c_int32
text = c_char_p

FUNCTIONS = {
    # status.h, version.h
    "ssld_status_name": (text, [status]),
    "ssld_version": (c_int32, []),
    "ssld_build_info": (c_size_t, [address, c_size_t]),
    # context.h
    "ssld_context_options_init": (None, [POINTER(ContextOptions), c_size_t]),
    "ssld_context_create_version": (status, [c_int32, POINTER(ContextOptions), receives_handle]),
    "ssld_context_destroy": (None, [handle]),
    "ssld_context_error": (c_size_t, [handle, address, c_size_t]),
    "ssld_context_cancel": (None, [handle]),
    "ssld_context_resume": (None, [handle]),
    "ssld_context_threads": (c_int32, [handle]),
    # model.h
    "ssld_model_options_init": (None, [POINTER(ModelOptions), c_size_t]),
    "ssld_model_load_options_init": (None, [POINTER(ModelLoadOptions), c_size_t]),
    "ssld_model_create": (status, [handle, text, POINTER(ModelOptions), receives_handle]),
    "ssld_model_zoo_name": (text, [c_int32]),
    "ssld_model_load": (status, [handle, text, POINTER(ModelLoadOptions), receives_handle]),
    "ssld_model_load_memory": (status, [handle, address, c_size_t, text, POINTER(ModelLoadOptions), receives_handle]),
    "ssld_model_save": (status, [handle, text]),
    "ssld_model_get_info": (status, [handle, POINTER(ModelInfo)]),
    "ssld_model_get_layer": (status, [handle, c_int32, POINTER(Layer)]),
    "ssld_model_name": (text, [handle]),
    "ssld_model_fingerprint": (None, [handle, address]),
    "ssld_model_destroy": (None, [handle]),
    # teacher.h
    "ssld_teacher_options_init": (None, [POINTER(TeacherOptions), c_size_t]),
    "ssld_teacher_create": (status, [handle, handle, POINTER(TeacherOptions), receives_handle]),
    "ssld_teacher_open": (status, [handle, text, POINTER(TeacherOptions), receives_handle]),
    "ssld_ensemble_options_init": (None, [POINTER(EnsembleOptions), c_size_t]),
    "ssld_teacher_create_ensemble": (status, [handle, c_int32, address, POINTER(EnsembleOptions),
                                              receives_handle]),
    "ssld_teacher_open_ensemble": (status, [handle, c_int32, address, POINTER(TeacherOptions),
                                            POINTER(EnsembleOptions), receives_handle]),
    "ssld_teacher_output": (status, [handle, c_int32, POINTER(Output)]),
    "ssld_teacher_check": (status, [handle, handle, c_uint64, POINTER(TeacherVerdict), address, c_size_t]),
    "ssld_teacher_check_batch": (status, [handle, handle, POINTER(TeacherVerdict), address, c_size_t]),
    "ssld_teacher_predict": (status, [handle, handle, handle]),
    "ssld_teacher_evaluate": (status, [handle, handle, POINTER(Evaluation)]),
    "ssld_teacher_get_info": (status, [handle, POINTER(ModelInfo)]),
    "ssld_teacher_fingerprint": (None, [handle, address]),
    "ssld_teacher_destroy": (None, [handle]),
    # dataset.h
    "ssld_dataset_options_init": (None, [POINTER(DatasetOptions), c_size_t]),
    "ssld_dataset_open": (status, [handle, text, POINTER(DatasetOptions), receives_handle]),
    "ssld_dataset_from_pixels": (status, [handle, c_uint64, address, address, address, receives_handle]),
    "ssld_dataset_source_init": (None, [POINTER(DatasetSource), c_size_t]),
    "ssld_dataset_from_source": (status, [handle, POINTER(DatasetSource), receives_handle]),
    "ssld_dataset_count": (c_uint64, [handle]),
    "ssld_dataset_classes": (c_int32, [handle]),
    "ssld_dataset_label": (c_int32, [handle, c_uint64]),
    "ssld_dataset_image": (None, [handle, address]),
    "ssld_dataset_fingerprint": (None, [handle, address]),
    "ssld_dataset_name": (c_size_t, [handle, c_uint64, address, c_size_t]),
    "ssld_dataset_content_hash": (status, [handle, c_uint64, address]),
    "ssld_dataset_destroy": (None, [handle]),
    # view.h
    "ssld_view_spec_parse": (status, [handle, text, receives_handle]),
    "ssld_view_spec_text": (text, [handle]),
    "ssld_view_spec_normalization": (None, [handle, address, address]),
    "ssld_view_spec_shape": (status, [handle, address, address]),
    "ssld_view_render": (status, [handle, address, c_size_t, c_uint64, c_uint64, c_uint32, address, c_size_t]),
    "ssld_view_render_bf16": (status, [handle, address, c_size_t, c_uint64, c_uint64, c_uint32, address, c_size_t]),
    "ssld_view_render_pixels": (status, [handle, address, address, c_uint64, c_uint64, c_uint32, address, c_size_t]),
    "ssld_view_spec_mixes": (c_int32, [handle]),
    "ssld_view_partner": (status, [handle, c_uint64, c_uint64, c_uint32, c_uint64, address, POINTER(ViewMix)]),
    "ssld_view_mix_pixels": (None, [POINTER(ViewMix), address, address, address]),
    "ssld_view_spec_destroy": (None, [handle]),
    "ssld_philox4x32": (None, [address, address, address]),
    # loader.h
    "ssld_loader_options_init": (None, [POINTER(LoaderOptions), c_size_t]),
    "ssld_loader_create": (status, [handle, handle, handle, POINTER(LoaderOptions), receives_handle]),
    "ssld_loader_next": (status, [handle, handle]),
    "ssld_loader_seek": (status, [handle, c_uint64, c_uint64]),
    "ssld_loader_position": (None, [handle, receives(c_uint64), receives(c_uint64)]),
    "ssld_image_verify": (status, [handle, address, c_size_t, address]),
    "ssld_loader_batches": (c_uint64, [handle]),
    "ssld_loader_shape": (None, [handle, address]),
    "ssld_loader_wait_seconds": (c_double, [handle]),
    "ssld_loader_get_statistics": (status, [handle, POINTER(LoaderStatistics)]),
    "ssld_loader_bad_count": (c_uint64, [handle]),
    "ssld_loader_bad": (status, [handle, c_uint64, POINTER(BadImage)]),
    "ssld_loader_destroy": (None, [handle]),
    # batch.h
    "ssld_batch_create": (status, [handle, receives_handle]),
    "ssld_batch_wrap": (status, [handle, c_int32, address, address, address, address, address]),
    "ssld_batch_count": (c_int32, [handle]),
    "ssld_batch_shape": (None, [handle, address]),
    "ssld_batch_pixels": (address, [handle]),
    "ssld_batch_samples": (address, [handle]),
    "ssld_batch_views": (address, [handle]),
    "ssld_batch_labels": (address, [handle]),
    "ssld_batch_destroy": (None, [handle]),
    # labels.h
    "ssld_labels_create": (status, [handle, c_int32, c_int32, receives_handle]),
    "ssld_labels_wrap_logits": (status, [handle, c_int32, address]),
    "ssld_labels_wrap_probabilities": (status, [handle, c_int32, address]),
    "ssld_labels_softmax": (status, [handle]),
    "ssld_labels_kind": (c_int32, [handle]),
    "ssld_labels_count": (c_int32, [handle]),
    "ssld_labels_capacity": (c_int32, [handle]),
    "ssld_labels_classes": (c_int32, [handle]),
    "ssld_labels_logits": (address, [handle]),
    "ssld_labels_probabilities": (address, [handle]),
    "ssld_labels_destroy": (None, [handle]),
    # store.h
    "ssld_store_writer_options_init": (None, [POINTER(StoreWriterOptions), c_size_t]),
    "ssld_store_writer_open": (status, [handle, text, POINTER(StoreWriterOptions), receives_handle]),
    "ssld_store_writer_append": (status, [handle, handle, handle]),
    "ssld_store_writer_append_views": (status, [handle, c_int32, address, address, handle]),
    "ssld_store_writer_append_labelled": (status, [handle, c_int32, address, address, address, handle]),
    "ssld_store_writer_copy": (status, [handle, handle, POINTER(StoreRange), receives(c_uint64)]),
    "ssld_store_writer_options_like": (status, [handle, POINTER(StoreWriterOptions)]),
    "ssld_store_writer_commit": (status, [handle]),
    "ssld_store_writer_missing": (status, [handle, receives(c_uint32), receives(c_uint64), receives(c_uint64)]),
    "ssld_store_writer_records": (c_uint64, [handle]),
    "ssld_store_writer_close": (status, [handle]),
    "ssld_store_writer_abandon": (None, [handle]),
    "ssld_store_options_init": (None, [POINTER(StoreOptions), c_size_t]),
    "ssld_store_open": (status, [handle, text, POINTER(StoreOptions), receives_handle]),
    "ssld_store_open_files": (status, [handle, address, c_int32, POINTER(StoreOptions), receives_handle]),
    "ssld_store_read": (status, [handle, handle, handle]),
    "ssld_store_read_views": (status, [handle, c_int32, address, address, handle]),
    "ssld_store_read_outcomes": (status, [handle, c_int32, address, address, handle, address]),
    "ssld_store_read_moments": (status, [handle, c_int32, address, address, handle, address, address]),
    "ssld_store_prefetch": (None, [handle, c_int32, address, address]),
    "ssld_store_stored": (status, [handle, receives(c_uint32), receives(c_uint64), receives(c_uint64)]),
    "ssld_store_verify": (status, [handle, StoreDamageFunction, c_void_p, receives(c_uint64)]),
    "ssld_store_measure": (status, [handle, POINTER(StoreSizes)]),
    "ssld_store_get_statistics": (status, [handle, POINTER(StoreStatistics)]),
    "ssld_store_get_info": (status, [handle, POINTER(StoreInfo)]),
    "ssld_store_view_spec": (text, [handle]),
    "ssld_store_close": (None, [handle]),
    # student.h
    "ssld_student_options_init": (None, [POINTER(StudentOptions), c_size_t]),
    "ssld_student_create": (status, [handle, handle, POINTER(StudentOptions), receives_handle]),
    "ssld_student_step": (status, [handle, handle, handle, POINTER(Step)]),
    "ssld_student_forward": (status, [handle, handle, address]),
    "ssld_student_backward": (status, [handle, handle, handle, receives(c_double)]),
    "ssld_student_accumulate": (status, [handle, handle, handle, c_float, receives(c_double)]),
    "ssld_student_update": (status, [handle]),
    "ssld_student_steps": (c_uint64, [handle]),
    "ssld_student_get_model": (status, [handle, receives_handle]),
    "ssld_student_get_ema_model": (status, [handle, receives_handle]),
    "ssld_student_export": (status, [handle, text]),
    "ssld_student_save": (status, [handle, text]),
    "ssld_student_restore": (status, [handle, text]),
    "ssld_student_parameter_count": (c_int32, [handle]),
    "ssld_student_parameter_name": (text, [handle, c_int32, address]),
    "ssld_student_parameter_read": (status, [handle, c_int32, c_int32, address]),
    "ssld_student_parameter_write": (status, [handle, c_int32, c_int32, address]),
    "ssld_student_destroy": (None, [handle]),
    # profile.h
    "ssld_student_profile_begin": (None, [handle]),
    "ssld_student_profile_end": (None, [handle]),
    "ssld_student_profile_count": (c_int32, [handle]),
    "ssld_student_profile_entry": (status, [handle, c_int32, POINTER(ProfileEntry)]),
    "ssld_student_measure_primitives": (status, [handle, c_int32, receives(c_double)]),
    "ssld_student_precision": (c_int32, [handle]),
    "ssld_teacher_profile_begin": (None, [handle]),
    "ssld_teacher_profile_end": (None, [handle]),
    "ssld_teacher_profile_count": (c_int32, [handle]),
    "ssld_teacher_profile_entry": (status, [handle, c_int32, POINTER(ProfileEntry)]),
    "ssld_teacher_measure_primitives": (status, [handle, c_int32, receives(c_double)]),
    "ssld_teacher_precision": (c_int32, [handle]),
    "ssld_isa": (c_size_t, [address, c_size_t]),
}
