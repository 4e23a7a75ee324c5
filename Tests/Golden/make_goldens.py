#!/usr/bin/env python3
"""Makes the small reference values ("goldens") beside this file with the Python stack that Lockstep is compared with.

    python3 -m venv venv && venv/bin/pip install torch transformers accelerate scikit-learn safetensors
    venv/bin/python make_goldens.py

Made with torch 2.15.0 (CPU), transformers 5.23.0, accelerate 1.15.0, scikit-learn 1.9.1, safetensors 0.8.0.
Every figure is fp32 on one CPU thread. Words, sentences and labels are invented here by a seeded generator.

mrpc/              train.tsv (62 rows: the last batch of 12 has 2) and dev.tsv (30 rows) in MRPC's columns
tiny-bert/         hidden 32, 2 layers, 4 heads, intermediate 64, as transformers saves it; the other folders hold
tiny-bert-fp16/    the same weights in half precision,
tiny-bert-bf16/    in bfloat16, cut into shards with an index,
tiny-bert-old/     under the names of old checkpoints (gamma, beta, no "bert."), with heads of pretraining and none of
                   classification
regression/        1 output and odd sizes, three-labels/ another
gradients.safetensors, */gradients.safetensors   of the mean loss of the first 8 rows of dev.tsv, dropout off
forward.json       logits, losses and gradient norms of these 8 rows for every folder, and the state dict's shapes
curves.json        training runs in file order, dropout off: losses, rates, norms, then scores and logits on dev.tsv
metrics.json       scores from scikit-learn; shards.json batches from accelerate
"""
import json, pathlib, random, shutil
import numpy as np, torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, DataCollatorWithPadding
from transformers import get_scheduler
from sklearn.metrics import accuracy_score, f1_score

torch.set_num_threads(1)
here = pathlib.Path(__file__).resolve().parent

# --- words and rows ------------------------------------------------------------------------------------------------
nouns = "otter lantern harbour kettle orchard violin glacier baker pilot meadow teapot ferry walnut tunnel saddle beacon".split()
names = "marla tobin ysolde quill edda fenwick".split()
verbs = "paints lifts follows mends hides carries watches sells drops finds counts washes".split()
adjectives = "green quiet heavy narrow amber clever hollow sudden pale rusty brisk gentle".split()
places = "river market attic village bridge valley cellar island".split()
times = "today yesterday tonight early late twice often never again soon".split()
small = "a an the and or but of in on at by for with from to is was are were not no it its he she they this that who".split()
pieces = "un ##able ##s ##ed ##ing ##er ##ly ##ness re pre ##ful".split()
signs = ". , ; : ! ? ' \" - ( ) $ %".split()
digits = [str(d) for d in range(10)] + ["##" + str(d) for d in range(3)]
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + signs + digits + small + nouns + names + verbs + adjectives + places + times + pieces
assert len(vocabulary) == len(set(vocabulary)) and 130 <= len(vocabulary) <= 170, len(vocabulary)

r = random.Random(7)
def clause():
    who = r.choice(names).capitalize() if r.random() < 0.4 else f"the {r.choice(adjectives)} {r.choice(nouns)}"
    verb = r.choice(verbs)
    if r.random() < 0.2: verb = "re" + verb  # a word in pieces
    return f"{who} {verb} {r.choice(['a', 'the', 'its'])} {r.choice(nouns)}"
def sentence():
    s = clause()
    if r.random() < 0.5: s += f" {r.choice(['in', 'on', 'at', 'by'])} the {r.choice(places)}"
    if r.random() < 0.3: s += f" , {r.choice(times)}"
    if r.random() < 0.2: s += f" {r.choice(['and', 'but'])} {clause()}"
    if r.random() < 0.1: s += ' "' + r.choice(adjectives) + "ness"  # an unbalanced quote is text
    if r.random() < 0.1: s += f" for ${r.randrange(10)}"
    if r.random() < 0.1: s += " zebra"  # not in the vocabulary
    return s + r.choice([".", "!", " ?", ""])
def row():
    a = sentence(); same = int(r.random() < 0.6)
    if not same: return same, a, sentence()
    words = a.split(); k = r.randrange(len(words)); words[k:k] = [r.choice(times)]
    return same, a, " ".join(words)
