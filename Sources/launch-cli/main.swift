import ArgumentParser
import Glibc
import Launcher
import System

// Whoever ignores the end of children, as a shell after `trap '' CHLD`, hands that down, and none could be waited for.
signal(SIGCHLD, SIG_DFL)
// Over the limit on a file's size a write is to fail, and not to end the process. Children get the usual action.
signal(SIGXFSZ, SIG_IGN)
StandardDescriptors.fill()
let arguments = CommandLine.rawArguments
let environment = Environment.ofThisProcess()
JobReaper.runIfAsked(arguments, environment)
if let failure = ParentDeathGuard.runIfAsked(arguments, environment) ?? RankAgent.runIfAsked(arguments, environment) {
  fail(failure)
}
HelpWidth.limit(environment)
LaunchCommand.mainReportingInOneLine(environment)
