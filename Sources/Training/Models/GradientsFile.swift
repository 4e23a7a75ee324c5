import Kernels
import Safetensors
import System

/// A file of a model's gradients, as safetensors under the names of the parameters.
public enum GradientsFile {
  private static let mark = (key: "content", value: "gradients")

  /// Makes sure, before long work, that gradients can be written to `path`: to nothing, or to earlier ones.
  ///
  /// - Parameters:
  ///   - option: that named the file, for messages.
  ///   - folders: where the file must not be, with the options that named them.
  public static func check(
    _ path: String, option: String, notIn folders: [(option: String, path: String?)]
  ) throws(Failure) {
    try ReportFile.check(path, option: option, notIn: folders) { path in
      (try? SafetensorsFile(path))?.metadata[mark.key] == mark.value
    }
  }

  /// Writes `gradients` of `model`, whole or not at all.
  public static func write(_ gradients: FloatBuffer, of model: Model, to path: String) throws(Failure) {
    try writeTensors(
      UnsafeBufferPointer(gradients.buffer), model.layout.slots, to: realPath(path), metadata: [mark.key: mark.value])
  }
}
