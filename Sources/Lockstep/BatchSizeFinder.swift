import System

extension Accelerator {
  /// Runs `body` with a batch size, and again with nine tenths of it as often as memory lacks: Accelerate's
  /// `find_executable_batch_size`. All ranks try the same sizes, for they find out together whether memory lacks. Called by
  /// all ranks.
  ///
  /// Models, optimizers and loaders are made in `body`, anew for each size.
  ///
  /// - Parameters:
  ///   - start: the first batch size to try.
  ///   - body: trains with the batch size that it gets.
  /// - Throws: what `body` throws otherwise; `.unavailable` where not even 1 fits.
  public func findExecutableBatchSize<Result>(
    startingAt start: Int = 128, _ body: (_ batchSize: Int) throws -> Result
  ) throws -> Result {
    var size = start
    while size > 0 {
      do {
        return try body(size)
      } catch let failure as Failure where failure.status == .unavailable && failure == communicator.agreement.failure {
        print("no memory for a batch of \(size): \(failure)")
        size = size * 9 / 10
        forget()
      }
    }
    throw Failure(.unavailable, "memory lacks for any batch, from \(start) rows down to 1")
  }
}