def table(name, count):
    rows = [row() for _ in range(count)]
    text = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    for i, (y, a, b) in enumerate(rows): text += f"{y}\t{1000 + 2 * i}\t{1001 + 2 * i}\t{a}\t{b}\n"
    (here / "mrpc").mkdir(exist_ok=True)
    (here / "mrpc" / name).write_text(text, encoding="utf-8")
    return rows
train, dev = table("train.tsv", 62), table("dev.tsv", 30)

# --- models --------------------------------------------------------------------------------------------------------
def model_of(seed, **sizes):
    torch.manual_seed(seed)
    m = BertForSequenceClassification(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=40, **sizes))
    with torch.no_grad():  # break the zero biases and unit gains, so that a swapped or dropped one shows
        for n, p in m.named_parameters():
            if n.endswith("bias"): p.normal_(0, 0.1)
            elif "LayerNorm.weight" in n: p.normal_(1, 0.1)
            elif p.dim() == 2: p.mul_(5.0)
    return m.eval()  # dropout off

def fresh(name):
    folder = here / name
    shutil.rmtree(folder, ignore_errors=True); folder.mkdir()
    (folder / "vocab.txt").write_text("".join(w + "\n" for w in vocabulary), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "model_max_length": 40, "tokenizer_class": "BertTokenizer"}, indent=1) + "\n")
    return folder

def save(m, name, **options):
    folder = fresh(name)
    m.save_pretrained(folder, **options)
    return folder

main = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, num_labels=2)
tiny = save(model_of(1, **main), "tiny-bert")
tok = AutoTokenizer.from_pretrained(str(tiny))
assert tok.convert_ids_to_tokens(tok("The unable zebra")["input_ids"]) == ["[CLS]", "the", "un", "##able", "[UNK]", "[SEP]"]
assert tok("the")["input_ids"][0] == 2

def batch(rows, **labels):
    f = [dict(tok(a, b, truncation=True, max_length=40), labels=y) for y, a, b in rows]
    return DataCollatorWithPadding(tok)(f)

def forward(m, labels=None, gradients=None):
    """Logits, loss and gradients of the first 8 rows of dev.tsv, weights taken as fp32."""
    m = m.float(); m.zero_grad()
    b = batch(dev[:8])
    if labels is not None: b["labels"] = torch.tensor(labels)
    out = m(**b); out.loss.backward()
    if gradients: save_file({n: p.grad.contiguous() for n, p in m.named_parameters()}, gradients)
    norm = float(torch.sqrt(sum((p.grad.double() ** 2).sum() for p in m.parameters())))
    return {"logits": out.logits.tolist(), "loss": out.loss.item(), "grad_norm": norm, "labels": b["labels"].tolist(),
            "shapes": {n: list(p.shape) for n, p in m.named_parameters()}}

result = {"tiny-bert": forward(model_of(1, **main), gradients=here / "gradients.safetensors")}
for dtype, name, options in ((torch.float16, "tiny-bert-fp16", {}), (torch.bfloat16, "tiny-bert-bf16", {"max_shard_size": "15kB"})):
    save(model_of(1, **main).to(dtype), name, **options)
    result[name] = forward(model_of(1, **main).to(dtype))

old = {}
for n, t in model_of(1, **main).half().state_dict().items():
    if n.startswith("classifier."): continue
    n = n.removeprefix("bert.").replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    old[n] = t.contiguous()
old |= {"cls.predictions.bias": torch.ones(len(vocabulary)).half(), "cls.predictions.transform.dense.weight": torch.ones(4, 4).half(),
        "cls.predictions.transform.LayerNorm.gamma": torch.ones(32).half(), "cls.seq_relationship.weight": torch.ones(2, 32).half(),
        "embeddings.position_ids": torch.arange(40)[None]}
folder = fresh("tiny-bert-old")
save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
shutil.copy(tiny / "config.json", folder)

