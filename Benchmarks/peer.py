#!/usr/bin/env python3
"""The same job on the field's usual stack: transformers + accelerate + torch DDP (gloo) on CPUs.

`Benchmarks/compare` starts it, under torchrun for several ranks; rank 0 prints one JSON line. bert-base or any other
geometry from MODEL/config.json with random weights, shuffled rows, dynamic padding, dropout, AdamW, linear schedule.
"""
import argparse, csv, json, os, pathlib, sys, time

STARTED = float(os.environ.get("PEER_STARTED", time.time()))

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True, help="folder with config.json and vocab.txt")
parser.add_argument("--data", required=True, help="folder with MRPC's train.tsv and dev.tsv")
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--warmup", type=int, default=3)
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--bf16-hook", action="store_true", help="gradients in bf16 between ranks")
parser.add_argument("--evaluation", action="store_true", help="also time the forward pass over dev.tsv")
parser.add_argument("--small", action="store_true", help="2 layers of 64, to time the start")
parser.add_argument("--tokenizing", action="store_true", help="only time tokenizing every split")
arguments = parser.parse_args()

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, DataCollatorWithPadding, get_scheduler

tokenizer = AutoTokenizer.from_pretrained(arguments.model)


def rows(split):
    """First and second sentence and label of each row."""
    path = pathlib.Path(arguments.data) / f"{split}.tsv"
    with open(path, encoding="utf-8-sig", newline="") as file:
        table = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    return [(row[3], row[4], int(row[0]) if split != "test" else 0) for row in table if len(row) >= 5]


if arguments.tokenizing:
    splits = [s for s in ("train", "dev", "test") if (pathlib.Path(arguments.data) / f"{s}.tsv").exists()]
    begin = time.perf_counter()
    count = 0
    for split in splits:
        pairs = rows(split)
        tokenizer([p[0] for p in pairs], [p[1] for p in pairs], truncation=True)
        count += len(pairs)
    print(json.dumps({"rows": count, "seconds": time.perf_counter() - begin}))
    sys.exit()

from accelerate import Accelerator

torch.set_num_threads(arguments.threads)
accelerator = Accelerator(cpu=True, mixed_precision="bf16" if arguments.bf16 else "no")
torch.manual_seed(42)
config = BertConfig.from_pretrained(arguments.model, num_labels=2)
if arguments.small:
    config.update({"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256})
model = BertForSequenceClassification(config)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5)


def loader(split, shuffle):
    encoded = [dict(tokenizer(a, b, truncation=True), labels=label) for a, b, label in rows(split)]
    return torch.utils.data.DataLoader(
        encoded, shuffle=shuffle, batch_size=arguments.batch_size, collate_fn=DataCollatorWithPadding(tokenizer))


train, model, optimizer = accelerator.prepare(loader("train", True), model, optimizer)



def sum_in_bf16(group, bucket):
    """DDP's hook for a bucket of gradients: their mean over the ranks, in bf16 on the wire. torch has one of its own,
    bf16_compress_hook, which needs a torch that is built with CUDA."""
    gradients = bucket.buffer()
    sent = gradients.to(torch.bfloat16).div_(torch.distributed.get_world_size(group))
    summed = torch.distributed.all_reduce(sent, group=group, async_op=True).get_future()
    return summed.then(lambda future: gradients.copy_(future.value()[0]))


if arguments.bf16_hook and accelerator.num_processes > 1:
    model.register_comm_hook(None, sum_in_bf16)
schedule = get_scheduler("linear", optimizer=optimizer, num_warmup_steps=0, num_training_steps=3 * len(train))

model.train()
first_step = None
examples = tokens = padded = 0
times = []
step = 0
clock = time.perf_counter()
while step < arguments.warmup + arguments.steps:
    for batch in train:
        begin = time.perf_counter()
        loss = model(**batch).loss
        after_forward = time.perf_counter()
        accelerator.backward(loss)
        after_backward = time.perf_counter()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        end = time.perf_counter()
        if first_step is None:
            first_step = time.time() - STARTED
            first_loss = loss.item()
        if step >= arguments.warmup:
            times.append((end - clock, after_forward - begin, after_backward - after_forward, end - after_backward))
            examples += len(batch["labels"])
            tokens += int(batch["attention_mask"].sum())
            padded += batch["input_ids"].numel()
        clock = end
        step += 1
        if step == arguments.warmup + arguments.steps:
            break

total = sum(t[0] for t in times)
ranks = accelerator.num_processes
median = lambda values: sorted(values)[len(values) // 2]
result = {
    "examples_per_second": ranks * examples / total, "tokens_per_second": ranks * tokens / total,
    "padding": 1 - tokens / padded, "first_step_seconds": first_step, "first_loss": first_loss,
    "last_loss": loss.item(),
    "milliseconds": {
        name: 1e3 * median([t[i] for t in times]) for i, name in enumerate(("total", "forward", "backward", "optimizer"))},
}


def memory():
    """Bytes of this process, a page that n processes share counted 1/n."""
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024


def gathered(value):
    if ranks == 1:
        return [value]
    values = [None] * ranks
    torch.distributed.all_gather_object(values, value)
    return values


accelerator.wait_for_everyone()
result["megabytes"] = sum(gathered(memory())) / 1e6

# What DDP hides in backward: the sum of all gradients, by itself.
result["milliseconds"]["reduction"] = 0.0
if ranks > 1:
    gradients = torch.zeros(sum(p.numel() for p in model.parameters()), dtype=torch.float32)
    reductions = []
    for _ in range(4):
        accelerator.wait_for_everyone()
        begin = time.perf_counter()
        torch.distributed.all_reduce(gradients)
        reductions.append(time.perf_counter() - begin)
    result["milliseconds"]["reduction"] = 1e3 * median(reductions[1:])

if arguments.evaluation:
    validation = accelerator.prepare(loader("dev", False))
    model.eval()
    count = 0
    with torch.no_grad():
        accelerator.wait_for_everyone()
        begin = time.perf_counter()
        for batch in validation:
            model(**batch).logits.argmax(-1)
            count += len(batch["labels"])
        accelerator.wait_for_everyone()
        result["evaluation_examples_per_second"] = sum(gathered(count)) / (time.perf_counter() - begin)

import accelerate, transformers

result["versions"] = {
    "python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__,
    "accelerate": accelerate.__version__}
if accelerator.is_main_process:
    # Flushed, for what follows may abort.
    print(json.dumps(result), flush=True)
if ranks > 1:
    # Without it the threads of gloo may end the process with an error.
    accelerator.wait_for_everyone()
    torch.distributed.destroy_process_group()
