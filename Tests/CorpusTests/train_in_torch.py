"""Trains transformers' BERT from random weights on a folder that ParaphraseCorpus.write(to:) made.

The reference for docs/corpus.md: torch's AdamW, a linear schedule with warm-up, dropout from config.json, one process
with the global batch of all ranks. Needs torch and transformers; no test runs it.

  python train_in_torch.py FOLDER [--seed 42] [--epochs 3] [--batch 32] [--lr 1e-3] [--set hidden_size=96 ...]
"""
import argparse
import json
import random
import time

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--seed", type=int, default=42)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--batch", type=int, default=32, help="pairs per step over all ranks")
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--warmup", type=int, default=100)
parser.add_argument("--decay", type=float, default=0.01)
parser.add_argument("--clip", type=float, default=1.0)
parser.add_argument("--evaluations", type=int, default=1, help="per epoch")
parser.add_argument("--set", nargs="*", default=[], help="config.json fields to override, name=value")
parser.add_argument("--guesses", help="a file for the last guesses on dev.tsv, one per line")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
random.seed(args.seed)

config = json.load(open(f"{args.folder}/config.json"))
for item in args.set:
    name, value = item.split("=")
    config[name] = json.loads(value)
tokenizer = BertTokenizer.from_pretrained(args.folder)
model = BertForSequenceClassification(BertConfig(**config, num_labels=2))


def read(path):
    rows = [line.split("\t") for line in open(path, encoding="utf-8").read().splitlines()[1:]]
    words = {}

    def ids(text):
        for word in text.lower().split():
            if word not in words:
                words[word] = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word))
        return [i for word in text.lower().split() for i in words[word]]

    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    result = []
    for label, _, _, first, second in rows:
        a, b = [cls] + ids(first) + [sep], ids(second) + [sep]
        result.append((a + b, len(a), int(label), first, second))
    return result


def collate(rows):
    longest = max(len(row[0]) for row in rows)
    ids = torch.tensor([row[0] + [0] * (longest - len(row[0])) for row in rows])
    types = torch.tensor([[int(row[1] <= i < len(row[0])) for i in range(longest)] for row in rows])
    mask = torch.tensor([[int(i < len(row[0])) for i in range(longest)] for row in rows])
    return dict(input_ids=ids, token_type_ids=types, attention_mask=mask, labels=torch.tensor([row[2] for row in rows]))


def evaluate(rows):
    model.eval()
    guesses = []
    with torch.no_grad():
        for i in range(0, len(rows), 250):
            guesses += model(**collate(rows[i : i + 250])).logits.argmax(1).tolist()
    model.train()
    right = sum(g == row[2] for g, row in zip(guesses, rows))
    hits = sum(g == row[2] == 1 for g, row in zip(guesses, rows))
    return right / len(rows), 2 * hits / max(1, 2 * hits + len(rows) - right), guesses


train, dev = read(f"{args.folder}/train.tsv"), read(f"{args.folder}/dev.tsv")
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.decay)
per_epoch = -(-len(train) // args.batch)
total = per_epoch * args.epochs
print(f"{len(train)} pairs, {sum(len(r[0]) for r in train) / len(train):.1f} tokens, {total} steps, "
      f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
start, step, running = time.time(), 0, None
model.train()
for epoch in range(args.epochs):
    random.shuffle(train)
    for i in range(per_epoch):
        rate = min((step + 1) / max(1, args.warmup), (total - step) / max(1, total - args.warmup))
        for group in optimizer.param_groups:
            group["lr"] = args.lr * rate
        loss = model(**collate(train[i * args.batch : (i + 1) * args.batch])).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        step += 1
        running = loss.item() if running is None else 0.99 * running + 0.01 * loss.item()
        if (i + 1) % -(-per_epoch // args.evaluations) == 0 or i + 1 == per_epoch:
            accuracy, f1, guesses = evaluate(dev)
            print(f"epoch {epoch + (i + 1) / per_epoch:.2f} loss {running:.3f} accuracy {accuracy:.4f} f1 {f1:.4f} "
                  f"{time.time() - start:.0f} s", flush=True)
if args.guesses:
    open(args.guesses, "w").write("".join(f"{guess}\n" for guess in guesses))
