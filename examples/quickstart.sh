#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# quickstart.sh - offline distillation from nothing to a table, on a fresh Debian: installs what is missing, builds, trains a
# teacher on Fashion-MNIST, and trains the same student three times from the same start: on hard labels, online (the
# teacher runs in every step) and offline (the teacher's stored answers).
#
#   sh examples/quickstart.sh [--full] [--json FILE]
#
#   --full       all 60000 images and the mean of three seeds instead of a few minutes' worth
#   --json FILE  the figures as one JSON object; times in milliseconds (_ms) and seconds (_s), top-1 as a share of 1
set -eu

# What is trained. A quick run takes less than six minutes on two cores, the build included. The teacher sees more images
# than the students, once. Rates are the better ones of 0.1 and 0.2 for hard labels and for the teacher's.
teacher=PPLCNet_x1_0
teacher_options="--variant small --batch 64 --lr 0.1 --warmup-epochs 0.1 --l2 0.0003"
student=PPLCNet_x0_25
student_options="--variant small --lr 0.1 --warmup-epochs 0.5 --l2 0.00003"
batch=64
views="pad_crop(28,2) flip(0.5) normalize(0.286,0.353)"
eval_views="normalize(0.286,0.353)"
teacher_limit=50000 limit=10000 teacher_epochs=1 epochs=6 view_count=3 seeds="1"
full_teacher_epochs=4 full_epochs=4 full_view_count=4 full_seeds="1 2 3"

packages="gcc meson ninja-build pkg-config libdnnl-dev libjpeg62-turbo-dev libpng-dev libzstd-dev libprotobuf-c-dev
protobuf-c-compiler libxxhash-dev zlib1g-dev dataset-fashion-mnist"
data_folder=/usr/share/datasets/fashion-mnist
train_data="idx:$data_folder/train-images-idx3-ubyte.gz,$data_folder/train-labels-idx1-ubyte.gz"
test_data="idx:$data_folder/t10k-images-idx3-ubyte.gz,$data_folder/t10k-labels-idx1-ubyte.gz"

# -- Arguments --------------------------------------------------------------------------------------------------------

json=
full=
while [ $# -gt 0 ]; do
    case $1 in
    --full) full=yes ;;
    --json)
        [ $# -gt 1 ] || { echo "quickstart: --json needs a file" >&2; exit 2; }
        json=$2
        shift ;;
    -h | --help)
        sed -n '/^# quickstart.sh/,/^set/s/^# \{0,1\}//p' "$0"
        exit 0 ;;
    *)
        echo "quickstart: unknown argument '$1'; there are --full and --json FILE" >&2
        exit 2 ;;
    esac
    shift
done
case $json in '' | /*) ;; *) json=$PWD/$json ;; esac
if [ "$full" ]; then
    teacher_epochs=$full_teacher_epochs epochs=$full_epochs view_count=$full_view_count seeds=$full_seeds
    limit_option= teacher_limit_option=
else
    limit_option="--limit $limit" teacher_limit_option="--limit $teacher_limit"
fi
cd "$(dirname "$0")/.."
work=build/quickstart
begun=$(date +%s)

step() {
    printf '\n== %s\n' "$*"
}

# -- Packages and build -----------------------------------------------------------------------------------------------

# Those of the packages that are not installed.
missing_packages() {
    for package in $packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
    done
}

install_packages() {
    missing=$(missing_packages)
    [ "$missing" ] || return 0
    step "installing $missing"
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # the names are separate words
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

build() {
    step "building"
    [ -f build/build.ninja ] || meson setup build >/dev/null || { cat build/meson-logs/meson-log.txt >&2; exit 1; }
    ninja -C build examples/ssld/ssld >build/quickstart-build.log || { cat build/quickstart-build.log >&2; exit 1; }
}

# -- Runs -------------------------------------------------------------------------------------------------------------

ssld() {
    build/examples/ssld/ssld "$@"
}

# The number behind a key in the last "done" line of a log.
figure() {
    value=$(sed -n '/"event":"done"/s/.*"'"$2"'":\([^,}]*\).*/\1/p' "$1" | tail -n 1)
    [ "$value" ] || { echo "quickstart: no $2 in $1" >&2; exit 1; }
    echo "$value"
}

# The mean of a key over the seeds' logs of one kind of run.
mean() {
    for seed in $seeds; do
        figure "$work/$1-$seed.log" "$2"
    done | awk '{ sum += $1 } END { printf "%.6g\n", sum / NR }'
}

