#!/usr/bin/env python3
"""Writes folders of tokenizers, texts, and the ids that transformers' AutoTokenizer (version 5) gives them.

    python3 -m venv venv && venv/bin/pip install transformers torch
    venv/bin/python Tests/TokenizationTests/make_goldens.py                      # Goldens/, which is checked in
    venv/bin/python Tests/TokenizationTests/make_goldens.py --out DIR --texts 2000 --random 200 --seed 7

OUT/NAME/ is a folder as a user has it, OUT/texts.jsonl has the texts ([a], [a, b], [a, b, max_length]), and OUT/NAME.ids a line
per text: the ids, then the token types as pairs of type and count; or, in the place of all lines, why transformers fails.
With --random there are folders of random contents as well. FolderTests.swift compares them with Lockstep's.
"""
import argparse, json, os, pathlib, random, shutil, sys, unicodedata

os.environ["HF_HUB_OFFLINE"] = "1"

words = """the a cat dog sat on mat lamp river stone green blue runs ran said it is was of and in to Paris paris Zorblat zorblat
cafe naive uber strasse istanbul i un im ##believ ##able ##s ##ed ##ing ##ly ##er play walk zorb ##lat flim ##flam ##m glo ##rp
résumé ##é Éclair éclair ##\u0301 中 文 漢 ##字 日 한 ##ᆫ ᄒ ##ᅡ σ ##ι ##σ ##ς и ##й ##и ё е Привет привет हि ##न् x ##x ##xx ##xxxx ß ﬁ fi
i̇ ##stanbul \u0301 ² ½ ° € 3 5 10 ##0 ##5 100 ' " “ ” — … - . , ! ? $ % # @ [ ] ( ) / : & + = 😀 \u302e ##\u302e ##\u302f
token tokens ##dog ##cat the-cat e1 @@s @@ing Cat. ᄒ""".split()
specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
fixed_texts = [
    "", " ", "the cat sat on the mat.", "The DOG ran!", "unbelievable playing walked", "zorblat flimflam glorp glorpq",
    "naïve café résumé über", "re\u0301sume\u0301 e\u0301clair Éclair", "中文漢字日 a中b", "한 하 핬", "tabs\tand\nnew\r\nlines", "the\u200bcat\u00addog\u0000sat\u0001",
    "a\u00a0cat\u3000on\u2028the\u0085mat\u000bin\u000cit", "😀 the 😀😀", "“Paris” — said…", "can't won't it's", "$3.50 50% #a @the 100°", "x" * 99, "x" * 100,
    "x" * 101, "é" * 100 + " " + "é" * 101, "[CLS] [SEP] [MASK] [PAD] [UNK] [cls] [ MASK ]", "the[SEP]cat[MASK]dog[[PAD]]", "##ing ## #a", "İstanbul ıI STRASSE ß",
    "ΣΊΣ Σ Привет Ё Й", "हिन्दी", "ﬁ fi ½ ² ①", "a\u0301\u0323 x\u0323\u0301", "\u0301 \u0301a", "a\u302f\u302e\u0301", "x\u302e\u0334y\u0d3b\u0334",
    "\ufeffthe cat\ufffd", "it\u037e the\u1fef", "\U0001d165 \U0002f800 \uf900", "A.B.C.", "http://a.b/c?d=e&f+g", "the  cat   sat", "\u0897\u1ac1 new marks a\u0897",
    "\u2e43 \u061d \u166d a\u2e43b", "Zorblat ZORBLAT zorblatzorblat", "the [E1] cat [E2]dog[E3] [e1]", " [LEFT]  the  [RIGHT] cat[BOTH]dog  [BOTH]  ", "hot dog HOT DOG hotdog a hot dogs",
    "they're  I'll 'd 's'S ''s  don't\u2019s 'tis\t 've", "a  b   c \u00a0 d\u3000 e \n\n f ", "x²½٣ 12 3a4 Ⅻ", "the<mask>cat <mask>  <pad>a </s>", "word Word words Café cafe\u0301 CAFÉ", "<s> </s> <mask> <pad> <unk> <S>",
    "the\u2000cat\u2001dog\u2002", "x[PAD] the[pad]cat x [PAD]",
]
long_texts = ["the cat sat on the mat and the dog ran to the river", "a green lamp is unbelievable", "it was", ""]
odd = list("\u0085\u00a0\u00ad\u1680\u180e\u2000\u2007\u200b\u200c\u200d\u200e\u2028\u2029\u202f\u205f\u3000\ufeff\ufffd\ue000\U0010ffff\u0130\u0131\u1e9e\u03a3\u0345\u037e\u1fef\u212a\u0344\u302e\u302f\U0001d165\U0001d16d\u0f71\u3099\u0301\u0323\u0308\u0327")
spelled = specials + ["[E1]", "[E2]", "[E3]", "[LEFT]", "[RIGHT]", "[BOTH]", "<s>", "</s>", "<mask>", "<unk>", "<pad>", "Café", "hot dog", "Word", "[unused1]", "[cls]", "[", "]", "##", "[[SEP]]", "[MAS"]
printable = [chr(v) for v in range(0x21, 0x7F)]
controls = [chr(v) for v in range(0x20)] + ["\x7f", "\x80", "\x9f"]
scalars = [chr(v) for v in range(0x80, 0x110000) if unicodedata.category(chr(v)) not in ("Cn", "Co", "Cs")]
common = [chr(v) for v in [*range(0xA0, 0x250), *range(0x300, 0x530), *range(0x5D0, 0x650), *range(0x904, 0x950), *range(0x1100, 0x1120), *range(0x1E00, 0x2000),
          *range(0x2000, 0x2070), *range(0x2070, 0x2200), *range(0x3000, 0x3100), *range(0x4E00, 0x4E80), *range(0xAC00, 0xAC80), *range(0xFB00, 0xFB20), *range(0xFF00, 0xFF60), *range(0x1F600, 0x1F640)]]


