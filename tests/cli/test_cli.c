/* SPDX-License-Identifier: BSD-2-Clause */
/* The ssld program as its users meet it: help, wrong usage, labelling with kills in between, training in its three modes.
 * Everything happens in a folder of its own, with images drawn here. */
#define _GNU_SOURCE /* posix_openpt */
#include "run.h"

#include <math.h>
#include <signal.h>
#include <time.h>

/* The number behind a key in the nth line of a log that has `event`, counted from 0. */
static double logged(const char *log, const char *event, const char *key, int nth)
{
    static char text[65536];
    char mark[64], name[64];
    read_text(in_folder(log), text, sizeof text);
    snprintf(mark, sizeof mark, "{\"event\":\"%s\"", event);
    snprintf(name, sizeof name, "\"%s\":", key);
    char *line = strstr(text, mark);
    while (line && nth--)
        line = strstr(line + 1, mark);
    CHECK(line, "%s has no such line of %s", log, event);
    line[strcspn(line, "\n")] = 0;
    char *value = strstr(line, name);
    CHECK(value, "no %s in %s", key, line);
    return strtod(value + strlen(name), NULL);
}

/* -- Usage -------------------------------------------------------------------------------------------------------- */

TEST(help_shows_every_command_and_option_with_its_default)
{
    set_up();
    CHECK_RUN(0, "--help");
    static const char *const commands[] = { "label ", "train ", "eval ", "views ", "store info ", "bench student ", "exit codes" };
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        CHECK_SAYS(output, commands[i]);
    CHECK_RUN(0, "help label");
    CHECK_SAYS(output, "--view-count V");
    CHECK_SAYS(output, "(default: 64)");
    CHECK_SAYS(output, "(required)");
    CHECK_SAYS(output, "example:\n  ssld label");
    CHECK_RUN(0, "train --epochs 3 --help");
    CHECK_SAYS(output, "--checkpoint FILE");
    CHECK_RUN(0, "help store info");
    CHECK_SAYS(output, "usage: ssld store info FILE");
    CHECK_RUN(0, "eval -h");
    CHECK_SAYS(output, "--batch-norm MODE");
    CHECK_RUN(0, "--version");
    CHECK_SAYS(output, "ssld 0.");
    CHECK_SAYS(output, "oneDNN");
}

