#!/usr/bin/env python3
"""Writes Sources/Tokenization/UnicodeTables.swift: how Hugging Face's `tokenizers` treats every Unicode scalar.

    python3 -m venv venv && venv/bin/pip install tokenizers
    venv/bin/python Tests/TokenizationTests/make_unicode_tables.py     # from the top of the package

The Rust crate joins several Unicode versions (categories of version 8, normalization of version 9, case mapping of the
compiler's own), so the tables are read off its behaviour, scalar by scalar, and not taken from one Unicode release.
"""
import pathlib
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
    if cleaned == "":
        dropped.append(value)
        continue
    if cleaned == " ":
        spaces.append(value)
        continue
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