def random_text(rng, longest=40):
    kinds = [(printable, 5), ([" ", "  ", "\t"], 4), (common, 6), (scalars, 1), (odd, 1.5), (spelled, 1), (controls, 0.3), ([w.replace("##", "") for w in words], 5)]
    groups, weights = zip(*kinds)
    return "".join(rng.choice(group) for group in rng.choices(groups, weights, k=rng.choice([1, 3, 10, 20, longest])))


def texts(count, seed):
    rng = random.Random(seed)
    rows = [[text] for text in fixed_texts]
    rows += [[a, b] for a, b in zip(fixed_texts[2:], fixed_texts[3:])][::2]
    lengths = (4, 5, 8, 9, 12, 13, 20)
    rows += [[a, b, length] for a in long_texts for b in long_texts for length in lengths] if count > 500 else [
        [rng.choice(long_texts), rng.choice(long_texts), length] for length in lengths * 4]
    rows += [[a, None, length] for a in long_texts for length in (4, 7)]
    while len(rows) < count:
        row = [random_text(rng)]
        if rng.random() < 0.5: row.append(random_text(rng))
        if rng.random() < 0.3: row = [row[0], row[1] if len(row) > 1 else None, rng.choice([4, 6, 11, 16, 33])]
        rows.append(row)
    return rows[:count] if count < len(rows) else rows


def flags(content, special=True, normalized=None, single_word=False, lstrip=False, rstrip=False):
    return {"content": content, "lstrip": lstrip, "normalized": (not special) if normalized is None else normalized, "rstrip": rstrip,
            "single_word": single_word, "special": special}


def bert_normalizer(lowercase=True, strip_accents=None, handle_chinese_chars=True, clean_text=True):
    return {"type": "BertNormalizer", "clean_text": clean_text, "handle_chinese_chars": handle_chinese_chars, "strip_accents": strip_accents, "lowercase": lowercase}


def template(cls, sep, vocab):
    token = lambda name, type_id: {"SpecialToken": {"id": name, "type_id": type_id}}
    text = lambda name, type_id: {"Sequence": {"id": name, "type_id": type_id}}
    single = [token(cls, 0), text("A", 0), token(sep, 0)]
    return {"type": "TemplateProcessing", "single": single, "pair": single + [text("B", 1), token(sep, 1)],
            "special_tokens": {name: {"id": name, "ids": [vocab[name]], "tokens": [name]} for name in (cls, sep)}}


def tokenizer_json(vocab, normalizer=None, pre={"type": "BertPreTokenizer"}, post=None, added=(), truncation=None, padding=None, unk="[UNK]", prefix="##", longest=100):
    vocab = vocab if isinstance(vocab, dict) else {word: index for index, word in enumerate(vocab)}
    end = len(vocab)
    entries = []
    for token in added:
        number = vocab.get(token["content"])
        if number is None: number, end = end, end + 1
        entries.append({"id": number, **token})
    return {"version": "1.0", "truncation": truncation, "padding": padding, "added_tokens": entries, "normalizer": normalizer, "pre_tokenizer": pre,
            "post_processor": post, "decoder": {"type": "WordPiece", "prefix": prefix, "cleanup": True},
            "model": {"type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": prefix, "max_input_chars_per_word": longest, "vocab": vocab}}