TEST(wrong_usage_is_exit_code_2_and_says_what_is_wrong)
{
    static const struct {
        const char *line, *text;
    } cases[] = {
        { "", "usage: ssld COMMAND" },
        { "lable", "unknown command 'lable'" },
        { "store", "there are 'store info', 'store verify'" },
        { "store inf x", "unknown command 'store inf'" },
        { "store dump x", "unknown command 'store dump'" },
        { "help nothing", "unknown command 'nothing'" },
        { "label", "--data is missing" },
        { "store info", "FILE is missing" },
        { "store recode one two three", "'three' is too much" },
        { "store info x --json=yes", "--json takes no value" },
        { "label --vews x", "unknown option '--vews'" },
        { "label --view x", "did you mean --view" },
        { "label --batch", "--batch needs a value: N" },
        { "label --batch many", "--batch: 'many' is not a whole number" },
        { "label --batch 1.5", "--batch: '1.5' is not a whole number" },
        { "label --batch -1", "--batch: '-1' is not a whole number" },
        { "label --batch 0", "--batch: '0' is not in 1 to 65536" },
        { "label --batch=99999999999999999999999", "is not a whole number" },
        { "label --view-count 3000000000", "is not at least 1" },
        { "label --codec zip", "'zip' is not one of auto|f32|f16|log8|topk" },
        { "label --data=", "--data: '' is not a text" },
        { "train --lr fast", "--lr: 'fast' is not a number" },
        { "train --lr nan", "--lr: 'nan' is not a number" },
        { "train --momentum 1", "is not in 0 to 0.9999" },
        { TRAIN "--labels a --teacher b", "exclude each other" },
        { TRAIN "--eval-data x", "belong together" },
        { TRAIN "--resume", "--resume needs --checkpoint" },
        { TRAIN "--epochs 2 --warmup-epochs 3", "longer than --epochs" },
        { TRAIN "--accumulate 3", "--accumulate must divide --batch" },
        { TRAIN "--optimizer adam", "'adam' is not one of sgd|adamw|lars" },
        { TRAIN "--precision f64", "'f64' is not one of auto|f32|bf16" },
        { TRAIN "--ema-decay 1", "is not in 1e-06 to 0.999999" },
        { TRAIN "--schedule linear", "'linear' is not one of constant, cosine" },
        { TRAIN "--schedule constant:1", "'constant:1' is not constant" },
        { TRAIN "--schedule cosine:", "'cosine:' is not cosine or cosine:FINAL" },
        { TRAIN "--schedule cosine:0.1,0.2", "is not cosine or cosine:FINAL" },
        { TRAIN "--schedule step:30", "'step:30' is not step:EPOCHS,FACTOR" },
        { TRAIN "--schedule step:30,0.1,", "is not step:EPOCHS,FACTOR" },
        { TRAIN "--schedule step:30,-0.1", "is not step:EPOCHS,FACTOR" },
        { TRAIN "--schedule step:30;0.1", "is not step:EPOCHS,FACTOR" },
        { TRAIN "--schedule multistep:0.1", "is not multistep:EPOCH,...,FACTOR" },
        { TRAIN "--schedule one-cycle:0.3,25,1e4,7", "is not one-cycle" },
        { "bench", "there are 'bench student', 'bench teacher', 'bench store'" },
        { "bench loader --data x", "--views is missing" },
        { "bench loader --data x --views flip --images 0", "--images: '0' is not at least 1" },
        { "bench network", "unknown command 'bench network'" },
        { "model", "did you mean 'model info'?" },
        { "bench student", "MODEL is missing" },
        { "bench student PPLCNet_x0_25 --steps 0", "--steps: '0' is not in 1 to 1000000" },
        { "bench student PPLCNet_x0_25 --repeats 101", "--repeats: '101' is not in 1 to 100" },
        { "bench student PPLCNet_x0_25 --precision f16", "'f16' is not one of auto|f32|bf16" },
        { "bench student PPLCNet_x0_25 --batch 4 --accumulate 3", "--accumulate must divide --batch" },
    };
    set_up();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_RUN(2, "%s", cases[i].line);
        CHECK(strstr(errors, cases[i].text), "'ssld %s' says: %.600s", cases[i].line, errors);
        CHECK(!*output, "'ssld %s' wrote to standard output: %.600s", cases[i].line, output);
    }
}

TEST(what_cannot_be_read_is_exit_code_1_and_named)
{
    static const struct {
        const char *line, *text;
    } cases[] = {
        { "store info @/nothing.ssld", "nothing.ssld" },
        { "store info @/images", "images" },
        { "label --data idx:@/nothing,@/classes " VIEWS "--teacher @/teacher.onnx --labels @/x.ssld", "nothing" },
        { "label --data @/images " VIEWS "--teacher @/teacher.onnx --labels @/x.ssld", "images" },
        { "label " DATA "--views \"sharpen(3)\" --teacher @/teacher.onnx --labels @/x.ssld", "sharpen" },
        { "label " DATA VIEWS "--teacher @/nothing.onnx --labels @/x.ssld", "nothing.onnx" },
        { "label " DATA VIEWS "--teacher @/images --labels @/x.ssld", "images" },
        { LABEL "--labels @/no/folder/x.ssld", "x.ssld" },
        { TRAIN "--labels @/nothing.ssld", "nothing.ssld" },
        { TRAIN "--loss kl_sym", "'kl_sym'" },
        { TRAIN "--groups \"head.*: rate=10\"", "no parameter fits 'head.*'" },
        { TRAIN "--optimizer adamw --momentum 0.8", "momentum is set, but SSLD_OPTIMIZER_ADAMW" },
        { TRAIN "--weight-decay 0.1", "weight_decay is set, but SSLD_OPTIMIZER_SGD" },
        { TRAIN "--schedule multistep:2,1,0.1", "milestones must rise" },
        { "train " DATA VIEWS "--model PPLCNet_x9 --batch 40", "PPLCNet_x9" },
        { TRAIN "--epochs 1 --out @/no/folder/x.onnx", "x.onnx" },
        { TRAIN "--epochs 1 --log @/no/folder/x.log", "x.log: cannot open the log" },
        { "eval " DATA VIEWS "--model @/nothing.onnx", "nothing.onnx" },
        { "bench student PPLCNet_x9", "PPLCNet_x9" },
        { "bench student @/nothing.onnx", "nothing.onnx" },
    };
    set_up();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_RUN(1, "%s", cases[i].line);
        CHECK(strstr(errors, cases[i].text) && strstr(errors, "ssld: "), "'ssld %s' says: %.600s", cases[i].line, errors);
    }
    CHECK(size_of(in_folder("x.ssld")) < 0, "a store was left behind");
}

