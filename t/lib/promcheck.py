# SPDX-License-Identifier: GPL-2.0-or-later
"""A strict reader of Prometheus' text format 0.0.4 on stdin: says what is wrong, one line each; then nothing more than
"N families, M samples" if all is well. Naming as prometheus.io/docs/practices/naming wants it."""
import re
import sys

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
SUFFIXES = ("_bucket", "_sum", "_count")
wrong, helps, types, series, order = [], {}, {}, {}, []

text = sys.stdin.read()
if not text.endswith("\n"):
    wrong.append("the last line does not end")
for line in text.splitlines():
    if line.startswith("# HELP ") or line.startswith("# TYPE "):
        _, kind, name, rest = line.split(" ", 3)
        table = helps if kind == "HELP" else types
        if name in table:
            wrong.append(f"second {kind} of {name}")
        table[name] = rest
        continue
    match = SAMPLE.fullmatch(line)
    if not match:
        wrong.append(f"no sample: {line}")
        continue
    name, labels, value = match.groups()
    pairs = LABEL.findall(labels or "")
    if "".join(f'{k}="{v}",' for k, v in pairs).rstrip(",") != (labels or ""):
        wrong.append(f"labels: {line}")
    family = next((name[:-len(s)] for s in SUFFIXES if name.endswith(s) and types.get(name[:-len(s)]) == "histogram"), name)
    if family not in types or family not in helps:
        wrong.append(f"{name} has no HELP and TYPE before it")
    if order[-1:] != [family]:
        if family in order:
            wrong.append(f"{family} is scattered")
        order.append(family)
    key = (name, tuple(sorted(pairs)))
    if key in series:
        wrong.append(f"twice: {line}")
    series[key] = float(value)
    if (types.get(family) == "counter") != name.endswith("_total"):
        wrong.append(f"{name}: counters, and only they, end in _total")
    if types.get(family) not in ("counter", "gauge", "histogram"):
        wrong.append(f"{name}: type {types.get(family)}")
    if types.get(family) == "counter" and float(value) < 0:
        wrong.append(f"{name} is negative")

histograms = {}
for (name, pairs), value in series.items():
    if name.endswith("_bucket"):
        rest = tuple(p for p in pairs if p[0] != "le")
        histograms.setdefault((name[:-7], rest), []).append((float(dict(pairs)["le"]), value))
for (family, pairs), buckets in histograms.items():
    if [b[0] for b in buckets] != sorted({b[0] for b in buckets}) or [b[1] for b in buckets] != sorted(b[1] for b in buckets):
        wrong.append(f"{family}: buckets are not cumulative")
    if buckets[-1] != (float("inf"), series.get((family + "_count", pairs))) or (family + "_sum", pairs) not in series:
        wrong.append(f"{family}: +Inf, _count and _sum do not agree")
for name in types:
    if types[name] == "histogram" and not any(f == name for f, _ in histograms):
        wrong.append(f"{name}: a histogram without buckets")

print("\n".join(wrong) or f"{len(types)} families, {len(series)} samples")
sys.exit(bool(wrong))
