import CMPI
import System

/// Non-blocking messages of MPI.
///
/// Unchecked, because a channel is used by one thread at a time; its calls of MPI are under the communicator's lock.
final class MPIChannel: PointToPointChannel, @unchecked Sendable {
  private let communicator: MPICommunicator
  private let channel: MPI_Comm?
  /// By message; unused ones are null.
  private var requests: [MPI_Request?] = []
  private var isFinished: [Bool] = []
  private var unused: [Int] = []
  private var finished: [Int32] = []
  private var active = 0

  init(_ communicator: MPICommunicator, _ channel: MPI_Comm?) {
    self.communicator = communicator
    self.channel = channel
  }

  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int) throws(Failure) -> Int {
    let message = makeMessage()
    try communicator.inLink("MPI_Isend") {
      MPI_Isend(
        bytes.baseAddress, Int32(bytes.count), lockstep_byte(), Int32(rank), Int32(tag), channel, &requests[message])
    }
    return message
  }

  func receive(_ bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) throws(Failure) -> Int {
    let message = makeMessage()
    try communicator.inLink("MPI_Irecv") {
      MPI_Irecv(
        bytes.baseAddress, Int32(bytes.count), lockstep_byte(), Int32(rank), Int32(tag), channel, &requests[message])
    }
    return message
  }

  func poll() throws(Failure) {
    guard active > 0 else { return }
    var count: Int32 = 0
    try communicator.inLink("MPI_Testsome") {
      MPI_Testsome(Int32(requests.count), &requests, &count, &finished, lockstep_statuses_ignore())
    }
    guard count != MPI_UNDEFINED else { return }
    for index in finished.prefix(Int(count)) {
      isFinished[Int(index)] = true
      active -= 1
    }
  }

  func isDone(_ message: Int) -> Bool {
    guard isFinished[message] else { return false }
    isFinished[message] = false
    unused.append(message)
    return true
  }

  private func makeMessage() -> Int {
    active += 1
    if let message = unused.popLast() { return message }
    requests.append(lockstep_request_null())
    isFinished.append(false)
    finished.append(0)
    return requests.count - 1
  }
}
