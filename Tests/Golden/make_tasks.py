#!/usr/bin/env python3
"""Makes the reference values of tasks in tasks/ beside this file: metrics, schedules and training runs.

    python make_tasks.py                     # with torch, transformers, scikit-learn and scipy; writes tasks/
    python make_tasks.py --metrics FILE      # figures of the cases in FILE, as a live comparison asks for them

Made with torch 2.15.0 (CPU), transformers 5.24.0, scikit-learn 1.9.1, scipy 1.17.1, on one CPU thread. Sentences and labels are
invented here by a seeded generator, with the words of tiny-bert's vocabulary; every number is a float32.

tasks/metrics.json    labels, predictions and figures; null where scipy gives NaN
tasks/schedules.json  learning rates of transformers' get_scheduler
tasks/<name>/         tables of small tasks in GLUE's columns, and three.jsonl with three classes, several.jsonl with sets
tasks/curves.json     60 steps on each from tiny-bert in file order, dropout off, in batches of 8, then scores on dev rows
"""
import json, math, pathlib, random, sys, warnings
import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, mean_squared_error

here = pathlib.Path(__file__).resolve().parent
tasks = here / "tasks"
warnings.simplefilter("ignore")

# --- metrics -------------------------------------------------------------------------------------------------------
def number(value):
    return None if math.isnan(value) else float(value)

def figures(case):
    y, z = case["labels"], case["predictions"]
    if case["kind"] == "scores":
        y, z = np.array(y, dtype=np.float64), np.array(z, dtype=np.float64)
        two = len(y) > 1
        return {"mse": float(mean_squared_error(y, z)), "pearson": number(pearsonr(z, y)[0]) if two else None,
                "spearmanr": number(spearmanr(z, y)[0]) if two else None}
    if case["kind"] == "sets":
        y, z = np.array(y), np.array(z)
        return {"accuracy": float(accuracy_score(y, z)), "f1_micro": float(f1_score(y, z, average="micro", zero_division=0)),
                "f1_macro": float(f1_score(y, z, average="macro", zero_division=0))}
    result = {"accuracy": float(accuracy_score(y, z)), "f1_macro": float(f1_score(y, z, average="macro", zero_division=0)),
              "matthews_correlation": float(matthews_corrcoef(y, z))}
    if case["classes"] == 2: result["f1"] = float(f1_score(y, z, zero_division=0))
    return result

if "--metrics" in sys.argv:
    json.dump([figures(c) for c in json.load(open(sys.argv[-1]))], sys.stdout)
    sys.exit()

def metric_cases():
    r = random.Random(5); cases = []
    for classes in (2, 3, 7):
        for rows in (1, 2, 5, 40, 203):
            for right in (0.0, 0.4, 0.9, 1.0):
                y = [r.randrange(classes) for _ in range(rows)]
                z = [a if r.random() < right else r.randrange(classes) for a in y]
                cases.append({"kind": "classes", "classes": classes, "labels": y, "predictions": z})
            for y, z in (([0] * rows, [0] * rows), ([1] * rows, [1] * rows), ([0] * rows, [1] * rows),
                         ([i % classes for i in range(rows)], [1] * rows), ([1] * rows, [i % classes for i in range(rows)])):
                cases.append({"kind": "classes", "classes": classes, "labels": y, "predictions": z})
    f = lambda v: float(np.float32(v))
    for rows in (1, 2, 3, 5, 40, 203):
        y = [f(r.randrange(26) / 5) for _ in range(rows)]  # with ties
        noise = [f(a + r.gauss(0, 1)) for a in y]
        near = [f(2.5 + 1e-6 * r.random()) for _ in y]  # a model that gives nearly the same everywhere
        for z in (noise, y, [f(-a) for a in y], [f(2.5)] * rows, [f(r.gauss(0, 1e20)) for _ in y], near):
            cases.append({"kind": "scores", "classes": 1, "labels": y, "predictions": z})
        cases.append({"kind": "scores", "classes": 1, "labels": [f(1.25)] * rows, "predictions": noise})
        cases.append({"kind": "scores", "classes": 1, "labels": [f(1.25)] * rows, "predictions": [f(1.25)] * rows})
    for classes in (2, 5):
        for rows in (2, 30):
            for p in (0.0, 0.4, 1.0):
                y = [[int(r.random() < 0.4) for _ in range(classes)] for _ in range(rows)]
                z = [[int(r.random() < p) for _ in range(classes)] for _ in range(rows)]
                cases.append({"kind": "sets", "classes": classes, "labels": y, "predictions": z})
    return [dict(c, figures=figures(c)) for c in cases]

