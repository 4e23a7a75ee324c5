#!/usr/bin/env python3
"""Writes UnicodeTables.swift and NormalizationTables.swift in Sources/Tokenization: how Hugging Face's `tokenizers` treats
every Unicode scalar.

    python3 -m venv venv && venv/bin/pip install tokenizers
    venv/bin/python Tests/TokenizationTests/make_unicode_tables.py     # from the top of the package

The Rust crate joins several Unicode versions (categories of version 8, normalization of version 9, case mapping of the
compiler's own), so the tables are read off its behaviour, scalar by scalar, and not taken from one Unicode release. Where
transformers normalizes in Python, its Unicode counts: run this with Python 3.11 or 3.12 (Unicode 14 and 15, alike here).
"""
import pathlib, unicodedata
import tokenizers
from tokenizers import normalizers, pre_tokenizers

off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
clean = normalizers.BertNormalizer(**{**off, "clean_text": True})
strip = normalizers.BertNormalizer(**{**off, "strip_accents": True})
words = pre_tokenizers.BertPreTokenizer()

dropped, spaces, marks, punctuation, folded = [], [], [], [], []
for value in range(0x80, 0x110000):
    if 0xD800 <= value < 0xE000:
        continue
    text = "a" + chr(value) + "b"
    cleaned = clean.normalize_str(text)[1:-1]
    # What cleaning takes away is told apart where it does not clean.
    if cleaned == "":
        dropped.append(value)
    if cleaned == " ":
        spaces.append(value)
    if len(words.pre_tokenize_str(text)) == 3:
        punctuation.append(value)
    bare = strip.normalize_str(text)[1:-1]
    if bare == "":
        marks.append(value)
    elif bare != chr(value) and not 0xAC00 <= value <= 0xD7A3:  # Hangul is arithmetic
        folded.append((value, [ord(c) for c in bare]))


def ranges(values):
    result = []
    for value in values:
        if result and result[-1][1] + 1 == value:
            result[-1][1] = value
        else:
            result.append([value, value])
    return [end for pair in result for end in pair]


def literal(name, comment, numbers):
    lines, line = [], "   "
    for number in numbers:
        item = f" 0x{number:X},"
        if len(line) + len(item) > 118:
            lines.append(line)
            line = "   "
        line += item
    lines.append(line)
    return f"  /// {comment}\n  static let {name}: [UInt32] = [\n" + "\n".join(lines) + "\n  ]\n"