def lines(vocabulary): return ("\n".join(vocabulary) + "\n").encode()


def byte_pairs(size=420):
    """A byte-level BPE as RoBERTa's, learnt from the fixed texts: tokens by number, and pairs."""
    from tokenizers import Tokenizer, models, trainers, pre_tokenizers
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.train_from_iterator(fixed_texts * 2 + long_texts * 5 + [" ".join(words)] * 2, trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    model = json.loads(learnt.to_str())["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    vocab["<mask>"] = len(vocab)
    return vocab, [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]


roberta_names = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}


def bpe_json(vocab, merges, added, prefix=False, lists=False, **parts):
    entries, end = [], len(vocab)
    for token in added:
        number = vocab.get(token["content"])
        if number is None: number, end = end, end + 1
        entries.append({"id": number, **token})
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": entries, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True},
            "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": prefix},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
                      "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": [pair.split(" ") for pair in merges] if lists else merges}, **parts}


def roberta_template(vocab, types=False):
    token = lambda name, type_id=0: {"SpecialToken": {"id": name, "type_id": type_id}}
    text = lambda name, type_id=0: {"Sequence": {"id": name, "type_id": type_id}}
    single = [token("<s>"), text("A"), token("</s>")]
    return {"type": "TemplateProcessing", "single": single, "pair": single + [token("</s>", int(types)), text("B", int(types)), token("</s>", int(types))],
            "special_tokens": {name: {"id": name, "ids": [vocab[name]], "tokens": [name]} for name in ("<s>", "</s>")}}


def roberta_folders():
    vocab, merges = byte_pairs()
    roberta = {"tokenizer_class": "RobertaTokenizer"}
    two = {"vocab.json": json.dumps(vocab, ensure_ascii=False).encode(), "merges.txt": ("#version: 0.2\n" + "\n".join(merges) + "\n").encode()}
    standard = [flags(token, normalized=False) for token in ("<s>", "<pad>", "</s>", "<unk>")] + [flags("<mask>", lstrip=True)]
    old = [flags(token, normalized=True) for token in ("<s>", "<pad>", "</s>", "<unk>")] + [flags("<mask>", lstrip=True)]
    decoder = {str(vocab[token["content"]]): token for token in standard}
    model = {"config.json": {"model_type": "roberta", "vocab_size": len(vocab)}}
    added = [flags("[E1]"), flags("Café", False), flags("hot dog", False, single_word=True), flags("[RIGHT]", rstrip=True), flags("[LEFT]", False, lstrip=True)]
    yield "roberta", {**two, **model}
    yield "roberta-files", {**two, "tokenizer_config.json": {**roberta, "model_max_length": 512, "add_prefix_space": False}, "special_tokens_map.json": {**roberta_names, "mask_token": flags("<mask>", lstrip=True)}}
    yield "roberta-prefix", {**two, "tokenizer_config.json": {**roberta, "add_prefix_space": True, "mask_token": {"__type": "AddedToken", **flags("<mask>", lstrip=True)}, "trim_offsets": False}}
    # The hub's roberta-base: special tokens of tokenizer.json are looked for in normalized text.
    yield "roberta-hub", {**two, **model, "tokenizer_config.json": {"model_max_length": 512}, "tokenizer.json": bpe_json(vocab, merges, old)}
    yield "roberta-saved-by-4", {**two, **model, "special_tokens_map.json": {**roberta_names, "mask_token": flags("<mask>", lstrip=True)}, "tokenizer.json": bpe_json(vocab, merges, standard + added[:2]),
                                 "tokenizer_config.json": {**roberta, **roberta_names, "add_prefix_space": False, "added_tokens_decoder": {
                                     **decoder, str(len(vocab)): added[0], str(len(vocab) + 1): added[1]}, "additional_special_tokens": ["[E1]"], "clean_up_tokenization_spaces": False,
                                     "errors": "replace", "extra_special_tokens": {}, "model_max_length": 512, "trim_offsets": True}}
    yield "roberta-saved-by-5", {**model, "tokenizer.json": bpe_json(vocab, merges, standard + added, lists=True), "tokenizer_config.json": {
        **roberta, **roberta_names, "add_prefix_space": False, "backend": "tokenizers", "errors": "replace", "is_local": True, "model_max_length": 512, "trim_offsets": True}}
    # Its own normalizer, pre-tokenizer and rows do not count for this class, the first file's pairs do.
    yield "roberta-odd", {**two, "merges.txt": b"#version: 0.2\n", "tokenizer_config.json": {**roberta, "add_prefix_space": True, "cls_token": "<mask>", "split_special_tokens": True, "truncation_side": "left"},
                          "tokenizer.json": bpe_json(vocab, merges, added, normalizer={"type": "Lowercase"}, pre_tokenizer={"type": "Whitespace"}, post_processor=None)}
    yield "backend-pairs", {**model, "tokenizer.json": bpe_json(vocab, merges, standard + added, True, True, normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
                                                               post_processor=roberta_template(vocab, True)),
                            "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **roberta_names, "model_input_names": ["input_ids", "token_type_ids"]}}
    short = {token: number for number, token in enumerate(token for token in vocab if token not in ("a", "Ġ", "Ã"))}
    kept = [pair for pair in merges if all(part in short for part in pair.split(" ") + [pair.replace(" ", "")])]
    for fused in (False, True):
        yield f"backend-pairs-unknown-{fused}".lower(), {
            "tokenizer_config.json": {"tokenizer_class": "TokenizersBackend"},
            "tokenizer.json": bpe_json(short, kept, [], pre_tokenizer={"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": not fused}]},
                post_processor=None, model={**bpe_json(short, kept, [])["model"], "unk_token": "<unk>", "fuse_unk": fused})}


