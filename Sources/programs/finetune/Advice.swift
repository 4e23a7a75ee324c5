import Reporting
import System

extension TimeReport {
  /// What a user can do about what costs the most time.
  var advice: String {
    let (cause, share) = bottleneck
    let percent = "\(formatted(100 * share, digits: 1)) %"
    return switch cause {
    case .slowRank(let rank, let host):
      "waiting \(percent): rank \(rank) (host \(host)) is slow; see what else runs there"
    case .unevenBatches:
      "waiting \(percent), now for one rank, now for another: more rows a batch (--batch-size) even them out"
    case .sumsOverHosts:
      "sums over hosts \(percent): more rows a step (--batch-size, --gradient-accumulation-steps), or --ddp-comm-hook bf16"
    case .optimizer: "optimizer \(percent): more rows a step (--batch-size)"
    case .data: "data \(percent): the rows are fetched slowly; see whether memory is short"
    case .evaluation: "evaluation \(percent): more rows a batch in it (--eval-batch-size)"
    case .precision: "forward and backward \(percent): bf16 (--mixed-precision bf16)"
    case .work: "more cores or hosts: \(percent) is forward and backward"
    }
  }
}
