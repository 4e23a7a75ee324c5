import ArgumentParser
import FileSystem
import Glibc
import Launcher

let arguments = CommandLine.rawArguments
if let failure = Guard.runIfAsked(arguments) ?? Keeper.runIfAsked(arguments) { fail(failure) }
Launch.mainReportingInOneLine()