longest = max(len(scalars) for _, scalars in folded)
assert longest <= 3, longest
head = f"""// Made by Tests/TokenizationTests/make_unicode_tables.py with tokenizers {tokenizers.__version__}; do not edit.

// swift-format-ignore-file

/// How Hugging Face's BERT normalizer and pre-tokenizer treat the scalars from U+0080 on. Ranges are pairs of first and
/// last value, in rising order.
enum UnicodeTables {{
"""
parts = [
    literal("dropped", "Ranges of scalars that cleaning removes: controls, formats, private use, U+FFFD.", ranges(dropped)),
    literal("spaces", "Ranges of scalars that cleaning turns into a space.", ranges(spaces)),
    literal("marks", "Ranges of scalars of which nothing is left once accents are stripped.", ranges(marks)),
    literal("punctuation", "Ranges of scalars that are words of their own.", ranges(punctuation)),
    literal("foldedFrom", "Scalars that stripping accents changes (Hangul syllables apart), in rising order.",
            [value for value, _ in folded]),
    literal("foldedTo", "What each of `foldedFrom` becomes: three scalars each, 0 where there are fewer.",
            [n for _, scalars in folded for n in scalars + [0] * (3 - len(scalars))]),
]
path = pathlib.Path("Sources/Tokenization/UnicodeTables.swift")
path.write_text(head + "\n".join(parts) + "}\n")
print(path, len(ranges(dropped)) // 2, len(ranges(spaces)) // 2, len(ranges(marks)) // 2, len(ranges(punctuation)) // 2, len(folded))

# What the parts of tokenizer.json do that BERT's own normalizer and pre-tokenizer do not.
scalars = [v for v in range(0x110000) if not 0xD800 <= v < 0xE000]
syllables = range(0xAC00, 0xD7A4)
nfd, nfkd, nfc = normalizers.NFD(), normalizers.NFKD(), normalizers.NFC()
accents, spaces_split, words_split, digits = (
    normalizers.StripAccents(), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Whitespace(), pre_tokenizers.Digits())
canonical, compatible, combining, white, word, numeric = [], [], [], [], [], []
for value in scalars:
    char = chr(value)
    parts = nfd.normalize_str(char)
    if parts != char and value not in syllables:
        canonical.append((value, [ord(c) for c in parts]))
    wide = nfkd.normalize_str(char)
    if wide != parts:
        compatible.append((value, [ord(c) for c in wide]))
    if accents.normalize_str("a" + char) == "a":
        combining.append(value)
    if len(spaces_split.pre_tokenize_str(f"a{char}a")) == 2:
        white.append(value)
    if len(words_split.pre_tokenize_str(f"a{char}a")) == 1:
        word.append(value)
    if len(digits.pre_tokenize_str(f"a{char}a")) == 3:
        numeric.append(value)

# A pair of scalars that NFC joins is the canonical decomposition of the scalar that it becomes.
pairs = []
for value in scalars:
    parts = unicodedata.decomposition(chr(value)).split()
    if len(parts) == 2 and not parts[0].startswith("<"):
        first, second = (int(part, 16) for part in parts)
        if nfc.normalize_str(chr(first) + chr(second)) == chr(value):
            pairs.append((first, second, value))
pairs.sort()

# What Python's newer Unicode decomposes and composes besides.
later, later_pairs = [], []
for value in scalars:
    char = chr(value)
    if unicodedata.normalize("NFKD", char) != nfkd.normalize_str(char):
        later.append((value, [ord(c) for c in unicodedata.normalize("NFKD", char)]))
    parts = unicodedata.normalize("NFD", char)
    if parts != nfd.normalize_str(char):
        assert len(parts) == 2 and unicodedata.normalize("NFC", parts) == char, hex(value)
        later_pairs += [ord(parts[0]), ord(parts[1]), value]


def decomposition(name, comment, entries):
    starts = [0]
    for _, parts in entries:
        starts.append(starts[-1] + len(parts))
    return [literal(name + "From", comment + ", in rising order.", [value for value, _ in entries]),
            literal(name + "Start", f"Where in `{name}To` each of `{name}From` begins, and the end.", starts),
            literal(name + "To", f"What `{name}From` becomes, end to end.", [n for _, parts in entries for n in parts])]


head = f"""// Made by Tests/TokenizationTests/make_unicode_tables.py with tokenizers {tokenizers.__version__}; do not edit.

// swift-format-ignore-file

/// How the normalizers and pre-tokenizers that a tokenizer.json may name treat scalars. Ranges are pairs of first and last
/// value, in rising order.
enum NormalizationTables {{
"""
parts = [
    *decomposition("canonical", "Scalars that NFD decomposes (Hangul syllables apart)", canonical),
    *decomposition("compatible", "Scalars that NFKD decomposes otherwise than NFD", compatible),
    literal("composed", "Triples: two scalars that NFC joins, and what they become (Hangul apart), in rising order.",
            [n for triple in pairs for n in triple]),
    *decomposition("later", "Scalars that NFKD decomposes in Python, whose Unicode is newer", later),
    literal("laterComposed", "The like of `composed` in Python only; each decomposes under NFD there, too.", later_pairs),
    literal("combining", "Ranges of scalars that StripAccents removes.", ranges(combining)),
    literal("white", "Ranges of white space.", ranges(white)),
    literal("word", "Ranges of scalars that Whitespace takes for parts of a word.", ranges(word)),
    literal("numeric", "Ranges of scalars that Digits takes for digits.", ranges(numeric)),
]
path = pathlib.Path("Sources/Tokenization/NormalizationTables.swift")
path.write_text(head + "\n".join(parts) + "}\n")
print(path, len(canonical), len(compatible), len(pairs), len(ranges(combining)) // 2, len(ranges(white)) // 2,
      len(ranges(word)) // 2, len(ranges(numeric)) // 2)

# Categories as the regular expressions of tokenizers know them, for GPT-2's cutting of words.
letters, numbers = (
    [value for value in scalars if not split.pre_tokenize_str(chr(value))]
    for split in (pre_tokenizers.Split(tokenizers.Regex(category), "removed") for category in (r"\p{L}", r"\p{N}")))
blanks = pre_tokenizers.Split(tokenizers.Regex(r"\s"), "removed")
assert [value for value in scalars if not blanks.pre_tokenize_str(chr(value))] == white
head = f"""// Made by Tests/TokenizationTests/make_unicode_tables.py with tokenizers {tokenizers.__version__}; do not edit.

// swift-format-ignore-file

/// Unicode's categories as GPT-2's regular expression has them in `tokenizers`. Ranges are pairs of first and last value, in
/// rising order.
enum CategoryTables {{
"""
path = pathlib.Path("Sources/Tokenization/CategoryTables.swift")
path.write_text(head + "\n".join([literal("letters", r"Ranges of `\p{L}`.", ranges(letters)), literal("numbers", r"Ranges of `\p{N}`.", ranges(numbers))]) + "}\n")
print(path, len(ranges(letters)) // 2, len(ranges(numbers)) // 2)
