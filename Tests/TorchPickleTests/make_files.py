#!/usr/bin/env python3
"""Makes the files beside this script with torch.save, as make_goldens.py says; torch 2.13.

Files/zip.bin, Files/old.bin   one state dict in the format since torch 1.6 and in that before: several element types,
                               a transposed matrix, a view in the middle of its storage, two names of one storage, a
                               parameter, a scalar, an empty tensor, module metadata
Files/protocol-4.bin           the same with pickle's protocol 4
Files/values.json              what they hold
Files/checkpoint/              Tests/Golden/activations as a pytorch_model.bin
Files/shards/                  the same in two shards with an index
"""
import json, pathlib
from collections import OrderedDict
import torch
from safetensors.torch import load_file

here = pathlib.Path(__file__).resolve().parent
files = here / "Files"
torch.manual_seed(3)
base = torch.randn(40)
state = OrderedDict()
state["plain"] = torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7
state["transposed"] = torch.arange(6, dtype=torch.float32).reshape(2, 3).t()
state["permuted"] = torch.randn(2, 3, 4).permute(2, 0, 1)
state["view"] = base[8:20].reshape(3, 4)[:, 1:3]
state["again"] = base[:5]
state["half"] = torch.randn(5).half()
state["bfloat"] = torch.randn(5).bfloat16()
state["double"] = torch.randn(5).double()
state["numbers"] = torch.arange(4)
state["flags"] = torch.tensor([True, False])
state["complex"] = torch.zeros(2, dtype=torch.complex64)
state["scalar"] = torch.tensor(2.5)
state["empty"] = torch.zeros(0, 3)
state["parameter"] = torch.nn.Parameter(torch.randn(2, 2))
state["epoch"] = 7
state._metadata = OrderedDict([("", {"version": 1}), ("layer", {"version": 2})])
files.mkdir(exist_ok=True)
torch.save(state, files / "zip.bin")
torch.save(state, files / "old.bin", _use_new_zipfile_serialization=False)
torch.save(state, files / "protocol-4.bin", pickle_protocol=4)
floats = {n: {"shape": list(t.shape), "values": t.detach().float().flatten().tolist()}
          for n, t in state.items() if torch.is_tensor(t) and t.is_floating_point()}
(files / "values.json").write_text(json.dumps(floats) + "\n")

weights = load_file(here.parent / "Golden" / "activations" / "model.safetensors")
(files / "checkpoint").mkdir(exist_ok=True)
torch.save(weights, files / "checkpoint" / "pytorch_model.bin")
(files / "shards").mkdir(exist_ok=True)
names = sorted(weights)
parts = {"pytorch_model-00001-of-00002.bin": names[:20], "pytorch_model-00002-of-00002.bin": names[20:]}
for file, part in parts.items(): torch.save({n: weights[n] for n in part}, files / "shards" / file)
index = {"metadata": {"total_size": 0}, "weight_map": {n: f for f, part in parts.items() for n in part}}
(files / "shards" / "pytorch_model.bin.index.json").write_text(json.dumps(index) + "\n")