TEST(full_disk_behind_output_or_log_is_a_failure)
{
    set_up();
    if (access("/dev/full", W_OK))
        SKIP("no /dev/full");
    CHECK_RUN(1, "eval " DATA VIEWS "--model @/teacher.onnx --log /dev/full");
    CHECK_SAYS(errors, "/dev/full: cannot write the log");
    char line[512];
    snprintf(line, sizeof line, "'%s' --help >/dev/full 2>'%s'", getenv("SSLD_PROGRAM"), in_folder("err"));
    int state = system(line);
    CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 1, "exit state %d", state);
}

/* -- Labelling ---------------------------------------------------------------------------------------------------- */

TEST(labelling_fills_a_store_that_info_describes)
{
    set_up();
    CHECK_RUN(0, LABEL "--labels @/first.ssld --view-count 2 --seed 9 --batch 48 --log @/first.log");
    CHECK_SAYS(output, "400 views (400 new)");
    CHECK(logged("first.log", "done", "views", 0) == 400, "the log has other views");
    double bytes = logged("first.log", "done", "bytes_per_view", 0);
    CHECK(fabs(bytes * 400 - (double)size_of(in_folder("first.ssld"))) < 0.01, "%g bytes a view", bytes);
    double top1 = logged("first.log", "done", "top1", 0), entropy = logged("first.log", "done", "entropy", 0);
    CHECK(top1 >= 0 && top1 <= 1 && entropy > 0 && entropy <= log(CLASSES) + 1e-9, "top-1 %g, entropy %g", top1, entropy);
    CHECK(logged("first.log", "done", "teacher_ms", 0) > 0, "the teacher took no time");
    CHECK_RUN(0, "store info @/first.ssld");
    CHECK_SAYS(output, "400 of 400 (200 images, 2 views of each)");
    CHECK_SAYS(output, "normalize(mean=0.286, std=0.353)");
    CHECK_SAYS(output, "view seed    9");
    CHECK_RUN(0, "store info --json --verify @/first.ssld");
    CHECK_SAYS(output, "\"records\":400,\"samples\":200,\"views\":2,");
    CHECK_SAYS(output, "\"closed\":true");
}

/* A fresh network answers nearly the same to everything. */
TEST(teacher_that_guesses_is_warned_about)
{
    set_up();
    CHECK_RUN(1, "label " DATA VIEWS "--teacher @/untrained.onnx --labels @/guess.ssld");
    CHECK_SAYS(errors, "The teacher is guessing");
    CHECK(size_of(in_folder("guess.ssld")) < 0, "a store was begun");
    CHECK_RUN(0, "label " DATA VIEWS "--teacher @/untrained.onnx --labels @/guess.ssld --no-check");
    CHECK_SAYS(errors, "warning: the teacher is guessing");
    CHECK_RUN(0, LABEL "--labels @/knows.ssld");
    CHECK(!strstr(errors, "warning"), "a teacher that knows is warned about: %.600s", errors);
}

TEST(labelling_again_adds_nothing)
{
    set_up();
    CHECK_RUN(0, LABEL "--labels @/again.ssld --view-count 2");
    off_t size = size_of(in_folder("again.ssld"));
    CHECK_RUN(0, LABEL "--labels @/again.ssld --view-count 2");
    CHECK_SAYS(output, "400 of 400 views are there already");
    CHECK_SAYS(output, "(0 new)");
    CHECK(size_of(in_folder("again.ssld")) == size, "the store grew");
}

