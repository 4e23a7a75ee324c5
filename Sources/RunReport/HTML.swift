import System

/// HTML text. Everything that comes from outside goes through ``escaped(_:)``.
enum HTML {
  /// `text` as it is shown, in an element or an attribute in quotes. What could change the text around it without being
  /// seen is written as an escape.
  static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.escapingControlCharacters.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// A table with a caption, whose first column names the rows. It scrolls by itself where the page is narrow.
  static func table(_ caption: String, _ header: [String], _ rows: [[String]]) -> String {
    let head = header.map { "<th scope=\"col\">\(escaped($0))</th>" }.joined()
    let body = rows.map { row in
      "<tr>"
        + row.enumerated().map { index, cell in
          index == 0 ? "<th scope=\"row\">\(escaped(cell))</th>" : "<td>\(escaped(cell))</td>"
        }.joined() + "</tr>\n"
    }.joined()
    return "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"\(escaped(caption))\">"
      + "<table><caption>\(escaped(caption))</caption><thead><tr>\(head)</tr></thead><tbody>\n\(body)</tbody></table></div>\n"
  }

  /// A section with a heading.
  static func section(_ id: String, _ title: String, _ content: String) -> String {
    "<section aria-labelledby=\"\(id)\">\n<h2 id=\"\(id)\">\(escaped(title))</h2>\n\(content)</section>\n"
  }

  /// The whole page.
  static func page(_ title: String, _ content: String) -> String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>\(escaped(title))</title>
    <style>\(style)</style>
    </head>
    <body>
    <main>
    <h1>\(escaped(title))</h1>
    \(content)</main>
    </body>
    </html>

    """
  }

  private static let style = """
    :root{--ink:#1b1b1f;--paper:#fff;--faint:#5c5f66;--line:#d4d6db;--panel:#f5f6f8;--s0:#0b57b7;--s1:#b3450a;--s2:#1a7340;--s3:#7b2d9e;--s4:#a0184f;--s5:#4f5d00}
    @media (prefers-color-scheme:dark){:root{--ink:#e8e8ec;--paper:#17181b;--faint:#a7abb4;--line:#3b3e45;--panel:#212329;--s0:#82b6ff;--s1:#ffa873;--s2:#74d69b;--s3:#d6a2f2;--s4:#ff93b8;--s5:#cddc5e}}
    *{box-sizing:border-box}
    body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
    main{max-width:64rem;margin:0 auto;padding:1rem}
    h1{font-size:1.5rem;line-height:1.25;overflow-wrap:anywhere}
    h2{font-size:1.15rem;margin:2rem 0 .5rem}
    figure{margin:0 0 1.25rem}
    figcaption{font-weight:600;margin-bottom:.25rem}
    .grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:0 1.5rem}
    svg{width:100%;height:auto;display:block;background:var(--panel);border-radius:6px}
    svg text{fill:var(--faint);font:14px system-ui,sans-serif}
    .axis{stroke:var(--line);stroke-width:1}
    .curve{fill:none;stroke-width:2;stroke-linejoin:round}
    .legend{list-style:none;padding:0;margin:.25rem 0;display:flex;flex-wrap:wrap;gap:.25rem 1rem}
    .legend svg{width:2.2rem;height:.8rem;display:inline-block;background:none;vertical-align:middle}
    .wide{overflow-x:auto;margin:.25rem 0}
    :focus-visible{outline:3px solid var(--s0);outline-offset:2px}
    table{border-collapse:collapse;font-variant-numeric:tabular-nums}
    caption{text-align:left;color:var(--faint);padding:.25rem 0}
    th,td{border-bottom:1px solid var(--line);padding:.25rem .75rem .25rem 0;text-align:left;vertical-align:top}
    th{font-weight:600}
    summary{cursor:pointer;color:var(--s0)}
    pre{background:var(--panel);padding:.75rem;border-radius:6px;white-space:pre-wrap;overflow-wrap:anywhere}
    .mistakes{padding-left:1.5rem}.mistakes li{margin-bottom:1rem}.mistakes p{margin:.1rem 0;overflow-wrap:anywhere}
    .faint{color:var(--faint)}
    """
}
