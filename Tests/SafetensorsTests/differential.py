"""Asks the reference implementation (PyPI safetensors) about the files that MutationTests recorded.

  LOCKSTEP_MUTATIONS=/tmp/mutations swift test -c release --filter MutationTests
  python3 Tests/SafetensorsTests/differential.py /tmp/mutations

Our reader may refuse more than the reference, never accept more. Exit status 1 if it did.
"""
import collections
import struct
import sys

import safetensors

verdicts = collections.Counter()
refused_by_us_alone = {}
with open(sys.argv[1], "rb") as file:
    while prefix := file.read(5):
        length, accepted = struct.unpack("<IB", prefix)
        content = file.read(length)
        try:
            tensors = safetensors.deserialize(content)
            reference = "accepts"
        except Exception as error:
            tensors = []
            reference = "refuses"
            if accepted:
                print("accepted here, refused by the reference:", error, content)
        verdicts[f"we {'accept' if accepted else 'refuse'}, the reference {reference}"] += 1
        if not accepted and tensors and len(refused_by_us_alone) < 20:
            refused_by_us_alone[content] = None

for verdict, count in sorted(verdicts.items()):
    print(f"{count:7} {verdict}")
if "--show" in sys.argv:
    for content in refused_by_us_alone:
        print("refused here only:", content)
sys.exit(1 if verdicts["we accept, the reference refuses"] else 0)