TEST(store_of_other_labels_is_not_gone_on_with)
{
    set_up();
    CHECK_RUN(0, LABEL "--labels @/bound.ssld");
    static const struct {
        const char *line, *text;
    } cases[] = {
        { LABEL "--labels @/bound.ssld --seed 1", "seed" },
        { LABEL "--labels @/bound.ssld --limit 100", "bound.ssld" },
        { "label " DATA "--views \"pad_crop(28,3) normalize(0.286,0.353)\" --teacher @/teacher.onnx --labels @/bound.ssld",
          "view" },
        { "label " DATA VIEWS "--teacher @/untrained.onnx --labels @/bound.ssld", "teacher" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_RUN(1, "%s", cases[i].line);
        CHECK(strstr(errors, cases[i].text), "'ssld %s' says: %.600s", cases[i].line, errors);
    }
}

TEST(teacher_for_other_images_or_classes_is_refused)
{
    set_up();
    write_network("colour.onnx", 1, CLASSES, 3);
    write_network("two.onnx", 1, 2, 1);
    CHECK_RUN(1, "label " DATA VIEWS "--teacher @/colour.onnx --labels @/shape.ssld");
    CHECK_SAYS(errors, "takes images of 3 x 28 x 28");
    CHECK_RUN(1, "label " DATA VIEWS "--teacher @/two.onnx --labels @/shape.ssld");
    CHECK_SAYS(errors, "knows 2 classes, the data has labels up to 3");
    CHECK(size_of(in_folder("shape.ssld")) < 0, "a store was left behind");
}

static void wait_milliseconds(int milliseconds)
{
    struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
    nanosleep(&time, NULL);
}

/* Wait until the file has grown past `size`; false if the child ends before. */
static bool wait_for_growth(pid_t child, const char *path, off_t size)
{
    siginfo_t info;
    for (;;) {
        memset(&info, 0, sizeof info);
        waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT);
        if (info.si_pid)
            return false;
        if (size_of(path) > size)
            return true;
        wait_milliseconds(1);
    }
}

/* Kill the labelling again and again whenever the store has grown, until a run gets to its end before the next growth. */
static void label_with_kills(const char *mode)
{
    char line[1024], whole[32], killed[32];
    int kills = 0, code = -SIGKILL;
    snprintf(whole, sizeof whole, "whole-%s.ssld", mode);
    snprintf(killed, sizeof killed, "killed-%s.ssld", mode);
    CHECK_RUN(0, LABEL "--labels @/%s --view-count 12 --batch 24 --batch-norm %s", whole, mode);
    snprintf(line, sizeof line, LABEL "--labels @/%s --view-count 12 --batch 24 --batch-norm %s", killed, mode);
    for (int turn = 0; code == -SIGKILL; turn++) {
        off_t before = size_of(in_folder(killed));
        pid_t child = start(line);
        /* At first as soon as there is a file, later a little after it has grown, to hit every state of a write. */
        if (turn < 12 && wait_for_growth(child, in_folder(killed), before)) {
            wait_milliseconds(turn);
            kill(child, SIGKILL);
        }
        code = finish(child);
        kills += code == -SIGKILL;
        CHECK(code == 0 || code == -SIGKILL, "after %d kills: exit code %d: %.600s", kills, code, errors);
    }
    CHECK(kills > 0, "no run was killed before it ended");
    check_same_labels(whole, killed, 12);
}

TEST(labelling_killed_again_and_again_ends_up_the_same)
{
    set_up();
    label_with_kills("eval");
}

TEST(labels_with_batch_statistics_survive_kills_too)
{
    set_up();
    label_with_kills("batch");
}

