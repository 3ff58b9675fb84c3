#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Write the curve of bytes against fidelity into docs/format.md: `ssld bench store` on a teacher's logits, one row a setting.

Usage: bench/store_curve.py SSLD LOGITS.npy [STUDENT.npy ...]        (see bench/labels.py for the files)
"""

import json
import os
import re
import subprocess
import sys
import textwrap

DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs", "format.md")
SETTINGS = [("TOPK, K = %d, %s" % (k, "uniform tail" if r is None else "%d numbers" % r), ["--codec", "topk", "--topk", str(k)]
             + (["--tail", "uniform"] if r is None else ["--tail-coefficients", str(r)]))
            for k, r in ((5, 8), (10, None), (10, 4), (10, 8), (10, 16), (10, 40), (10, 96), (100, 8))]
SETTINGS += [("DENSE_LOG8", ["--codec", "log8"]), ("DENSE_F16", ["--codec", "f16"])]


VIEWS = 100000
INTRODUCTION = """EfficientNet-Lite0 on %d crops of %d photographs (`bench/labels.py`): 1000 classes, %.2f nats of entropy in the mean.
They are stored again and again, %d views in all; everything in the file counts. %d labels that models were not fitted to are compared,
which are of the same photographs; cosines are medians, between the gradients that the stored label and the dense one give students
that closed %s %% of the gap. TinyViT's record of the 10 best (44 bytes, a uniform tail) has KL %.4f and, for a student that knows
nothing, cosines of %.5f / %.5f."""


def measure(program, logits, student, arguments):
    # What is compared is not what was learned from.
    command = [program, "bench", "store", "--logits", logits, "--views", str(VIEWS), "--repeats", "1", "--compare-from", "2048",
               "--json"] + arguments
    if student:
        command += ["--student", student]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    program, logits, students = sys.argv[1], sys.argv[2], sys.argv[3:]
    names = [re.sub(r"student_|_logits|\.npy", "", os.path.basename(path)) for path in students]
    found = measure(program, logits, None, ["--codec", "topk", "--topk", "10", "--tail", "uniform"])
    with open(os.path.join(os.path.dirname(logits), "labels.json"), encoding="utf-8") as file:
        facts = json.load(file)
    closed = ", ".join("%.0f" % (100 * facts["gap_closed"][name]) for name in ("untrained", "half", "trained"))
    lines = textwrap.wrap(INTRODUCTION % (
        facts["views"], facts["pictures"], facts["mean_entropy"], VIEWS, found["compared"], closed, found["tinyvit_kl_mean"],
        found["tinyvit_soft_ce_grad_cosine_median"], found["tinyvit_sym_kl_grad_cosine_median"]), 140) + [""]
    lines += ["| setting | bytes a view | KL(label ‖ decoded) | cosine of gradients soft_ce / sym_kl: %s |" % ", ".join(names),
             "|---|---|---|---|"]
    for name, arguments in SETTINGS:
        found = [measure(program, logits, student, arguments) for student in students]
        lines.append("| %s | %.1f | %.4f | %s |" % (
            name, found[0]["bytes_per_view"], found[0]["kl_mean"],
            ", ".join("%.5f / %.5f" % (f["soft_ce_grad_cosine_median"], f["sym_kl_grad_cosine_median"]) for f in found)))
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"(<!-- curve: [^\n]*-->\n).*?(<!-- end of curve -->)", lambda m: m.group(1) + "\n".join(lines) + "\n" + m.group(2),
                  text, flags=re.S)
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
