import Hub
import System

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

extension Reader {
  private static let list = """
    {"id": "acme/pairs", "sha": "c0ffee12c0ffee12c0ffee12c0ffee12c0ffee12", "private": false, "tags": ["x"],
     "siblings": [{"rfilename": "train.jsonl"}, {"rfilename": "data/validation.jsonl", "size": 12}, {"rfilename": ".gitattributes"}]}
    """

  private static let index = """
    {"metadata": {"total_size": 1000}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    """

  /// What servers answer, and archives.
  static var hub: [Reader] {
    [
      Reader(
        "hub-list", samples: [bytes(list), bytes("{\"sha\":\"\(String(repeating: "a", count: 40))\"}")],
        words: ["\"sha\":", "\"siblings\":", "\"rfilename\":", "../", "/", "null", "[]", "{}", "\\u0000", "\\\\"],
        memoryMultiple: 64
      ) { input, _ in
        let found = try RepositoryListing(input, path: "list")
        for file in found.files where file.hasPrefix("/") || file.split(separator: "/").contains("..") {
          throw Wrong("a file outside: \(file)")
        }
        guard found.commit.utf8.count == 40 else { throw Wrong("the commit \(found.commit)") }
      },
      Reader(
        "hub-index", samples: [bytes(index), bytes("{\"weight_map\": {\"a\": \"x\"}}")],
        words: ["\"weight_map\":", "../", "/", "\"\"", "null", "{}", "\\u002f"], memoryMultiple: 64
      ) { input, _ in
        for name in try ModelFiles.shards(ofIndex: input, path: "index") where name.contains("/") || name == ".." {
          throw Wrong("a shard elsewhere: \(name)")
        }
      },
      // An archive says how large its files are: what is too large for it is refused before memory is taken.
      Reader(
        "zip", samples: [archive], dictionary: [[0x50, 0x4B, 1, 2], [0x50, 0x4B, 5, 6], [0xFF, 0xFF, 0xFF, 0x7F]],
        memoryMultiple: 2200
      ) { input, _ in
        let archive = try ZipArchive(input, path: "zip")
        var (accepted, refused) = (0, Failure?.none)
        for entry in archive.entries.prefix(8) {
          do throws(Failure) {
            guard try archive.bytes(of: entry).count == entry.byteCount else { throw Failure(.internalError, "size") }
            accepted += 1
          } catch { refused = refused ?? error }
        }
        if accepted == 0, let refused { throw refused }
      },
    ]
  }

  /// `T/a.tsv` with the text "the otter\tthe otter\n" three times, and `T/b.tsv`, as Python's zipfile made it.
  private static let archive: [UInt8] = {
    let text = """
      504b03041400000008000000210077c3ab28130000003c00000007000000542f612e7473762bc94855c82f29492de22c81b1\
      b84a88140300504b030414000000080000002100037169ee9d0000002c01000007000000542f622e747376158fdb0d003008\
      02ff99c2d57c80ee3f41691a9306c9098368e150c863cc5cc46d4fc7663592c9c3eee25a957dc3e5c64281c52889f6173520\
      abee4ab59ddcad04f2fb0c35a50a91b3043b25f5ee991256b99f699bbedd033b4e022f91291e01b59f257e6e1bc931c35069\
      ae4b83e354c6c85b59467fe6c969b1e94279887594fb97a6c09ab47f7de2aa8393e1ca28997ea9998aea715ad74f0ee1f503\
      504b010214031400000008000000210077c3ab28130000003c000000070000000000000000000000800100000000542f612e\
      747376504b0102140314000000080000002100037169ee9d0000002c01000007000000000000000000000080013800000054\
      2f622e747376504b050600000000020002006a000000fa0000000000
      """
    return stride(from: 0, to: text.count, by: 2).map { index in
      UInt8(String(text.dropFirst(index).prefix(2)), radix: 16) ?? 0
    }
  }()
}
