@_exported import CoreVideo

public enum MLComputeUnits: Int, Sendable { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }
public enum MLMultiArrayDataType: Int, Sendable { case double, float32, float16, int32, int8 }

open class MLModelConfiguration: NSObject {
    public var computeUnits: MLComputeUnits {
        get { fatalError() }
        set {}
    }
}

open class MLMultiArray: NSObject {
    public var dataType: MLMultiArrayDataType { fatalError() }
}

public protocol MLFeatureProvider {
    var featureNames: Set<String> { get }
    func featureValue(for featureName: String) -> MLFeatureValue?
}

open class MLFeatureValue: NSObject {
    public convenience init(pixelBuffer value: CVPixelBuffer) { fatalError() }
    public var multiArrayValue: MLMultiArray? { fatalError() }
}

open class MLDictionaryFeatureProvider: NSObject, MLFeatureProvider {
    public init(dictionary: [String: Any]) throws {}
    public var featureNames: Set<String> { fatalError() }
    public func featureValue(for featureName: String) -> MLFeatureValue? { fatalError() }
}

open class MLModel: NSObject {
    public convenience init(contentsOf url: URL, configuration: MLModelConfiguration) throws { fatalError() }
    public func prediction(from input: any MLFeatureProvider) throws -> any MLFeatureProvider { fatalError() }
    public func prediction(from input: any MLFeatureProvider) async throws -> any MLFeatureProvider { fatalError() }
    @available(*, noasync) public class func compileModel(at modelURL: URL) throws -> URL { fatalError() }
    public class func compileModel(at modelURL: URL) async throws -> URL { fatalError() }
}

public protocol MLShapedArrayScalar {}
extension Float: MLShapedArrayScalar {}

public protocol MLShapedArrayProtocol<Scalar> {
    associatedtype Scalar: MLShapedArrayScalar
}

public struct MLShapedArray<Scalar: MLShapedArrayScalar>: MLShapedArrayProtocol {}

extension MLShapedArrayProtocol {
    public init(converting multiArray: MLMultiArray) { fatalError() }
    public var scalars: [Scalar] {
        get { fatalError() }
        set {}
    }
}