# Trains the student; $1 is the kind of run, the rest are options of its own.
train_student() {
    kind=$1
    shift
    for seed in $seeds; do
        step "student, $kind, seed $seed"
        # shellcheck disable=SC2086 # the options are separate words
        ssld train --data "$train_data" --views "$views" --model $student $student_options $limit_option --batch $batch \
            --epochs $epochs --view-count $view_count --seed "$seed" --eval-data "$test_data" --eval-views "$eval_views" \
            --eval-every $epochs --out "$work/$kind-$seed.onnx" --log "$work/$kind-$seed.log" "$@"
    done
}

run_all() {
    step "teacher"
    # shellcheck disable=SC2086
    ssld train --data "$train_data" --views "$views" --model $teacher $teacher_options $teacher_limit_option \
        --epochs $teacher_epochs --out $work/teacher.onnx --log $work/teacher-train.log
    ssld eval --model $work/teacher.onnx --data "$test_data" --views "$eval_views" --batch $batch --log $work/teacher.log
    step "labels: the teacher looks at every view once"
    # shellcheck disable=SC2086
    ssld label --data "$train_data" --views "$views" --teacher $work/teacher.onnx --view-count $view_count --batch $batch \
        $limit_option --labels $work/labels.ssld --log $work/label.log
    train_student hard
    train_student online --teacher $work/teacher.onnx
    train_student offline --labels $work/labels.ssld
}

# -- Results ----------------------------------------------------------------------------------------------------------

collect() {
    teacher_top1=$(figure $work/teacher.log top1)
    teacher_forward_ms=$(figure $work/teacher.log forward_ms)
    label_s=$(figure $work/label.log seconds)
    store_bytes_per_view=$(figure $work/label.log bytes_per_view)
    for kind in hard online offline; do
        for key in top1 step_ms seconds images_per_second; do
            value=$(mean $kind $key)
            eval "${kind}_$key=\$value"
        done
    done
}

print_table() {
    step "$teacher teaches $student, batch $batch, $epochs epochs, $view_count views of an image, seeds: $seeds"
    awk -v label_s="$label_s" -v teacher_top1="$teacher_top1" \
        -v hard="$hard_step_ms $hard_images_per_second $hard_seconds $hard_top1" \
        -v online="$online_step_ms $online_images_per_second $online_seconds $online_top1" \
        -v offline="$offline_step_ms $offline_images_per_second $offline_seconds $offline_top1" '
        function row(name, figures, extra,    f) {
            split(figures, f, " ")
            printf "%-22s %9.2f %10.0f %10.1f %16.1f %8.2f %%\n", name, f[1], f[2], f[3], f[3] + extra, 100 * f[4]
        }
        BEGIN {
            printf "%-22s %9s %10s %10s %16s %10s\n", "", "step, ms", "images/s", "time, s", "with labels, s", "top-1"
            printf "%-22s %9s %10s %10s %16s %8.2f %%\n", "teacher", "", "", "", "", 100 * teacher_top1
            row("student, hard labels", hard, 0)
            row("student, online", online, 0)
            row("student, offline", offline, label_s)
        }'
    awk -v forward="$teacher_forward_ms" -v hard="$hard_step_ms" -v online="$online_step_ms" -v offline="$offline_step_ms" \
        -v label_s="$label_s" -v bytes="$store_bytes_per_view" 'BEGIN {
            printf "\nlabelling once: %.1f s, %.1f bytes a view; teacher forward: %.2f ms a batch\n", label_s, bytes, forward
            printf "online step / offline step: %.2f; (teacher forward + hard step) / hard step: %.2f\n", online / offline,
                   (forward + hard) / hard
            printf "offline step / hard step: %.3f\n", offline / hard
        }'
    [ "$full" ] || echo "(top-1 after so short a training differs by a point from seed to seed; --full compares means of three)"
}

print_seeds() {
    for kind in hard online offline; do
        printf '%-8s top-1 by seed:' $kind
        for seed in $seeds; do
            figure "$work/$kind-$seed.log" top1
        done | awk '{ printf " %.2f %%", 100 * $1 } END { printf "\n" }'
    done
}

write_json() {
    cat >"$json" <<END
{"teacher_top1":$teacher_top1,"hard_top1":$hard_top1,"online_top1":$online_top1,"offline_top1":$offline_top1,
"teacher_forward_ms":$teacher_forward_ms,"hard_step_ms":$hard_step_ms,"online_step_ms":$online_step_ms,
"offline_step_ms":$offline_step_ms,"label_s":$label_s,"online_s":$online_seconds,"offline_s":$offline_seconds,
"store_bytes_per_view":$store_bytes_per_view}
END
}

install_packages
build
rm -rf $work
mkdir -p $work
run_all
collect
print_table
if [ "$full" ]; then print_seeds; fi
if [ "$json" ]; then write_json; fi
printf '\ndone in %d s; the files are in %s\n' $(($(date +%s) - begun)) $work