TEST(interrupted_labelling_keeps_its_work_and_says_how_to_go_on)
{
    const char *line = LABEL "--labels @/stop.ssld --view-count 40 --batch 24 --seed 2";
    set_up();
    pid_t child = start(line);
    bool grown = wait_for_growth(child, in_folder("stop.ssld"), 4096);
    kill(child, SIGINT);
    int code = finish(child);
    if (!grown || code == 0)
        SKIP("labelling was over before it could be interrupted");
    CHECK(code == 130, "exit code %d: %.600s", code, errors);
    CHECK_SAYS(errors, "interrupted: ");
    CHECK_SAYS(errors, "the same command goes on from there");
    unsigned long kept = strtoul(strstr(errors, "interrupted: ") + 13, NULL, 10);
    CHECK(kept > 0 && kept < 8000, "%lu views were kept", kept);
    CHECK_RUN(1, TRAIN "--labels @/stop.ssld --view-seed 2 --epochs 40");
    CHECK_SAYS(errors, "finish it with `ssld label`");
    CHECK_RUN(0, "%s", line);
    char text[64];
    snprintf(text, sizeof text, "%lu of 8000 views are there already", kept);
    CHECK_SAYS(output, text);
    CHECK_RUN(0, LABEL "--labels @/went.ssld --view-count 40 --batch 24 --seed 2");
    check_same_labels("stop.ssld", "went.ssld", 40);
}

/* -- Training ----------------------------------------------------------------------------------------------------- */

/* With a rate so small that training does not drift: what differs then are the labels, not where the student got to. */
TEST(all_modes_start_the_same_and_online_is_offline)
{
    set_up();
    CHECK_RUN(0, LABEL "--labels @/modes.ssld --view-count 2");
    CHECK_RUN(0, TRAIN "--lr 0.000000001 --epochs 3 --view-count 2 --labels @/modes.ssld --log @/offline.log");
    CHECK_RUN(0, TRAIN "--lr 0.000000001 --epochs 3 --view-count 2 --teacher @/teacher.onnx --log @/online.log");
    CHECK_RUN(0, TRAIN "--lr 0.000000001 --epochs 3 --view-count 2 --log @/hard.log");
    CHECK_RUN(0, TRAIN "--lr 0.000000001 --epochs 3 --view-count 2 --log @/hard2.log");
    for (int e = 0; e < 3; e++) {
        double offline = logged("offline.log", "epoch", "loss", e), online = logged("online.log", "epoch", "loss", e);
        /* Stored log-probabilities are half-precision: within 5e-4, of which the mean over 200 views leaves little. */
        CHECK(fabs(offline - online) <= 1e-3 * fabs(online), "epoch %d: %.9g offline, %.9g online", e, offline, online);
        double hard = logged("hard.log", "epoch", "loss", e), again = logged("hard2.log", "epoch", "loss", e);
        CHECK(hard == again, "epoch %d: %.9g, then %.9g", e, hard, again);
        CHECK(fabs(hard - online) > 0.01, "hard labels give the teacher's loss");
    }
    CHECK(logged("online.log", "epoch", "train_top1", 0) == logged("hard.log", "epoch", "train_top1", 0),
          "online and hard did not see the same images from the same start");
    static const char *const keys[] = { "step_ms", "seconds", "images_per_second" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        CHECK(logged("offline.log", "done", keys[i], 0) > 0, "%s is not positive", keys[i]);
    CHECK(logged("offline.log", "done", "steps", 0) == 15, "200 images in steps of 40, 3 epochs, are 15 steps");
}

TEST(training_on_hard_labels_learns_and_eval_says_so)
{
    set_up();
    CHECK_RUN(0, TRAIN "--epochs 12 --out @/student.onnx --log @/learn.log --eval-data idx:@/images,@/classes --eval-views "
                       "\"normalize(0.286,0.353)\" --eval-every 12");
    CHECK_SAYS(output, "epoch 12/12");
    double top1 = logged("learn.log", "done", "top1", 0);
    /* Four kinds of bars on 200 images: guessing is 0.25. */
    CHECK(top1 > 0.6, "top-1 is %g after 12 epochs", top1);
    CHECK_RUN(0, "eval --model @/student.onnx " DATA "--views \"normalize(0.286,0.353)\" --batch 40 --log @/eval.log");
    CHECK_SAYS(output, "forward");
    double again = logged("eval.log", "done", "top1", 0);
    /* The exported network is folded differently: a tie may fall to the other side, one image in 200. */
    CHECK(fabs(again - top1) <= 1.5 / IMAGES, "eval says %g, train said %g", again, top1);
    CHECK(logged("eval.log", "done", "forward_ms", 0) > 0, "the forward pass took no time");
}

TEST(interrupted_training_resumes_bit_for_bit)
{
#define RECIPE "--epochs 60 --optimizer adamw --ema-decay 0.9 --accumulate 2 --clip-norm 1 --schedule one-cycle "
    const char *line = TRAIN RECIPE "--checkpoint @/run.ckpt --out @/resumed.onnx";
    set_up();
    CHECK_RUN(0, TRAIN RECIPE "--out @/straight.onnx");
    pid_t child = start(line);
    bool saved = wait_for_growth(child, in_folder("run.ckpt"), 0);
    wait_milliseconds(5);
    kill(child, SIGTERM);
    int code = finish(child);
    if (!saved || code == 0)
        SKIP("training was over before it could be interrupted");
    CHECK(code == 130, "exit code %d: %.600s", code, errors);
    CHECK_SAYS(errors, "--resume goes on from");
    CHECK(size_of(in_folder("resumed.onnx")) < 0, "a network of half a run was written");
    CHECK_RUN(1, "%s", line);
    CHECK_SAYS(errors, "add --resume");
    CHECK_RUN(1, TRAIN RECIPE "--checkpoint @/run.ckpt --resume --dropout 0.1 --classes 5");
    CHECK_SAYS(errors, "run.ckpt");
    CHECK_RUN(1, TRAIN "--epochs 60 --checkpoint @/run.ckpt --resume");
    CHECK_SAYS(errors, "where this one has 'velocity/");
    CHECK_RUN(0, "%s --resume", line);
    CHECK_SAYS(output, "going on after step");
    CHECK(same_bytes(in_folder("straight.onnx"), in_folder("resumed.onnx")), "the networks differ");
    CHECK_RUN(0, "%s --resume", line); /* of a run that is complete: nothing is left to do */
}

/* Each schedule at the end of its second epoch, of three with five steps. */
TEST(schedules_are_counted_in_epochs)
{
    static const struct {
        const char *schedule;
        double      rate; /* of step 9 */
    } cases[] = {
        { "constant", 0.05 },
        { "cosine:0.01", 0.01 + 0.04 * 0.5 * (1 - 0.30901699437494745) }, /* cos(9 pi / 15) */
        { "step:1,0.5", 0.025 },
        { "step:0.8,0.5", 0.0125 },
        { "multistep:1,1.4,2,0.1", 0.0005 },
        { "one-cycle:0.7,10,100", 0.05 - 0.045 * 0.5 * (1 - 0.9863613034027223) }, /* cos(pi / 19): the peak is at 9.5 */
    };
    set_up();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char log[32];
        snprintf(log, sizeof log, "schedule%zu.log", i);
        CHECK_RUN(0, TRAIN "--epochs 3 --limit 200 --schedule %s --log @/%s", cases[i].schedule, log);
        double rate = logged(log, "epoch", "learning_rate", 1);
        /* The library takes the numbers in single precision, the log has six digits or more. */
        CHECK(fabs(rate - cases[i].rate) < 1e-6 + 1e-5 * cases[i].rate, "%s: %.9g instead of %.9g", cases[i].schedule, rate,
              cases[i].rate);
    }
}

