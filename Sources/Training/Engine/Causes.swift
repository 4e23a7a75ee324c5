import System

extension Failure.Cause {
  /// A loss or a gradient is not a finite number.
  public static let notFinite = Failure.Cause("not finite")
  /// A checkpoint lacks a parameter of the encoder.
  public static let missingTensor = Failure.Cause("missing tensor")
  /// A checkpoint's classifier has another number of labels.
  public static let otherLabels = Failure.Cause("other labels")
  /// A tensor of a checkpoint has another shape than the parameter.
  public static let otherShape = Failure.Cause("other shape")
  /// A folder to save into holds files that are not of a saved model.
  public static let foreignFiles = Failure.Cause("foreign files")
}