def random_roberta(rng):
    """A folder of RoBERTa's whose parts are chosen at random."""
    vocab, merges = byte_pairs()
    maybe = lambda share: rng.random() < share
    merges = list(merges)
    if maybe(0.3): rng.shuffle(merges)
    if maybe(0.2): merges += rng.sample(merges, 20)
    tokens = ["[E1]", "[LEFT]", "[RIGHT]", "Café", "hot dog", "Word", "cat", "<mask>", "</s>", "<pad>", "the", "Ġthe", " the", "it's"]
    flag = lambda content: flags(content, maybe(0.5), rng.choice([None, None, True, False]), maybe(0.2), maybe(0.3), maybe(0.3))
    name = rng.choice(["RobertaTokenizer", "RobertaTokenizer", "RobertaTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend", None])
    config = {"tokenizer_class": name} if name else {}
    for key, values in (("add_prefix_space", [True, False]), ("trim_offsets", [True, False]), ("split_special_tokens", [True, False]), ("truncation_side", ["left", "right"]),
                        ("model_max_length", [10, 20, 512, int(1e30)]), ("errors", ["replace"]), ("model_input_names", [["input_ids", "attention_mask"], ["input_ids", "token_type_ids"]])):
        if maybe(0.25): config[key] = rng.choice(values)
    for key, usual in roberta_names.items():
        if maybe(0.25): config[key] = rng.choice([usual, usual, rng.choice(tokens), {"__type": "AddedToken", **flag(usual)}, None if key in ("pad_token", "mask_token") else usual])
    added = [flag(content) for content in rng.sample(tokens, rng.randrange(5))]
    standard = [flags(token, normalized=maybe(0.5)) for token in ("<s>", "<pad>", "</s>", "<unk>")] + [flags("<mask>", lstrip=True)]
    if maybe(0.35): config["added_tokens_decoder"] = {str(vocab.get(t["content"], len(vocab) + n)): t for n, t in enumerate((standard if maybe(0.6) else []) + added)}
    files = {"config.json": {"model_type": "roberta"}}
    if maybe(0.3): files["special_tokens_map.json"] = {key: rng.choice([usual, flag(usual), rng.choice(tokens)]) for key, usual in roberta_names.items() if maybe(0.5)}
    if maybe(0.3): files["added_tokens.json"] = {content: len(vocab) + number for number, content in enumerate(rng.sample(tokens, 2))}
    if maybe(0.5) or name in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        level = lambda prefix: {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": maybe(0.8)}
        files["tokenizer.json"] = bpe_json(
            vocab, merges, (standard if maybe(0.7) else []) + [flag(content) for content in rng.sample(tokens, rng.randrange(4))], lists=maybe(0.5),
            normalizer=rng.choice([None, None, {"type": "NFC"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": " "}]),
            pre_tokenizer=rng.choice([level(False), level(True), {"type": "Sequence", "pretokenizers": [{"type": rng.choice(["WhitespaceSplit", "Punctuation", "Whitespace"])}, level(False)]}]),
            post_processor=rng.choice([None, roberta_template(vocab), roberta_template(vocab, True), bpe_json(vocab, [], [])["post_processor"]]))
    if maybe(0.7) or "tokenizer.json" not in files:
        files |= {"vocab.json": vocab, "merges.txt": ("#version: 0.2\n" * maybe(0.7) + "".join(pair + rng.choice(["\n", "\n", "\r\n"]) for pair in merges)).encode()}
    if maybe(0.9): files["tokenizer_config.json"] = config
    return files


def named_folders(vocabulary):
    """The folders, differently made: name, files (bytes or JSON)."""
    index = {word: number for number, word in enumerate(vocabulary)}
    vocab = lines(vocabulary)
    standard = [flags(token) for token in specials]
    decoder = {str(number): flags(token) for number, token in enumerate(specials)}
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials))
    bert = {"tokenizer_class": "BertTokenizer"}
    post = template("[CLS]", "[SEP]", index)
    renamed = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"] + vocabulary[5:]
    e = [flags("[E1]"), flags("[E2]", False), flags("Café", False), flags("hot dog", False, single_word=True), flags("Word", False, normalized=False),
         flags("[LEFT]", lstrip=True), flags("[RIGHT]", rstrip=True), flags("[BOTH]", lstrip=True, rstrip=True, single_word=True)]
    yield "uncased", {"vocab.txt": vocab, "tokenizer_config.json": {**bert, "do_lower_case": True}}
    yield "cased", {"vocab.txt": vocab, "tokenizer_config.json": {**bert, "do_lower_case": False, "model_max_length": 512}}
    yield "multilingual", {"vocab.txt": vocab, "tokenizer_config.json": {"do_lower_case": False, "strip_accents": False, "model_max_length": 512},
                           "tokenizer.json": tokenizer_json(vocabulary, bert_normalizer(False, False), post=post, added=standard)}
    yield "chinese", {"vocab.txt": vocab, "tokenizer_config.json": {"do_lower_case": False, "strip_accents": None, "tokenize_chinese_chars": True, "tokenizer_class": "BertTokenizerFast"}}
    yield "minilm", {"vocab.txt": vocab, "special_tokens_map.json": names, "tokenizer.json": tokenizer_json(
        vocabulary, bert_normalizer(), post=post, added=standard, truncation={"direction": "Right", "max_length": 128, "strategy": "LongestFirst", "stride": 0},
        padding={"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}),
        "tokenizer_config.json": {**bert, **names, "do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True, "model_max_length": 512,
                                  "name_or_path": "nreimers/MiniLM-L6-H384-uncased", "do_basic_tokenize": True, "never_split": None}}
    yield "added-tokens", {"vocab.txt": vocab, "added_tokens.json": {"[E1]": len(vocabulary), "[E2]": len(vocabulary) + 1, "Café": len(vocabulary) + 2},
                           "special_tokens_map.json": {"additional_special_tokens": ["[E1]", "[E3]"], "mask_token": flags("[MASK]", lstrip=True)}, "tokenizer_config.json": bert}
    yield "added-flags", {"vocab.txt": vocab, "tokenizer_config.json": {
        **bert, "added_tokens_decoder": {**decoder, **{str(len(vocabulary) + number): token for number, token in enumerate(e)}}, "additional_special_tokens": ["[E1]"]}}
    yield "added-vocabulary-words", {"vocab.txt": vocab, "tokenizer_config.json": {
        **bert, "extra_special_tokens": ["cat", "dog"], "color_token": "green", "mask_token": {"__type": "AddedToken", **flags("sat", single_word=True)}}}
    yield "renamed", {"vocab.txt": lines(renamed), "tokenizer_config.json": {**bert, "cls_token": "[CLS]"}, "special_tokens_map.json": dict(zip(names, renamed))}
    yield "backend", {"tokenizer.json": tokenizer_json(
        vocabulary, {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}]}, {"type": "Whitespace"}, post, standard + e[:1] + e[1:2]),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **names}}
    yield "backend-with-types", {"tokenizer.json": tokenizer_json(vocabulary, bert_normalizer(False), post=post, added=standard + e), "tokenizer_config.json": {
        "tokenizer_class": "TokenizersBackend", "model_input_names": ["input_ids", "token_type_ids", "attention_mask"], "backend": "tokenizers"}}
    yield "backend-parts", {"tokenizer.json": tokenizer_json(
        [word.replace("##", "@@") for word in dict.fromkeys(vocabulary) if not word.startswith("@@")],
        {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "``"}, "content": "\""}, {"type": "NFKC"}, {"type": "Strip", "strip_left": True, "strip_right": True},
                                             {"type": "Lowercase"}]},
        {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "MergedWithPrevious"}, {"type": "Digits", "individual_digits": True},
                                               {"type": "Split", "pattern": {"String": "an"}, "behavior": "MergedWithNext", "invert": False}]},
        {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}, standard, prefix="@@", longest=20),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "token_type_ids"]}}
    yield "backend-bare", {"tokenizer.json": tokenizer_json(vocabulary, {"type": "NFC"}, {"type": "Punctuation", "behavior": "Contiguous"}),
                           "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "token_type_ids"]}}
    yield "saved-by-4", {"vocab.txt": vocab, "special_tokens_map.json": names, "tokenizer.json": tokenizer_json(vocabulary, bert_normalizer(False, True), post=post, added=standard + e[:2]),
                         "tokenizer_config.json": {"added_tokens_decoder": {**decoder, str(len(vocabulary)): e[0], str(len(vocabulary) + 1): e[1]}, "additional_special_tokens": [], **names,
                                                   "clean_up_tokenization_spaces": True, "do_basic_tokenize": True, "do_lower_case": False, "extra_special_tokens": {}, "model_max_length": 512,
                                                   "never_split": None, "strip_accents": True, "tokenize_chinese_chars": True, "tokenizer_class": "BertTokenizer"}}
    yield "saved-by-5", {"tokenizer.json": tokenizer_json(vocabulary, bert_normalizer(), post=post, added=standard + e[:2]), "tokenizer_config.json": {
        "backend": "tokenizers", **names, "do_lower_case": True, "extra_special_tokens": ["[E1]"], "is_local": True, "model_max_length": 512, "strip_accents": None,
        "tokenize_chinese_chars": True, "tokenizer_class": "BertTokenizer"}}
    yield "slow-class", {"vocab.txt": vocab, "tokenizer_config.json": {**bert, "do_basic_tokenize": False, "never_split": ["Paris"], "do_lower_case": True, "init_inputs": []}}
    yield "cased-stripped", {"vocab.txt": vocab, "tokenizer_config.json": {**bert, "do_lower_case": False, "strip_accents": True}}
    yield "accents-together", {"vocab.txt": vocab, "tokenizer_config.json": {**bert, "strip_accents": False, "tokenize_chinese_chars": False}}
    yield "split-left", {"vocab.txt": vocab, "tokenizer_config.json": {**bert, "split_special_tokens": True, "truncation_side": "left", "model_max_length": 24}}
    yield "null-tokens", {"vocab.txt": vocab, "tokenizer_config.json": {**bert, "mask_token": None, "cls_token": None, "pad_token": None}}
    yield "odd-lines", {"vocab.txt": vocab + b"cat\n\n\nthe  \t\nsat\xe3\x80\x80\n[E1] \n", "tokenizer_config.json": bert}
    # Another token takes the number of [PAD], which keeps the flags that it was read with.
    yield "number-taken", {
        "added_tokens.json": {"[PAD]": len(vocabulary)},
        "tokenizer.json": tokenizer_json(vocabulary, {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "Prepend", "prepend": "x"}]},
                                         pre={"type": "Whitespace"}, post=post, added=[dict(flags("Café"), id=len(vocabulary))]),
        "tokenizer_config.json": {"tokenizer_class": "TokenizersBackend", "pad_token": {"__type": "AddedToken", **flags("[PAD]")}}}
    # Some white space is other white space once decomposed.
    yield "spaces-kept", {
        "tokenizer.json": tokenizer_json(vocabulary, {"type": "Sequence", "normalizers": [
            dict(bert_normalizer(False, True), clean_text=False),
            *({"type": "Replace", "pattern": {"String": space}, "content": f" {word} "} for space, word in (("\u2002", "cat"), ("\u2003", "dog")))]},
                                         pre={"type": "Whitespace"}, post=post),
        "tokenizer_config.json": {"tokenizer_class": "TokenizersBackend"}}
    japanese = {"tokenizer_class": "BertJapaneseTokenizer", "do_lower_case": False, "word_tokenizer_type": "basic", "model_max_length": 64}
    yield "japanese-characters", {"vocab.txt": vocab, "tokenizer_config.json": {**japanese, "subword_tokenizer_type": "character"}}
    yield "japanese-pieces", {"vocab.txt": vocab, "tokenizer_config.json": {**japanese, "subword_tokenizer_type": "wordpiece"}}
    yield "distilbert", {"vocab.txt": vocab, "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False}}
    # Without a class DistilBERT's tokenizer is BERT's, token types included, which its model does not look at.
    yield "distilbert-bare", {"vocab.txt": vocab, "config.json": {"model_type": "distilbert"}}
    yield "electra", {"vocab.txt": vocab, "tokenizer_config.json": {"tokenizer_class": "ElectraTokenizer", "do_lower_case": True}, "config.json": {"model_type": "electra"}}
    yield from roberta_folders()


def random_folder(rng, vocabulary):
    """A folder of parts that are chosen at random; transformers fails with many of them."""
    vocab = list(vocabulary)
    for _ in range(rng.choice([0, 0, 2])): vocab.insert(rng.randrange(5, len(vocab)), rng.choice(["", "cat", "the ", "[E1]", "[E2]", "Word"]))
    index = {word: number for number, word in enumerate(vocab)}
    tokens = ["[E1]", "[E2]", "[E3]", "[LEFT]", "[RIGHT]", "[BOTH]", "Café", "hot dog", "Word", "cat", "[MASK]", "[SEP]", "[PAD]", "the", "<s>", "a cat"]
    flag = lambda content: flags(content, rng.random() < 0.5, rng.choice([None, None, True, False]), rng.random() < 0.2, rng.random() < 0.2, rng.random() < 0.2)
    config, files = {}, {}
    maybe = lambda share: rng.random() < share
    name = rng.choice(["BertTokenizer", "BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "ElectraTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend", None])
    if name: config["tokenizer_class"] = name
    for key, values in (("do_lower_case", [True, False]), ("strip_accents", [True, False, None]), ("tokenize_chinese_chars", [True, False]), ("split_special_tokens", [True, False]),
                        ("truncation_side", ["left", "right"]), ("padding_side", ["left", "right"]), ("model_max_length", [10, 20, 512, int(1e30), None]), ("max_len", [8]),
                        ("never_split", [["Paris"], None]), ("do_basic_tokenize", [True, False]), ("clean_text", [False]), ("wordpieces_prefix", ["@@"]),
                        ("model_input_names", [["input_ids", "attention_mask"], ["input_ids", "token_type_ids"]]), ("errors", ["replace"]), ("add_prefix_space", [True])):
        if maybe(0.25): config[key] = rng.choice(values)
    for key in ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token", "color_token"):
        usual = f"[{key[:-6].upper()}]"
        if maybe(0.25): config[key] = rng.choice([usual, usual, rng.choice(tokens), {"__type": "AddedToken", **flag(usual)}, None, flag(usual)] if maybe(0.5) else [usual])
    for key in ("additional_special_tokens", "extra_special_tokens"):
        if maybe(0.2): config[key] = rng.choice([rng.sample(tokens, 2), [], None, [{"__type": "AddedToken", **flag(rng.choice(tokens))}], {"color_token": "green", "e_token": "[E2]"}])
    added = [flag(content) for content in rng.sample(tokens, rng.randrange(5))]
    if maybe(0.35): config["added_tokens_decoder"] = {str(index.get(t["content"], len(vocab) + n)): t for n, t in enumerate(([flags(s) for s in specials] if maybe(0.6) else []) + added)}
    if maybe(0.35):
        files["special_tokens_map.json"] = {key: rng.choice([usual, flag(usual), rng.choice(tokens)]) for key, usual in zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials) if maybe(0.5)}
        if maybe(0.4): files["special_tokens_map.json"][rng.choice(["additional_special_tokens", "extra_special_tokens"])] = rng.choice([rng.sample(tokens, 2), []])
    if maybe(0.3): files["added_tokens.json"] = {content: len(vocab) + number for number, content in enumerate(rng.sample(tokens, 2))}
    if maybe(0.6) or name in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        normal = lambda: rng.choice([bert_normalizer(maybe(0.5), rng.choice([True, False, None]), maybe(0.5), maybe(0.7)), {"type": "NFD"}, {"type": "NFC"}, {"type": "NFKD"}, {"type": "NFKC"},
                                     {"type": "Lowercase"}, {"type": "StripAccents"}, {"type": "Strip", "strip_left": maybe(0.5), "strip_right": maybe(0.5)},
                                     {"type": "Replace", "pattern": {"String": rng.choice(["a", "th", " ", "[E"])}, "content": rng.choice(["", "o", " at "])}, {"type": "Prepend", "prepend": "x"}])
        behavior = lambda: rng.choice(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"])
        split = lambda: rng.choice([{"type": "BertPreTokenizer"}, {"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": behavior()},
                                    {"type": "Digits", "individual_digits": maybe(0.5)}, {"type": "CharDelimiterSplit", "delimiter": rng.choice("a -é")},
                                    {"type": "Split", "pattern": {"String": rng.choice([" ", "a", "the"])}, "behavior": behavior(), "invert": maybe(0.3)}])
        files["tokenizer.json"] = tokenizer_json(
            index, rng.choice([None, bert_normalizer(), normal(), {"type": "Sequence", "normalizers": [normal() for _ in range(3)]}]),
            rng.choice([None, {"type": "BertPreTokenizer"}, split(), {"type": "Sequence", "pretokenizers": [split(), split()]}]),
            rng.choice([None, template("[CLS]", "[SEP]", index), {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
                        {"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2], "trim_offsets": True, "add_prefix_space": False}]),
            ([flags(s) for s in specials] if maybe(0.7) else []) + [flag(content) for content in rng.sample(tokens, rng.randrange(4))],
            truncation=rng.choice([None, {"direction": rng.choice(["Left", "Right"]), "max_length": 9, "strategy": "LongestFirst", "stride": 0}]),
            longest=rng.choice([100, 100, 5]), prefix=rng.choice(["##", "##", "@@"]))
    if maybe(0.7) or "tokenizer.json" not in files: files["vocab.txt"] = lines(vocab)
    if maybe(0.95): files["tokenizer_config.json"] = config
    return files


def write(folder, files):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}\n')  # Where the files have none.
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else (json.dumps(content, indent=1) + "\n").encode())


def encode(folder, rows):
    """The lines of a .ids file."""
    from transformers import AutoTokenizer
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        result = []
        for a, b, length in (row + [None] * (3 - len(row)) for row in rows):
            # In lists: called with plain strings, transformers takes an empty second text for none.
            encoded = tokenizer([a], None if b is None else [b], truncation=True, **({"max_length": length} if length else {}))
            ids = encoded["input_ids"][0]
            types, runs = encoded["token_type_ids"][0] if "token_type_ids" in encoded else [0] * len(ids), []
            for kind in types:
                if runs and runs[-2] == kind: runs[-1] += 1
                else: runs += [kind, 1]
            result.append(json.dumps([ids, runs], separators=(",", ":")))
        return result
    except BaseException as error:  # The crate's panics are no Exceptions.
        if isinstance(error, KeyboardInterrupt): raise
        return [json.dumps(f"{type(error).__name__}: {error}"[:200])]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent / "Goldens")
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    import transformers
    transformers.logging.set_verbosity(50)
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    rows = texts(options.texts, options.seed)
    (options.out / "texts.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows), encoding="utf-8")
    vocabulary = list(dict.fromkeys(specials + words))
    if options.texts > 500:  # So that no difference hides behind [UNK].
        vocabulary = list(dict.fromkeys(vocabulary + [prefix + char for prefix in ("", "##") for char in printable + common]))
    rng = random.Random(options.seed)
    everything = list(named_folders(vocabulary)) + [
        (f"random-{number:03}", random_roberta(rng) if number % 4 == 3 else random_folder(rng, vocabulary)) for number in range(options.random)]
    failed = 0
    for name, files in everything:
        write(options.out / name, files)
        result = encode(options.out / name, rows if not name.startswith("random") else rows[:300])
        failed += len(result) == 1
        if len(result) == 1 and not name.startswith("random"): print(name, result[0])
        (options.out / f"{name}.ids").write_text("\n".join(result) + "\n")
    print(transformers.__version__, len(everything), "folders,", len(rows), "texts, transformers fails with", failed)


if __name__ == "__main__":
    main()