def dump(name, value):
    tasks.mkdir(exist_ok=True)
    (tasks / name).write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
dump("metrics.json", metric_cases())

# --- schedules -----------------------------------------------------------------------------------------------------
import torch
from transformers import AutoTokenizer, BertForSequenceClassification, DataCollatorWithPadding, get_scheduler
torch.set_num_threads(1)

def rates(kind, peak, warmup, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    result = []
    for _ in range(total):
        result.append(schedule.get_last_lr()[0]); optimizer.step(); schedule.step()
    return {"kind": kind, "peak": peak, "warmup": warmup, "total": total, "rates": result}
kinds = ["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"]
dump("schedules.json", [rates(k, p, w, t) for k in kinds for p, w, t in ((3e-5, 0, 1), (3e-5, 0, 17), (2e-4, 5, 23), (1e-3, 9, 10))
                        if not (k == "constant" and w)])

# --- rows ----------------------------------------------------------------------------------------------------------
words = [w for w in (here / "tiny-bert" / "vocab.txt").read_text().split("\n") if w.isalpha() and len(w) > 2]
r = random.Random(11)
def sentence(mood=None):
    chosen = [r.choice(words) for _ in range(r.randrange(3, 10))]
    if mood: chosen[r.randrange(len(chosen))] = mood
    return " ".join(chosen) + r.choice([".", " !", ""])
good, bad = words[10:14], words[20:24]

def write(folder, name, header, rows):
    (tasks / folder).mkdir(parents=True, exist_ok=True)
    lines = ([header] if header else []) + ["\t".join(map(str, row)) for row in rows]
    (tasks / folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

splits = (("train.tsv", 61), ("dev.tsv", 27))  # the last batch of 8 has 5
data = {}
for name, rows in splits:
    made = [(sentence(r.choice(good if y else bad)), y) for y in (int(r.random() < 0.55) for _ in range(rows))]
    write("SST-2", name, "sentence\tlabel", [(s + " ", y) for s, y in made])
    data["sst2", name] = [(s + " ", None, y) for s, y in made]
    made = [(sentence(), int(r.random() < 0.7)) for _ in range(rows)]
    write("CoLA", name, None, [("gj04", y, "" if y else "*", s) for s, y in made])
    data["cola", name] = [(s, None, y) for s, y in made]
    made = [(sentence(), sentence(), r.randrange(0, 5001) / 1000) for _ in range(rows)]
    write("STS-B", name, "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
          [(i, "made", "up", 2026, i, "none", "none", a, b, f"{y:.3f}") for i, (a, b, y) in enumerate(made)])
    data["stsb", name] = made
moods = ["cross", "even", "glad"]
for name, rows in (("train.jsonl", 61), ("dev.jsonl", 27)):
    (tasks / "own").mkdir(exist_ok=True)
    made = [(sentence(), r.randrange(3)) for _ in range(rows)]
    (tasks / "own" / f"three-{name}").write_text("".join(json.dumps({"label": moods[y], "text": s}) + "\n" for s, y in made))
    data["three", name] = [(s, None, y) for s, y in made]
    made = [(sentence(), sentence(), [j for j in range(3) if r.random() < 0.4]) for _ in range(rows)]
    (tasks / "own" / f"several-{name}").write_text(
        "".join(json.dumps({"sentence1": a, "sentence2": b, "label": [moods[j] for j in y]}) + "\n" for a, b, y in made))
    data["several", name] = [(a, b, y) for a, b, y in made]

# --- training runs -------------------------------------------------------------------------------------------------
tokenizer = AutoTokenizer.from_pretrained(str(here / "tiny-bert"))
def batch(rows, kind, outputs):
    f = [tokenizer(a, b, truncation=True, max_length=40) if b is not None else tokenizer(a, truncation=True, max_length=40) for a, b, _ in rows]
    b = DataCollatorWithPadding(tokenizer)(f)
    y = [y for _, _, y in rows]
    if kind == "sets": b["labels"] = torch.tensor([[float(j in own) for j in range(outputs)] for own in y])
    else: b["labels"] = torch.tensor(y, dtype=torch.float32 if kind == "scores" else torch.long)
    return b

def curve(name, kind, outputs, suffix, schedule="linear", steps=60, size=8, rate=5e-4, decay=0.01, warmup=6):
    train, dev = data[name, "train" + suffix], data[name, "dev" + suffix]
    problem = {"scores": "regression", "classes": "single_label_classification", "sets": "multi_label_classification"}[kind]
    torch.manual_seed(3)
    m = BertForSequenceClassification.from_pretrained(
        str(here / ("tiny-bert" if outputs == 2 else f"tiny-bert-{outputs}")), num_labels=outputs, problem_type=problem).eval()
    optimizer = torch.optim.AdamW(m.parameters(), lr=rate, weight_decay=decay)
    scheduler = get_scheduler(schedule, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    batches = [train[i:i + size] for i in range(0, len(train), size)]
    history = []
    for s in range(steps):
        optimizer.zero_grad(); used = scheduler.get_last_lr()[0]
        loss = m(**batch(batches[s % len(batches)], kind, outputs)).loss; loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(m.parameters(), 1e30))
        optimizer.step(); scheduler.step()
        history.append({"step": s + 1, "loss": loss.item(), "learning_rate": used, "grad_norm": norm})
    with torch.no_grad(): out = m(**batch(dev, kind, outputs))
    y = [y for _, _, y in dev]; logits = out.logits.numpy()
    if kind == "sets":
        y = [[int(j in own) for j in range(outputs)] for own in y]; z = (logits > 0).astype(int).tolist()
    elif kind == "scores": z = logits[:, 0].tolist(); y = [float(np.float32(v)) for v in y]
    else: z = logits.argmax(-1).tolist()
    case = {"kind": kind, "classes": outputs, "labels": y, "predictions": z}
    return {"batch_size": size, "learning_rate": rate, "warmup_steps": warmup, "weight_decay": decay, "steps": steps, "gradient_accumulation_steps": 1,
            "schedule": schedule, "history": history, "dev_loss": out.loss.item(), "dev_logits": logits.tolist(), "figures": figures(case)}

def head(outputs):
    """tiny-bert with a head of its own, from seeded weights."""
    torch.manual_seed(17)
    m = BertForSequenceClassification.from_pretrained(str(here / "tiny-bert"), num_labels=outputs, ignore_mismatched_sizes=True)
    with torch.no_grad():
        m.classifier.weight.normal_(0, 0.1); m.classifier.bias.normal_(0, 0.1)
    folder = here / f"tiny-bert-{outputs}"
    m.save_pretrained(folder)
    for file in ("vocab.txt", "tokenizer_config.json"): (folder / file).write_bytes((here / "tiny-bert" / file).read_bytes())
head(1); head(3)
dump("curves.json", {
    "sst2": curve("sst2", "classes", 2, ".tsv"), "cola": curve("cola", "classes", 2, ".tsv", "cosine"),
    "stsb": curve("stsb", "scores", 1, ".tsv", "constant_with_warmup"), "three": curve("three", "classes", 3, ".jsonl", "polynomial"),
    "several": curve("several", "sets", 3, ".jsonl"),
})
