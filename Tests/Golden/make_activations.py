#!/usr/bin/env python3
"""Makes the reference values of activations/ with torch and transformers, as make_goldens.py says; needs its folders.

One small model, the same weights under every `hidden_act`. The weights before the activation are large, so that its
whole range is used.

activations/config.json, model.safetensors   the model; its words are those of tiny-bert/
activations/forward.json                      logits and loss of the first 8 rows of mrpc/dev.tsv, by name
activations/gradients.safetensors             every gradient, as NAME/PARAMETER, once for each function
"""
import json, pathlib
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, DataCollatorWithPadding

torch.set_num_threads(1)
here = pathlib.Path(__file__).resolve().parent
folder = here / "activations"
folder.mkdir(exist_ok=True)
functions = "gelu gelu_new quick_gelu relu relu2 relu6 leaky_relu silu mish tanh sigmoid".split()
aliases = "gelu_python gelu_pytorch_tanh gelu_python_tanh gelu_fast gelu_accurate swish".split()

tokenizer = AutoTokenizer.from_pretrained(str(here / "tiny-bert"))
lines = (here / "mrpc" / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:9]
rows = [line.split("\t") for line in lines]
features = [dict(tokenizer(a, b, truncation=True, max_length=40), labels=int(y)) for y, _, _, a, b in rows]
batch = DataCollatorWithPadding(tokenizer)(features)

config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=40, hidden_size=8, num_hidden_layers=2,
                    num_attention_heads=2, intermediate_size=12)
torch.manual_seed(5)
model = BertForSequenceClassification(config)
with torch.no_grad():
    for name, p in model.named_parameters():
        if name.endswith("bias"): p.normal_(0, 0.1)
        elif "LayerNorm.weight" in name: p.normal_(1, 0.1)
        elif "intermediate" in name: p.normal_(0, 1.0)
        elif name.endswith(("0.output.dense.weight", "1.output.dense.weight")): p.normal_(0, 0.6)
        elif p.dim() == 2: p.mul_(10.0)
state = model.state_dict()
model.save_pretrained(folder)

forward, gradients = {}, {}
for name in functions + aliases:
    config.hidden_act = name
    model = BertForSequenceClassification(config).eval()  # dropout off
    model.load_state_dict(state)
    out = model(**batch)
    out.loss.backward()
    forward[name] = {"logits": out.logits.tolist(), "loss": out.loss.item()}
    if name in functions:
        gradients |= {f"{name}/{n}": p.grad.contiguous() for n, p in model.named_parameters()}
(folder / "forward.json").write_text(json.dumps(forward) + "\n")
save_file(gradients, folder / "gradients.safetensors")
print({n: round(f["loss"], 5) for n, f in forward.items()})
