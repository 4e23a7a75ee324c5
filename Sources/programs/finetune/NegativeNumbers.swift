extension [String] {
  /// The same command line with negative numbers joined to the options before them: `--lockstep-check -1` becomes
  /// `--lockstep-check=-1`. By themselves they would be taken for options, and the one before them for one without a value.
  var joiningNegativeNumbers: [String] {
    var joined: [String] = []
    var isOver = false
    for word in self {
      if !isOver, word.hasPrefix("-"), Double(word) != nil, let option = joined.last, option.hasPrefix("--"),
        option != "--", !option.contains("=")
      {
        joined[joined.count - 1] = "\(option)=\(word)"
      } else {
        joined.append(word)
      }
      if word == "--" { isOver = true }
    }
    return joined
  }
}
