#!/usr/bin/env python3
"""Compares `inspect tokens` with transformers' BertTokenizer on random odd Unicode.

    swift build -c release --product inspect
    venv/bin/python Tests/TokenizationTests/fuzz.py .build/release/inspect [--rows 20000] [--seed 1]

The vocabulary is made for it: every assigned scalar, also as a continuation, so that no difference hides behind [UNK].
Prints the differing rows, and exits 1 where there are any.
"""
import argparse, json, pathlib, random, subprocess, sys, tempfile, unicodedata
from transformers import BertTokenizer

parser = argparse.ArgumentParser()
parser.add_argument("inspect")
parser.add_argument("--rows", type=int, default=20000)
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()

scalars = [chr(v) for v in range(0x80, 0x110000) if unicodedata.category(chr(v)) not in ("Cn", "Co", "Cs")]
# Scalars that this Python's Unicode does not know yet.
newer = [chr(v) for v in list(range(0x870, 0x900)) + list(range(0x10D40, 0x10D90)) + list(range(0x11380, 0x113E3))
         + list(range(0x105C0, 0x10600)) + list(range(0x16100, 0x16140)) + list(range(0x1E5D0, 0x1E600)) + list(range(0x1E6C0, 0x1E700))]
printable = [chr(v) for v in range(0x21, 0x7F)]
pieces = ["".join(random.Random(0).choices("abcdeé", k=k)) for k in (2, 3, 4)]
words = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
                           + [p + c for p in ("", "##") for c in printable + scalars + newer + pieces]))
marks = [c for c in scalars if unicodedata.combining(c)]
decomposable = [c for c in scalars if unicodedata.decomposition(c)]
cased = [c for c in scalars if c.lower() != c]
odd = list("\u0085\u00a0\u00ad\u1680\u180e\u2000\u2007\u200b\u200c\u200d\u200e\u2028\u2029\u202f\u205f\u3000\ufeff\ufffd\ue000\U0010ffff\u0130\u0131\u1e9e\u03a3\u0345\u037e\u1fef\u212a\u0344\u302e\u302f\U0001d165\U0001d16d\u0f71\u3099")
specials = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "[cls]", "[", "]", "##", "[[SEP]]", "[MAS"]
controls = [chr(v) for v in range(1, 0x20) if v not in (9, 10, 13)] + ["\x7f", "\x80", "\x9f"]
random_ = random.Random(options.seed)


def text():
    kinds = [(printable, 6), ([" ", "  "], 3), (scalars, 4), (marks, random_.choice([0, 3, 12])), (decomposable, 3), (cased, 3),
             (odd, 2), (specials, 1), (controls, 0.3), (newer, random_.choice([0, 1])), (pieces, 2)]
    groups, weights = zip(*kinds)
    length = random_.choice([1, 3, 10, 40, 99, 100, 101, 130])
    out = "".join(random_.choice(g) for g in random_.choices(groups, weights, k=length))
    if random_.random() < 0.05: out += random_.choice("aé中") * random_.choice([99, 100, 101])
    return out


rows = []
while len(rows) < options.rows:
    row = (text(), text())
    if all(any(b > 0x20 for b in t.encode()) for t in row): rows.append(row)
for at in range(0, len(scalars), 40):  # every scalar between letters, after a mark, and on its own
    part = scalars[at:at + 40]
    rows.append((" ".join(f"a{c}B {c}" for c in part), "".join(f"e\u0323{c}\u0301" for c in part)))

different = 0
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / "vocab.txt").write_bytes("\n".join(words).encode() + b"\n")
    (folder / "t.tsv").write_bytes(("#1 String\t#2 String\n" + "".join(f"{a}\t{b}\n" for a, b in rows)).encode())
    for config, lengths in (({}, (4096, 64, 33, 9)), ({"do_lower_case": False}, (512,)), ({"strip_accents": False}, (512,)),
                            ({"do_lower_case": False, "strip_accents": True}, (512,)), ({"tokenize_chinese_chars": False}, (512,))):
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **config}))
        theirs = BertTokenizer(vocab={w: i for i, w in enumerate(words)}, **config)
        for length in lengths:
            got = subprocess.run([options.inspect, "tokens", "--model", str(folder), "--tsv", str(folder / "t.tsv"), "--max-length",
                                  str(length)], capture_output=True, check=True).stdout.splitlines()
            want = {"input_ids": [], "token_type_ids": []}
            for start in range(0, len(rows), 500):
                part = rows[start:start + 500]
                encoded = theirs([a for a, _ in part], [b for _, b in part], truncation=True, max_length=length)
                for key in want: want[key] += [tuple(ids) for ids in encoded[key]]
            bad = 0
            for index, line in enumerate(got):
                line = json.loads(line)
                if any(tuple(line[key]) != want[key][index] for key in want):
                    bad += 1
                    if bad <= 3:
                        mine = [words[i] for i in line["input_ids"]]
                        other = [words[i] for i in want["input_ids"][index]]
                        at = next((k for k, (x, y) in enumerate(zip(mine, other)) if x != y), min(len(mine), len(other)))
                        near = slice(max(0, at - 3), at + 4)
                        print("row", index, "token", at, ascii(mine[near]), "expected", ascii(other[near]))
            print(config, "max_length", length, "rows", len(got), "differ", bad, flush=True)
            different += bad + abs(len(got) - len(rows))
sys.exit(1 if different else 0)
