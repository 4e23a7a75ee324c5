import BERT
import Checkpoints
import Safetensors
import System
import TestSupport
import Tokenization
import WeightFiles

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func golden(_ name: String, of model: String = "tiny-bert") -> [UInt8] {
  (try? readBytes("\(Golden.folder)/\(model)/\(name)")) ?? []
}

private func torchFile(_ name: String) -> [UInt8] {
  (try? readBytes("\(Golden.folder)/../TorchPickleTests/Files/\(name).bin")) ?? []
}

extension Reader {
  private static let vocabulary = bytes(
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\notter\n##s\nun\n##want\n##ed\n東\n,\n.\ne\n##t\n")
  private static let tokenizerConfiguration = """
    {"do_lower_case": true, "strip_accents": null, "tokenize_chinese_chars": true, "model_max_length": 40,
     "tokenizer_class": "BertTokenizer", "unk_token": "[UNK]", "never_split": ["otter"],
     "mask_token": {"__type": "AddedToken", "content": "[MASK]"},
     "additional_special_tokens": ["<e1>"], "truncation_side": "right",
     "added_tokens_decoder": {"0": {"content": "[PAD]", "lstrip": false, "normalized": false, "rstrip": false,
     "single_word": false, "special": true}}}
    """
  private static let specialTokensMap = """
    {"cls_token": "[CLS]", "mask_token": {"content": "[MASK]", "lstrip": true, "normalized": false, "rstrip": false,
     "single_word": false}, "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]",
     "additional_special_tokens": ["<e1>", "</e1>"]}
    """
  private static let addedTokens = "{\"<e1>\": 16, \"</e1>\": 17, \"otters\": 18}"
  private static let tokenizerJSON = """
    {"version": "1.0", "truncation": {"direction": "Right", "max_length": 40, "strategy": "LongestFirst", "stride": 0},
     "padding": null, "added_tokens": [
     {"id": 0, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
     {"id": 1, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
     {"id": 2, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
     {"id": 3, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
     {"id": 4, "content": "[MASK]", "single_word": false, "lstrip": true, "rstrip": false, "normalized": false, "special": true}],
     "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
     "lowercase": true}, "pre_tokenizer": {"type": "BertPreTokenizer"},
     "post_processor": {"type": "TemplateProcessing",
     "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
     {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
     "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
     {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
     {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
     "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
     "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
     "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
     "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
     "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "the": 5, "otter": 6, "##s": 7}}}
    """
  private static let modernNormalizer = tokenizerJSON.replacing(
    "{\"type\": \"BertNormalizer\", \"clean_text\": true, \"handle_chinese_chars\": true, \"strip_accents\": null,\n \"lowercase\": true}",
    with:
      "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": \"Lowercase\"}, {\"type\": \"StripAccents\"}]}"
  ).replacing(
    "{\"type\": \"TemplateProcessing\"",
    with: "{\"type\": \"BertProcessing\", \"sep\": [\"[SEP]\", 3], \"cls\": [\"[CLS]\", 2]")

  /// A byte-pair encoding of a few tokens: the bytes of `otter` and `sé`, and what they make.
  private static let pairVocabulary = """
    {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "o": 4, "t": 5, "e": 6, "r": 7, "Ġ": 8, "s": 9, "Ã": 10, "©": 11, "ot": 12,
     "te": 13, "ter": 14, "otter": 15, "Ġotter": 16, "Ã©": 17, "<mask>": 18}
    """
  private static let pairs = "#version: 0.2\nt e\nte r\no t\not ter\nĠ otter\nÃ ©\n"
  private static let pairTokenizerJSON = """
    {"version": "1.0", "truncation": null, "padding": null, "added_tokens": [
     {"id": 18, "content": "<mask>", "single_word": false, "lstrip": true, "rstrip": false, "normalized": false, "special": true}],
     "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
     "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": true,
     "add_prefix_space": false}, "decoder": {"type": "ByteLevel"},
     "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": "", "end_of_word_suffix": "",
     "fuse_unk": false, "vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "o": 4, "t": 5, "ot": 6},
     "merges": ["o t", ["o", "t"]]}}
    """

  /// The files from which RoBERTa's tokenizer is read.
  private static var bytePairs: [Reader] {
    func reader(
      _ name: String, _ file: String, _ samples: [String], words: [String], memoryMultiple: Int, tokenizerClass: String,
      others: [(name: String, bytes: [UInt8])]
    ) -> Reader {
      Reader(name, samples: samples.map(bytes), words: words, memoryMultiple: memoryMultiple) { input, workspace in
        let files =
          others + [
            ("tokenizer_config.json", bytes("{\"tokenizer_class\": \"\(tokenizerClass)\"}")),
            ("config.json", bytes("{\"model_type\": \"roberta\"}")),
          ]
        let folder = try workspace.folder(name, files: files, changed: (file, input))
        let tokenizer = try BertTokenizer(folder: folder)
        let encoding = try tokenizer.encode("otters otter 's é<mask>\u{3000} 12 東京", "</s>  otter's")
        guard encoding.inputIDs.allSatisfy({ $0 >= 0 }) else { throw Wrong("a negative id") }
        _ = try? tokenizer.encode("otter", maxLength: 3)
        if input.count % 8 == 0 { _ = tokenizer.fingerprint }
      }
    }
    let vocabularyFile = (name: "vocab.json", bytes: bytes(pairVocabulary))
    return [
      reader(
        "vocab-json", "vocab.json", [pairVocabulary],
        words: ["\"Ġ\": 8", "\"ot\": 12", ": -1", ": 1e3", "\"\": 4", "\"\\u0120\": 8"], memoryMultiple: 128,
        tokenizerClass: "RobertaTokenizer", others: [("merges.txt", bytes(pairs))]),
      reader(
        "merges", "merges.txt", [pairs], words: ["#version", " ", "\n\n", "\r\n", "t e\n", "o t\n", "Ġ otter", "  "],
        memoryMultiple: 128, tokenizerClass: "RobertaTokenizer", others: [vocabularyFile]),
      reader(
        "pairs-tokenizer-json", "tokenizer.json", [pairTokenizerJSON],
        words: [
          "\"fuse_unk\": true", "\"unk_token\": null", "\"merges\": []", "[\"t\", \"e\"]", "\"add_prefix_space\": true",
          "\"use_regex\": false", "\"dropout\": 0.1", "\"type\": \"WordPiece\"",
        ], memoryMultiple: 128, tokenizerClass: "TokenizersBackend", others: []),
    ]
  }

  /// The files from which a tokenizer is read.
  static var tokenizer: [Reader] { wordPieces + bytePairs }

  private static var wordPieces: [Reader] {
    func reader(
      _ name: String, _ file: String, _ samples: [[UInt8]], words: [String], memoryMultiple: Int,
      others: [(name: String, bytes: [UInt8])]
    ) -> Reader {
      Reader(name, samples: samples, words: words, memoryMultiple: memoryMultiple, program: .model(file)) {
        input, workspace in
        let folder = try workspace.folder(name, files: others, changed: (file, input))
        let tokenizer = try BertTokenizer(folder: folder)
        let encoding = try tokenizer.encode("The otters <e1> unwanted, ét [MASK] 東京", "[SEP] otter's </e1>")
        guard encoding.inputIDs.allSatisfy({ $0 >= 0 }) else { throw Wrong("a negative id") }
        _ = try? tokenizer.encode("otter", maxLength: 3)
        _ = tokenizer.warnings
        // For one in eight: it takes longer than all the rest.
        if input.count % 8 == 0 { _ = tokenizer.fingerprint }
      }
    }
    let vocabularyFile = (name: "vocab.txt", bytes: vocabulary)
    return [
      reader(
        "vocab", "vocab.txt", [vocabulary], words: ["##", "[UNK]\n", "\n\n", "the\n", "[CLS]", " \n"],
        memoryMultiple: 96,
        others: []),
      reader(
        "tokenizer-config", "tokenizer_config.json", [bytes(tokenizerConfiguration)],
        words: [
          "\"do_lower_case\": false", "\"never_split\": [\"a\"]", "\"mask_token\": null", "\"model_max_length\": 1e30",
          "\"split_special_tokens\": true", "\"tokenizer_class\": \"DistilBertTokenizerFast\"", "\"16\":",
          "\"content\": \"\"",
        ], memoryMultiple: 96, others: [vocabularyFile]),
      reader(
        "special-tokens-map", "special_tokens_map.json", [bytes(specialTokensMap)],
        words: ["\"unk_token\": \"the\"", "\"content\": \"\"", "[\"[CLS]\"]"], memoryMultiple: 96,
        others: [vocabularyFile, ("tokenizer_config.json", bytes(tokenizerConfiguration))]),
      reader(
        "added-tokens", "added_tokens.json", [bytes(addedTokens), bytes("{}")],
        words: ["\"\": 16", "\"the\": 5", ": -1", ": 16"],
        memoryMultiple: 128, others: [vocabularyFile]),
      reader(
        "tokenizer-json", "tokenizer.json", [bytes(tokenizerJSON), bytes(modernNormalizer)],
        words: [
          "\"type\": \"NFC\"", "\"type\": \"Sequence\"", "\"type\": \"Whitespace\"", "\"type\": \"BPE\"",
          "\"lowercase\": false",
          "\"normalizer\": null", "\"special\": false", "\"direction\": \"Left\"", "\"max_length\": 2", "\"##\"",
          "\"type_id\": 7",
        ], memoryMultiple: 128,
        others: [vocabularyFile, ("tokenizer_config.json", bytes("{\"tokenizer_class\": \"BertTokenizerFast\"}"))]),
    ]
  }

  private static let index = """
    {"metadata": {"total_size": 37}, "weight_map": {"w.a": "a.safetensors", "é": "a.safetensors", "z": "a.safetensors"}}
    """

  /// What describes a model, and its weights.
  private static var checkpointManifest: [UInt8] {
    var manifest = CheckpointManifest(step: 7)
    manifest.options = [.init("--seed", "42")]
    manifest.fingerprints = [.init("training rows", "abc")]
    manifest.evaluations = [.init(step: 3, epoch: 0.5, examples: 30, loss: 0.25, figures: [.init("accuracy", 0.875)])]
    manifest.files = [.init(name: "model.safetensors", bytes: 3, sha256: ["ba78"])]
    return manifest.bytes
  }

  static var checkpoint: [Reader] {
    [
      Reader(
        "config-json",
        samples: [golden("config.json")]
          + (Golden.families + Golden.otherFamilies).map { golden("config.json", of: $0) },
        words: [
          "\"hidden_act\": \"relu\"", "\"num_labels\": 3", "\"id2label\": {\"0\": \"a\"}", "\"id2label\": {\"1\": 2}",
          "\"problem_type\": \"regression\"", "\"type_vocab_size\": 1", "\"vocab_size\":", "\"num_attention_heads\": 5",
          "\"is_decoder\": true", "\"layer_norm_eps\": 1e-7", "\"pad_token_id\": null",
        ], memoryMultiple: 96, program: .model("config.json")
      ) { input, _ in
        for labels in [nil, 2] as [Int?] {
          let configuration = try BertConfiguration(json: input, path: "config.json", labels: labels)
          // Shapes only: nothing of the size that the file claims is allocated.
          if configuration.layers < 100 { _ = ParameterLayout(configuration).count }
        }
      },
      Reader(
        "checkpoint-manifest", samples: [checkpointManifest],
        words: ["\"../x\"", "\"step\": -1", "\"step\": 1e3", "\"files\": []", "\"figures\": {\"f1\": null}", "null"],
        memoryMultiple: 96,
        mutate: { file, mutator in
          var bytes = file
          mutator.change(&bytes, others: [file])
          // Most would be found by the digest alone, and what comes behind it would see nothing.
          return mutator.below(4) == 0 ? bytes : CheckpointManifest.signed(bytes)
        }
      ) { input, _ in
        let manifest = try CheckpointManifest(input, path: "checkpoint.json")
        guard try CheckpointManifest(manifest.bytes, path: "again") == manifest else {
          fatalError("a manifest is not what was written")
        }
      },
      Reader(
        "safetensors", samples: [SafetensorsSample.file], dictionary: SafetensorsSample.dictionary, memoryMultiple: 96,
        mutate: { file, mutator in SafetensorsSample.mutated(file, &mutator) },
        program: .model("model.safetensors", samples: [golden("model.safetensors")])
      ) { input, workspace in
        let file = try SafetensorsFile(workspace.write(input, "model.safetensors"))
        for tensor in file.tensors { try readBytes(of: tensor, in: file) }
        try readAllFloats(WeightSource(file: "\(workspace.path)/model.safetensors"))
      },
      Reader(
        "safetensors-bytes", samples: [SafetensorsSample.file, golden("model.safetensors").suffix(100)],
        memoryMultiple: 96
      ) { input, workspace in
        try readAllFloats(WeightSource(file: workspace.write(input, "model.safetensors")))
      },
      Reader(
        "torch-pickle", samples: ["zip", "old", "protocol-4"].map(torchFile), memoryMultiple: 256
      ) { input, workspace in
        try readAllFloats(WeightSource(file: workspace.write(input, "pytorch_model.bin")))
      },
      Reader(
        "weight-index", samples: [bytes(index)],
        words: [
          "\"h\": \"a.safetensors\"", "\"../a.safetensors\"", "\"weight_map\": {", "\"w.a\":", "\"b.safetensors\"",
          "\"z\": \"b.safetensors\"",
        ],
        memoryMultiple: 128, program: .model("model.safetensors.index.json")
      ) { input, workspace in
        // Two shards of the same tensors would be refused in any case, but for one that the index does not name.
        let shards = ["a.safetensors", "b.safetensors"].map { (name: $0, bytes: SafetensorsSample.file) }
        let folder = try workspace.folder("shards", files: shards, changed: ("model.safetensors.index.json", input))
        try readAllFloats(WeightSource(folder: folder))
      },
    ]
  }

  private static func readBytes(of tensor: TensorInfo, in file: SafetensorsFile) throws(Failure) {
    let raw = UnsafeMutableRawBufferPointer.allocate(byteCount: tensor.byteRange.count, alignment: 16)
    defer { raw.deallocate() }
    try file.read(tensor, into: raw)
  }

  private static func readAllFloats(_ source: WeightSource) throws {
    for entry in source.entries where entry.count < 1 << 20 {
      var values = [Float](repeating: 0, count: entry.count)
      try? values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try entry.readFloats(into: buffer) }
    }
  }
}