odd = dict(hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20, num_labels=1)
folder = save(model_of(2, **odd), "regression")
result["regression"] = forward(model_of(2, **odd), [0.0, 1.5, -2.0, 5.0, 3.25, 0.5, 4.0, 2.0], folder / "gradients.safetensors")
odd = dict(hidden_size=20, num_hidden_layers=1, num_attention_heads=5, intermediate_size=28, num_labels=3)
folder = save(model_of(3, **odd), "three-labels")
result["three-labels"] = forward(model_of(3, **odd), [0, 1, 2, 2, 1, 0, 0, 2], folder / "gradients.safetensors")

def dump(name, value):
    (here / name).write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
dump("forward.json", result)

# --- training runs: file order, dropout off; the loss of a step is the mean over all rows of its window --------------
def curve(steps, bs, lr, clip=None, warmup=0, accum=1, decay=0.01, spare=False):
    m = model_of(1, **main)
    spared = [p for n, p in m.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
    others = [p for n, p in m.named_parameters() if not (n.endswith("bias") or "LayerNorm" in n)]
    groups = [{"params": others, "weight_decay": decay}, {"params": spared, "weight_decay": 0.0 if spare else decay}]
    opt = torch.optim.AdamW(groups, lr=lr)
    sch = get_scheduler("linear", optimizer=opt, num_warmup_steps=warmup, num_training_steps=steps)
    batches = [train[i:i + bs] for i in range(0, len(train), bs)]
    windows = [batches[i:i + accum] for i in range(0, len(batches), accum)]  # cut off at the end of the epoch
    history = []
    for s in range(steps):
        window = windows[s % len(windows)]; rows = sum(map(len, window))
        opt.zero_grad(); loss = 0.0; rate = sch.get_last_lr()[0]
        for rows_of_batch in window:
            part = m(**batch(rows_of_batch)).loss * (len(rows_of_batch) / rows)
            part.backward(); loss += part.item()
        norm = float(torch.nn.utils.clip_grad_norm_(m.parameters(), clip if clip else 1e30))
        opt.step(); sch.step()
        history.append({"step": s + 1, "loss": loss, "learning_rate": rate, "grad_norm": norm})
    with torch.no_grad(): out = m(**batch(dev))
    y = [y for y, _, _ in dev]; z = out.logits.argmax(-1).tolist()
    return {"batch_size": bs, "learning_rate": lr, "max_grad_norm": clip, "warmup_steps": warmup,
            "gradient_accumulation_steps": accum, "weight_decay": decay, "no_decay_bias_norm": spare, "steps": steps,
            "history": history, "dev_logits": out.logits.tolist(), "dev_loss": out.loss.item(),
            "accuracy": float(accuracy_score(y, z)), "f1": float(f1_score(y, z, zero_division=0))}
dump("curves.json", {
    "plain": curve(20, 12, 1e-3),
    "clip and warm-up": curve(20, 12, 2e-3, clip=1.0, warmup=6),
    "accumulation": curve(10, 12, 1e-3, accum=4),
    "weight decay spares biases and norms": curve(8, 12, 1e-3, decay=0.5, spare=True),
})

# --- metrics and shards --------------------------------------------------------------------------------------------
r = random.Random(0); ms = []
for k in (1, 2, 5, 37, 200):
    for p in (0.0, 0.3, 0.7, 1.0):
        y = [int(r.random() < 0.68) for _ in range(k)]; z = [int(r.random() < p) for _ in range(k)]
        ms.append({"labels": y, "predictions": z, "accuracy": float(accuracy_score(y, z)), "f1": float(f1_score(y, z, zero_division=0))})
dump("metrics.json", ms)

from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler
cases = []
for n, bs, world in ((1, 4, 2), (7, 4, 2), (20, 4, 3), (23, 8, 2), (24, 8, 4), (62, 12, 4)):
    for even in (True, False):
        for split in (True, False):
            if split and bs % world: continue
            for drop in (True, False):
                shards = [list(BatchSamplerShard(BatchSampler(range(n), batch_size=bs, drop_last=drop), num_processes=world,
                                                 process_index=k, split_batches=split, even_batches=even)) for k in range(world)]
                cases.append({"dataset_size": n, "batch_size": bs, "num_processes": world, "even_batches": even,
                              "split_batches": split, "drop_last": drop, "shards": shards})
dump("shards.json", cases)
print(len(vocabulary), "words,", sum(f.stat().st_size for f in here.rglob("*") if f.is_file()), "bytes")
