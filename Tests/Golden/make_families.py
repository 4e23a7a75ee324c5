#!/usr/bin/env python3
"""Makes the reference values of BERT's family in families/ beside this file: DistilBERT, ELECTRA, RoBERTa.

    python make_families.py                       # with torch and transformers 5; writes families/
    python make_families.py --out DIR --seed 7    # other weights into another folder, as a live comparison asks for them

Made with torch 2.13.0 (CPU), transformers 5.24.0, on one CPU thread. Weights come from a seeded generator; the rows are mrpc/'s.

families/<name>/              a small random model with its tokenizer, as somebody may have it
families/<name>/gradients.safetensors   of the mean loss of the first 8 rows of mrpc/dev.tsv, dropout off
families/forward.json         logits, losses and gradient norms of these rows, and the state dict's shapes
families/curves.json          60 steps on mrpc/train.tsv in file order, dropout off, batches of 12; then logits on dev.tsv
"""
import argparse, json, pathlib, shutil
import torch
from safetensors.torch import load_file, save_file
from transformers import (AutoTokenizer, DataCollatorWithPadding, DistilBertConfig, DistilBertForSequenceClassification, ElectraConfig,
                          ElectraForSequenceClassification, RobertaConfig, RobertaForSequenceClassification, get_scheduler)

torch.set_num_threads(1)
here = pathlib.Path(__file__).resolve().parent
parser = argparse.ArgumentParser()
parser.add_argument("--out", type=pathlib.Path, default=here / "families")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
out = options.out
words = (here / "tiny-bert" / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]


def rows(name):
    lines = (here / "mrpc" / name).read_text(encoding="utf-8").split("\n")[1:-1]
    return [(int(line.split("\t")[0]), line.split("\t")[3], line.split("\t")[4]) for line in lines]


train, dev = rows("train.tsv"), rows("dev.tsv")

# --- tokenizers ------------------------------------------------------------------------------------------------------
def word_pieces(folder, kind):
    (folder / "vocab.txt").write_text("".join(word + "\n" for word in words), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 40, "tokenizer_class": kind}, indent=1) + "\n")