TEST(loss_that_is_not_finite_stops_and_the_checkpoint_stays)
{
    set_up();
    CHECK_RUN(0, TRAIN "--epochs 1 --schedule constant --checkpoint @/good.ckpt");
    CHECK_RUN(0, TRAIN "--epochs 1 --schedule constant --checkpoint @/same.ckpt");
    CHECK_RUN(1, TRAIN "--epochs 9 --schedule constant --checkpoint @/good.ckpt --resume --lr 1000000 --out @/broken.onnx");
    CHECK_SAYS(errors, "is the first layer whose output is not");
    CHECK_SAYS(errors, "good.ckpt has the state after step 5");
    CHECK(same_bytes(in_folder("good.ckpt"), in_folder("same.ckpt")), "the checkpoint has changed");
    CHECK(size_of(in_folder("broken.onnx")) < 0, "a broken network was written");
}

TEST(labels_of_another_run_are_refused_by_name)
{
    set_up();
    CHECK_RUN(0, LABEL "--labels @/mine.ssld");
    static const struct {
        const char *line, *text;
    } cases[] = {
        { "train " DATA "--views \"normalize(0.286,0.353)\" --model PPLCNet_x0_25 --variant small --batch 40 --labels @/mine.ssld",
          "view" },
        { TRAIN "--labels @/mine.ssld --view-seed 1", "seed" },
        { TRAIN "--labels @/mine.ssld --limit 120", "mine.ssld" },
        { TRAIN "--labels @/mine.ssld --classes 5", "classes" },
        { TRAIN "--labels @/mine.ssld --view-count 3", "label with --view-count 3, or train with --view-count 1" },
        { TRAIN "--batch 400", "fewer than a batch of 400" },
        { "train " DATA VIEWS "--model @/two.onnx --batch 40", "knows 2 classes" },
        { TRAIN "--eval-data idx:@/images,@/classes --eval-views \"center_crop(20)\"", "the views are 1 x 20 x 20" },
    };
    write_network("two.onnx", 1, 2, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_RUN(1, "%s", cases[i].line);
        CHECK(strstr(errors, cases[i].text), "'ssld %s' says: %.600s", cases[i].line, errors);
    }
}

