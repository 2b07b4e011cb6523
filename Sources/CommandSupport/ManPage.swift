// `COMMAND man-page`: the manual page, made of the definitions that also parse the arguments, so that it cannot say
// anything else. scripts/setup installs it.

public import ArgumentParser
import FoundationEssentials

/// A command whose manual says more than the definitions of its arguments.
public protocol ManualHaving: ParsableCommand {
  static var chapters: [ManualChapter] { get }
}
public struct ManualChapter: Sendable {
  public typealias Item = (heading: String, words: String)
  let title: String
  let items: [Item]
  let text: String
  /// - Parameter items: named things; `text` comes before them.
  public init(_ title: String, _ text: String = "", items: [Item] = []) { (self.title, self.text, self.items) = (title, text, items) }
}

public struct ManPage<Root: ManualHaving>: ParsableCommand {
  public static var configuration: CommandConfiguration {
    CommandConfiguration(commandName: "man-page", abstract: "Write the manual page, in man(7)'s language.", shouldDisplay: false)
  }
  public init() {}

  public func run() throws {
    let tool = try JSONDecoder().decode(ToolDefinition.self, from: Data(Root._dumpHelp().utf8))
    try say(Manual(of: tool.command, version: Root.configuration.version, Root.chapters).text, end: "")
  }
}

/// What ArgumentParser tells of a command (its `ToolInfoV0`, as far as a manual needs it).
private struct ToolDefinition: Decodable {
  var command: CommandDefinition
}
struct CommandDefinition: Decodable {
  var commandName: String
  var superCommands: [String]?
  var shouldDisplay: Bool?
  var abstract: String?
  var discussion: String?
  var subcommands: [CommandDefinition]?
  var arguments: [ArgumentDefinition]?

  var fullName: String { ((superCommands ?? []) + [commandName]).joined(separator: " ") }
  var shown: [ArgumentDefinition] { (arguments ?? []).filter { $0.shouldDisplay && !($0.kind == "flag" && ["help", "version"].contains($0.valueName ?? "")) } }
  /// Below this one, at any depth, those that do something.
  var leaves: [CommandDefinition] {
    let below = (subcommands ?? []).filter { $0.shouldDisplay != false && $0.commandName != "help" }
    return below.isEmpty ? [self] : below.flatMap(\.leaves)
  }
}
struct ArgumentDefinition: Decodable {
  struct Name: Decodable {
    var kind: String
    var name: String
    var text: String { kind == "long" ? "--\(name)" : "-\(name)" }
  }
  var kind: String
  var shouldDisplay: Bool
  var isOptional: Bool
  var isRepeating: Bool
  var names: [Name]?
  var preferredName: Name?
  var valueName: String?
  var defaultValue: String?
  var abstract: String?
}

/// A manual page. In a text, lines that begin with two spaces are shown as they are.
struct Manual {
  private(set) var text = ""

  init(of root: CommandDefinition, version: String?, _ chapters: [ManualChapter]) {
    let leaves = root.leaves
    add(#".\" Made by `\#(root.commandName) man-page` of the definitions of its arguments."#)
    add(".TH \(root.commandName.uppercased()) 1 \"\" \"\(Self.escaped(version ?? root.commandName))\" \"User Commands\"")
    add(".SH NAME")
    add("\(root.commandName) \\- \(Self.escaped(Self.undotted(root.abstract ?? "")))")
    add(".SH SYNOPSIS")
    for (index, leaf) in leaves.enumerated() {
      if index > 0 { add(".br") }
      add(Self.synopsis(leaf))
    }
    add(".SH DESCRIPTION")
    addText(root.discussion ?? root.abstract ?? "")
    add(".SH COMMANDS")
    for leaf in leaves { addCommand(leaf) }
    add(".SH OPTIONS OF ALL COMMANDS")
    addItem(Self.bold("-h") + ", " + Self.bold("--help"), "Show help.")
    addItem(Self.bold("--version"), "Show the version; of \(root.commandName) alone.")
    add(".SH EXIT STATUS")
    addItem("0", "Done.")
    addItem("1", "Failed. A message on standard error says what is in the way, and what to do about it.")
    addItem("2", "Wrongly called.")
    addItem("141", "Whoever was to read standard output has left.")
    for chapter in chapters {
      add(".SH \(Self.escaped(chapter.title))")
      if !chapter.text.isEmpty { addText(chapter.text) }
      for item in chapter.items { addItem(Self.bold(item.heading), item.words) }
    }
  }

  private mutating func addCommand(_ command: CommandDefinition) {
    add(".SS \(Self.escaped(command.fullName))")
    addText(command.abstract ?? "")
    if let discussion = command.discussion {
      add(".PP")
      addText(discussion)
    }
    for argument in command.shown {
      let preset = argument.defaultValue.map { " By default \($0)." } ?? ""
      addItem(Self.heading(argument), (argument.abstract ?? "") + preset)
    }
  }

  private mutating func add(_ line: String) { text += line + "\n" }

  private mutating func addItem(_ heading: String, _ words: String) {
    add(".TP")
    add(heading)
    addText(words)
  }

  private mutating func addText(_ words: String) {
    var isShownAsIs = false, isNewParagraph = false
    for line in words.split(separator: "\n", omittingEmptySubsequences: false) {
      let asIs = line.hasPrefix("  ")
      if asIs != isShownAsIs { add(!asIs ? ".fi" : isNewParagraph ? ".nf" : ".PP\n.nf") }
      (isShownAsIs, isNewParagraph) = (asIs, line.isEmpty)
      if line.isEmpty { add(".PP") } else { add(Self.escaped(String(line))) }
    }
    if isShownAsIs { add(".fi") }
  }

  private static func synopsis(_ command: CommandDefinition) -> String {
    let arguments = command.shown.map { argument in
      let words: String
      switch argument.kind {
      case "positional": words = value(argument)
      case "flag": words = bold(argument.preferredName?.text ?? "")
      default: words = "\(bold(argument.preferredName?.text ?? "")) \(value(argument))"
      }
      return (argument.isOptional ? "[\(words)]" : words) + (argument.isRepeating ? "..." : "")
    }
    return ([bold(command.fullName)] + arguments).joined(separator: " ")
  }

  private static func heading(_ argument: ArgumentDefinition) -> String {
    if argument.kind == "positional" { return value(argument) }
    let names = (argument.names ?? []).map { bold($0.text) }.joined(separator: ", ")
    return argument.kind == "flag" ? names : "\(names) \(value(argument))"
  }
  private static func value(_ argument: ArgumentDefinition) -> String { "\\fI\(escaped((argument.valueName ?? "").uppercased()))\\fR" }
  private static func bold(_ words: String) -> String { "\\fB\(escaped(words))\\fR" }
  private static func undotted(_ words: String) -> String { words.hasSuffix(".") ? String(words.dropLast()) : words }

  /// A line that begins with a dot or an apostrophe would be a request of the language.
  private static func escaped(_ words: String) -> String {
    let safe = words.replacing("\\", with: "\\e").replacing("-", with: "\\-")
    return safe.hasPrefix(".") || safe.hasPrefix("'") ? "\\&\(safe)" : safe
  }
}