def byte_pairs(folder, vocabulary=400):
    """A byte-level BPE as RoBERTa's: its special tokens first, then bytes and merges learnt from the rows."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=vocabulary - 1, special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    learnt.train_from_iterator([text for _, a, b in train + dev for text in (a, b)], trainer)
    model = json.loads(learnt.to_str())["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    vocab["<mask>"] = len(vocab)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(pair + "\n" for pair in merges), encoding="utf-8")
    mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"add_prefix_space": False, "mask_token": mask, "model_max_length": 64, "tokenizer_class": "RobertaTokenizer"}, indent=1) + "\n")
    return len(vocab)


# --- models ----------------------------------------------------------------------------------------------------------
def model_of(build, configuration, seed):
    torch.manual_seed(seed + 100 * options.seed)
    model = build(configuration)
    with torch.no_grad():  # break the zero biases and unit gains, so that a swapped or dropped one shows
        for name, p in model.named_parameters():
            if name.endswith("bias"): p.normal_(0, 0.1)
            elif p.dim() == 1: p.normal_(1, 0.1)
            else: p.mul_(5.0)
    return model.eval()  # dropout off


def fresh(name):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True); folder.mkdir(parents=True)
    return folder


def families():
    """name, how its tokenizer is made, how the model is made from the size of the vocabulary."""
    yield "distilbert", lambda f: word_pieces(f, "DistilBertTokenizer") or len(words), lambda size: model_of(DistilBertForSequenceClassification, DistilBertConfig(
        vocab_size=size, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=40), 11)
    yield "distilbert-sinusoidal", lambda f: word_pieces(f, "DistilBertTokenizerFast") or len(words), lambda size: model_of(DistilBertForSequenceClassification, DistilBertConfig(
        vocab_size=size, dim=20, n_layers=1, n_heads=5, hidden_dim=28, max_position_embeddings=40, sinusoidal_pos_embds=True, activation="relu", num_labels=3), 12)
    yield "electra", lambda f: word_pieces(f, "ElectraTokenizer") or len(words), lambda size: model_of(ElectraForSequenceClassification, ElectraConfig(
        vocab_size=size, embedding_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=40), 13)
    yield "electra-wide", lambda f: word_pieces(f, "BertTokenizer") or len(words), lambda size: model_of(ElectraForSequenceClassification, ElectraConfig(
        vocab_size=size, embedding_size=44, hidden_size=20, num_hidden_layers=1, num_attention_heads=5, intermediate_size=28, max_position_embeddings=40, num_labels=3), 14)
    yield "electra-same", lambda f: word_pieces(f, "ElectraTokenizerFast") or len(words), lambda size: model_of(ElectraForSequenceClassification, ElectraConfig(
        vocab_size=size, embedding_size=24, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20, max_position_embeddings=40, num_labels=1), 15)
    yield "roberta", byte_pairs, lambda size: model_of(RobertaForSequenceClassification, RobertaConfig(
        vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=66, type_vocab_size=1, layer_norm_eps=1e-5), 16)


def batch(tokenizer, rows):
    features = [dict(tokenizer(a, b, truncation=True), labels=y) for y, a, b in rows]
    return DataCollatorWithPadding(tokenizer)(features)


def forward(model, tokenizer, path):
    b = batch(tokenizer, dev[:8])
    if model.config.num_labels == 1: b["labels"] = torch.tensor([0.0, 1.5, -2.0, 5.0, 3.25, 0.5, 4.0, 2.0])
    if model.config.num_labels == 3: b["labels"] = torch.tensor([0, 1, 2, 2, 1, 0, 0, 2])
    model.requires_grad_(True)  # transformers 4 does not train sinusoidal positions, 5 does
    result = model(**b); result.loss.backward()
    save_file({name: p.grad.contiguous() for name, p in model.named_parameters()}, path)
    norm = float(torch.sqrt(sum((p.grad.double() ** 2).sum() for p in model.parameters())))
    return {"logits": result.logits.tolist(), "loss": result.loss.item(), "grad_norm": norm, "labels": b["labels"].tolist(),
            "shapes": {name: list(p.shape) for name, p in model.named_parameters()}}


def curve(model, tokenizer, steps=60, size=12, rate=1e-3):
    """As finetune: weight decay on all parameters, linear schedule without warm-up."""
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = get_scheduler("linear", optimizer=optimizer, num_warmup_steps=0, num_training_steps=steps)
    batches = [train[start:start + size] for start in range(0, len(train), size)]
    history = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(**batch(tokenizer, batches[step % len(batches)])).loss
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e30))
        history.append({"step": step + 1, "loss": loss.item(), "learning_rate": schedule.get_last_lr()[0], "grad_norm": norm})
        optimizer.step(); schedule.step()
    with torch.no_grad(): result = model(**batch(tokenizer, dev))
    return {"batch_size": size, "learning_rate": rate, "max_grad_norm": None, "warmup_steps": 0, "gradient_accumulation_steps": 1, "weight_decay": 0.01,
            "no_decay_bias_norm": False, "steps": steps, "history": history, "dev_logits": result.logits.tolist(), "dev_loss": result.loss.item()}


def main():
    out.mkdir(parents=True, exist_ok=True)
    forwards, curves = {}, {}
    for name, tokenizer_of, build in families():
        folder = fresh(name)
        size = tokenizer_of(folder)
        build(size).save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        forwards[name] = forward(build(size), tokenizer, folder / "gradients.safetensors")
        if len(forwards[name]["logits"][0]) == 2: curves[name] = curve(build(size), tokenizer)
        print(name, type(tokenizer).__name__, sum(p.numel() for p in build(size).parameters()), "parameters", forwards[name]["loss"])
    for name, value in (("forward.json", forwards), ("curves.json", curves)):
        (out / name).write_text(json.dumps(value) + "\n", encoding="utf-8")
    print(sum(f.stat().st_size for f in out.rglob("*") if f.is_file()), "bytes")


if __name__ == "__main__":
    main()
