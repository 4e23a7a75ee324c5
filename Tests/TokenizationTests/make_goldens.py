#!/usr/bin/env python3
"""Writes Goldens/: a small vocabulary and what transformers' BertTokenizer makes of texts with it.

    python3 -m venv venv && venv/bin/pip install transformers torch
    venv/bin/python Tests/TokenizationTests/make_goldens.py
"""
import itertools, json, pathlib
from transformers import BertTokenizer

here = pathlib.Path(__file__).resolve().parent / "Goldens"
here.mkdir(exist_ok=True)

words = """the a cat dog sat on mat lamp river stone green blue runs ran said it is was of and in to Paris paris Zorblat zorblat
cafe naive uber strasse istanbul i un im ##believ ##able ##s ##ed ##ing ##ly ##er play walk zorb ##lat flim ##flam ##m glo ##rp
résumé ##é Éclair éclair ##\u0301 中 文 漢 ##字 日 한 ##ᆫ ᄒ ##ᅡ σ ##ι ##σ ##ς и ##й ##и ё е Привет привет हि ##न् x ##x ##xx ##xxxx ß ﬁ fi
i̇ ##stanbul \u0301 ² ½ ° € 3 5 10 ##0 ##5 100 ' " “ ” — … - . , ! ? $ % # @ [ ] ( ) / : & + = 😀 \u302e ##\u302e ##\u302f""".split()
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(dict.fromkeys(words))
(here / "vocab.txt").write_bytes("\n".join(vocabulary).encode() + b"\n")

texts = [
    "", " ", "the cat sat on the mat.", "The DOG ran!", "unbelievable playing walked", "zorblat flimflam glorp glorpq",
    "naïve café résumé über", "re\u0301sume\u0301 e\u0301clair Éclair", "中文漢字日 a中b", "한 하 핬", "tabs\tand\nnew\r\nlines", "the\u200bcat\u00addog\u0000sat\u0001",
    "a\u00a0cat\u3000on\u2028the\u0085mat\u000bin\u000cit", "😀 the 😀😀", "“Paris” — said…", "can't won't it's", "$3.50 50% #a @the 100°", "x" * 99, "x" * 100,
    "x" * 101, "é" * 100 + " " + "é" * 101, "[CLS] [SEP] [MASK] [PAD] [UNK] [cls] [ MASK ]", "the[SEP]cat[MASK]dog[[PAD]]", "##ing ## #a", "İstanbul ıI STRASSE ß",
    "ΣΊΣ Σ Привет Ё Й", "हिन्दी", "ﬁ fi ½ ² ①", "a\u0301\u0323 x\u0323\u0301", "\u0301 \u0301a", "a\u302f\u302e\u0301", "x\u302e\u0334y\u0d3b\u0334",
    "\ufeffthe cat\ufffd", "it\u037e the\u1fef", "\U0001d165 \U0002f800 \uf900", "A.B.C.", "http://a.b/c?d=e&f+g", "the  cat   sat", "\u0897\u1ac1 new marks a\u0897",
    "\u2e43 \u061d \u166d a\u2e43b", "Zorblat ZORBLAT zorblatzorblat",
]
configurations = {
    "default": {}, "cased": {"do_lower_case": False}, "accents": {"strip_accents": False},
    "cased-stripped": {"do_lower_case": False, "strip_accents": True}, "together": {"tokenize_chinese_chars": False},
}
long = ["the cat sat on the mat and the dog ran to the river", "a green lamp is unbelievable", "it was", ""]

with open(here / "cases.jsonl", "w", encoding="utf-8") as file:
    def case(name, tokenizer, a, b=None, length=None):
        options = dict(truncation=True, max_length=length) if length else {}
        # In lists: called with plain strings, transformers takes an empty second text for none.
        encoded = tokenizer([a], None if b is None else [b], **options)
        record = {"configuration": name, "a": a}
        if b is not None: record["b"] = b
        if length: record["max_length"] = length
        record |= {"input_ids": encoded["input_ids"][0], "token_type_ids": encoded["token_type_ids"][0]}
        file.write(json.dumps(record) + "\n")

    for name, options in configurations.items():
        (here / f"{name}.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **options}) + "\n")
        tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(vocabulary)}, **options)
        for text in texts: case(name, tokenizer, text)
        if name == "default":
            for a, b in zip(texts, texts[1:]): case(name, tokenizer, a, b)
            for (a, b), length in itertools.product(itertools.product(long, long), (3, 4, 5, 8, 9, 12, 13, 20, 64)): case(name, tokenizer, a, b, length)
            for a, length in itertools.product(long, (2, 3, 7)): case(name, tokenizer, a, None, length)
