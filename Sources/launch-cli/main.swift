import ArgumentParser
import FileSystem
import Glibc
import Launcher

// Whoever ignores the end of children, as a shell after `trap '' CHLD`, hands that down, and none could be waited for.
signal(SIGCHLD, SIG_DFL)
let arguments = CommandLine.rawArguments
Sweeper.runIfAsked(arguments)
if let failure = Guard.runIfAsked(arguments) ?? Keeper.runIfAsked(arguments) { fail(failure) }
Launch.mainReportingInOneLine()