/* -- Measuring ---------------------------------------------------------------------------------------------------- */

#define BENCH "bench student PPLCNet_x0_25 --variant small --size 32 --batch 4 --classes 10 --steps 2 --repeats 1 "

TEST(bench_tells_programs_everything_in_one_line)
{
    static const char *const times[] = { "create_ms", "step_ms", "step_ms_fastest", "images_per_s", "forward_ms",
                                         "backward_ms", "update_ms", "conv_primitives_ms", "ratio", "peak_rss_mb",
                                         "gflop_per_s" };
    static const struct {
        const char *key;
        double      value;
    } given[] = { { "batch", 4 }, { "size", 32 }, { "classes", 10 }, { "threads", 1 }, { "steps", 2 } };
    set_up();
    CHECK_RUN(0, BENCH "--threads 1 --json");
    CHECK(strchr(output, '\n') == output + strlen(output) - 1, "not one line: %.1200s", output);
    CHECK(!strncmp(output, "{\"model\":\"PPLCNet_x0_25\",", 25), "it says: %.1200s", output);
    CHECK_SAYS(output, "\"precision\":\"f32\"");
    CHECK_SAYS(output, "\"isa\":\"");
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        CHECK(told(times[i]) > 0, "%s is %g", times[i], told(times[i]));
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
        CHECK(told(given[i].key) == given[i].value, "%s is %g, not %g", given[i].key, told(given[i].key), given[i].value);
    CHECK(told("step_ms_fastest") <= told("step_ms"), "the fastest step takes %g ms, the median %g", told("step_ms_fastest"),
          told("step_ms"));
    /* Both are printed with six digits. */
    CHECK(fabs(told("ratio") * told("conv_primitives_ms") / told("step_ms") - 1) < 1e-4, "the ratio is %g", told("ratio"));
}

TEST(bench_shows_people_where_the_time_goes)
{
    static const char *const parts[] = { "student      ", "2 threads", "images/s", "GFLOP/s", "backward weights", "Optimizer",
                                         "primitives   ", "peak memory" };
    set_up();
    CHECK_RUN(0, BENCH "--threads 2 --accumulate 2");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        CHECK_SAYS(output, parts[i]);
    CHECK_RUN(0, "bench student @/teacher.onnx --batch 4 --steps 1 --repeats 1 --precision auto");
    CHECK_SAYS(output, "1 x 28 x 28, 4 classes");
}

/* -- Cores -------------------------------------------------------------------------------------------------------- */

/* What a run has in its environment once it works. "" before that. */
static const char *environment_of(pid_t child, const char *name)
{
    static char text[65536];
    char path[64], key[64];
    snprintf(path, sizeof path, "/proc/%ld/environ", (long)child);
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0, length = (size_t)snprintf(key, sizeof key, "%s=", name);
    if (file)
        fclose(file);
    text[size] = 0;
    for (const char *at = text; at < text + size; at += strlen(at) + 1)
        if (!strncmp(at, key, length))
            return at + length;
    return "";
}

