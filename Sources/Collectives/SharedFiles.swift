import CProcess
import Glibc

/// Memory that processes of one host share: files without a name, each made by one process and opened by the others
/// through /proc.
///
/// Not MPI's windows: those know no large pages, and the loops of backward, which walk through all weights with long
/// strides, take a quarter more time where a page has 4 kB. Nor do these files count against the size of /dev/shm.
struct SharedFiles {
  /// Mappings made so far.
  private var count = 0

  /// A file's floats, there as long as the mapping is.
  struct Part {
    var floats: UnsafeMutableBufferPointer<Float>
    var mapping: Mapping
  }

  /// What another process needs to know to open a file.
  struct Offer: BitwiseCopyable {
    /// -1 where there is no file.
    var descriptor: Int32 = -1
    var process: Int32 = 0
    var floats = 0
    /// Bytes before the first float.
    var offset = 0
    /// Tells whether it is the same file: another process may have that number.
    var device: UInt = 0
    var inode: UInt = 0
  }

  private static func byteCount(_ floats: Int) -> Int {
    let byteCount = max(floats, 1) * MemoryLayout<Float>.stride + 16 * staggerBytes
    return (byteCount + hugePageBytes - 1) / hugePageBytes * hugePageBytes
  }

  /// Makes a file of `floats` zeros and maps it; nil where it can't be had. To be closed when all have mapped it.
  ///
  /// - Parameter localRank: of this process on its host; the files of its ranks are staggered.
  mutating func make(floats: Int, localRank: Int) -> (offer: Offer, part: Part)? {
    let descriptor = lockstep_memory_file("lockstep")
    let offset = (count + 1 + localRank) % 16 * staggerBytes
    guard descriptor >= 0 else { return nil }
    // All pages now: later there would be no other answer to a lack of memory than the end of the process.
    guard posix_fallocate(descriptor, 0, Self.byteCount(floats)) == 0,
      let part = map(descriptor, floats: floats, at: offset),
      let file = status(descriptor)
    else {
      close(descriptor)
      return nil
    }
    // A wish: makes large pages of small ones, whatever the system's setting; Linux 6.1 and later.
    let collapse: Int32 = 25
    let start = part.floats.baseAddress.map { UnsafeMutableRawPointer($0).alignedDown(toMultipleOf: hugePageBytes) }
    madvise(start, Self.byteCount(floats), collapse)
    let offer = Offer(
      descriptor: descriptor, process: getpid(), floats: floats, offset: offset, device: UInt(file.st_dev),
      inode: UInt(file.st_ino))
    return (offer, part)
  }

  /// Maps another process's file; nil where it can't be opened.
  mutating func open(_ offer: Offer) -> Part? {
    guard offer.descriptor >= 0 else { return nil }
    let descriptor = Glibc.open("/proc/\(offer.process)/fd/\(offer.descriptor)", O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    guard let file = status(descriptor), UInt(file.st_dev) == offer.device, UInt(file.st_ino) == offer.inode else {
      return nil
    }
    return map(descriptor, floats: offer.floats, at: offer.offset)
  }

  private func status(_ descriptor: Int32) -> stat? {
    var file = stat()
    return fstat(descriptor, &file) == 0 ? file : nil
  }

  /// Maps a file from the start of a large page on; its floats begin at `offset`.
  private mutating func map(_ descriptor: Int32, floats: Int, at offset: Int) -> Part? {
    let byteCount = Self.byteCount(floats)
    let room = byteCount + hugePageBytes
    guard let start = mmap(nil, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
      start != MAP_FAILED
    else { return nil }
    count += 1
    let mapping = Mapping(UnsafeMutableRawBufferPointer(start: start, count: room))
    let aligned = start.alignedUp(toMultipleOf: hugePageBytes)
    guard mmap(aligned, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, 0) == aligned else {
      return nil
    }
    let memory = UnsafeMutableBufferPointer(
      start: (aligned + offset).bindMemory(to: Float.self, capacity: floats), count: floats)
    return Part(floats: memory, mapping: mapping)
  }
}