TEST(compute_threads_leave_their_cores_soon_unless_the_user_says_otherwise)
{
    static const char policy[] = "OMP_WAIT_POLICY";
    char kept[32], spins[32];
    set_up();
    snprintf(kept, sizeof kept, "%s", getenv(policy) ? getenv(policy) : "passive");
    unsetenv(policy);
    pid_t child = start(TRAIN "--epochs 1000000");
    setenv(policy, kept, 1);
    bool readable = !access("/proc/self/environ", R_OK);
    for (int i = 0; readable && i < 1000 && !*environment_of(child, "GOMP_SPINCOUNT"); i++)
        usleep(10000);
    snprintf(spins, sizeof spins, "%s", environment_of(child, "GOMP_SPINCOUNT"));
    kill(child, SIGKILL);
    CHECK(finish(child) == -SIGKILL, "it ended by itself: %.600s", errors);
    if (!readable)
        SKIP("there is no /proc to see it in");
    CHECK(!strcmp(spins, "10000"), "GOMP_SPINCOUNT is '%s'", spins);
    child = start(TRAIN "--epochs 1000000 --log @/cores.log");
    for (int i = 0; i < 1000 && size_of(in_folder("cores.log")) < 1; i++)
        usleep(10000);
    bool changed = *environment_of(child, "GOMP_SPINCOUNT") != 0, same = !strcmp(environment_of(child, policy), kept);
    kill(child, SIGKILL);
    finish(child);
    CHECK(!changed && same, "the user's setting was overruled");
}

/* -- Progress ----------------------------------------------------------------------------------------------------- */

TEST(progress_is_a_bar_on_a_terminal_only)
{
    static char screen[65536];
    size_t used = 0;
    set_up();
    CHECK_RUN(0, TRAIN "--epochs 30");
    CHECK(!strchr(errors, '\r'), "a bar was drawn where no terminal is: %.600s", errors);
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master))
        SKIP("no pseudo-terminal");
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    CHECK(terminal >= 0, "no terminal: %s", strerror(errno));
    setenv("TERM", "xterm", 1);
    pid_t child = start_with(TRAIN "--epochs 30", NULL, terminal);
    close(terminal);
    for (ssize_t got = 1; got > 0 && used < sizeof screen - 1; used += got > 0 ? (size_t)got : 0)
        got = read(master, screen + used, sizeof screen - 1 - used); /* ends with an error when the program does */
    int code = finish(child);
    close(master);
    CHECK(code == 0, "exit code %d", code);
    CHECK(strstr(screen, "\rtraining  [") && strstr(screen, " left  epoch "), "the screen has: %.600s", screen);
    CHECK(strlen(screen) > 4 && !strcmp(screen + strlen(screen) - 4, "\r\033[K"), "the bar was left on the screen");
}

TEST_MAIN(TEST_ROW(help_shows_every_command_and_option_with_its_default),
          TEST_ROW(wrong_usage_is_exit_code_2_and_says_what_is_wrong),
          TEST_ROW(what_cannot_be_read_is_exit_code_1_and_named), TEST_ROW(full_disk_behind_output_or_log_is_a_failure),
          TEST_ROW(labelling_fills_a_store_that_info_describes), TEST_ROW(teacher_that_guesses_is_warned_about),
          TEST_ROW(labelling_again_adds_nothing), TEST_ROW(store_of_other_labels_is_not_gone_on_with),
          TEST_ROW(teacher_for_other_images_or_classes_is_refused),
          TEST_ROW(labelling_killed_again_and_again_ends_up_the_same),
          TEST_ROW(labels_with_batch_statistics_survive_kills_too),
          TEST_ROW(interrupted_labelling_keeps_its_work_and_says_how_to_go_on),
          TEST_ROW(all_modes_start_the_same_and_online_is_offline),
          TEST_ROW(training_on_hard_labels_learns_and_eval_says_so), TEST_ROW(interrupted_training_resumes_bit_for_bit),
          TEST_ROW(schedules_are_counted_in_epochs), TEST_ROW(loss_that_is_not_finite_stops_and_the_checkpoint_stays),
          TEST_ROW(labels_of_another_run_are_refused_by_name),
          TEST_ROW(bench_tells_programs_everything_in_one_line), TEST_ROW(bench_shows_people_where_the_time_goes),
          TEST_ROW(compute_threads_leave_their_cores_soon_unless_the_user_says_otherwise),
          TEST_ROW(progress_is_a_bar_on_a_terminal_only))
