// Core AI of iOS 27: developer.apple.com/documentation/coreai
@_exported import AppleFoundation

public struct ComputeUnitKind: Sendable {
    public static var cpu: ComputeUnitKind { fatalError() }
    public static var gpu: ComputeUnitKind { fatalError() }
    public static var neuralEngine: ComputeUnitKind { fatalError() }
}

public struct SpecializationOptions: Sendable {
    public static var `default`: SpecializationOptions { fatalError() }
    public static var cpuOnly: SpecializationOptions { fatalError() }
    public init(preferredComputeUnitKind: ComputeUnitKind) {}
}

public struct AIModel: Sendable {
    public init(contentsOf modelURL: URL, options: SpecializationOptions = .default) async throws {}
    public func loadFunction(named functionName: String) throws -> InferenceFunction? { fatalError() }
}

public struct NDArray: Sendable {
    public enum ScalarType: Sendable { case bool, int8, uint8, int16, int32, float16, bfloat16, float32 }

    public init(shape: [Int], scalarType: NDArray.ScalarType) {}
    public var shape: [Int] { fatalError() }
    public var scalarType: NDArray.ScalarType { fatalError() }
    public func view<T: BitwiseCopyable>(as type: T.Type = T.self) -> NDArray.View<T> { fatalError() }
    public mutating func mutableView<T: BitwiseCopyable>(as type: T.Type = T.self) -> NDArray.MutableView<T> {
        fatalError()
    }

    // Apple's closures take Swift's `Span`, which this compiler is too old for, and throw typed errors.
    public struct Strides {}

    public struct View<Element> {
        public func withUnsafePointer<R>(_ body: (UnsafePointer<Element>, Strides, Strides) throws -> R) rethrows -> R {
            fatalError()
        }
    }

    public struct MutableView<Element>: ~Copyable {
        public consuming func withUnsafeMutablePointer<R>(
            _ body: (UnsafeMutablePointer<Element>, Strides, Strides) throws -> R
        ) rethrows -> R { fatalError() }
    }
}

public struct InferenceValue {
    public var ndArray: NDArray? { fatalError() }
}

public struct InferenceFunction: Sendable {
    public struct MutableViews { public init() {} }

    public struct Outputs {
        public mutating func remove(_ outputName: String) -> InferenceValue? { fatalError() }
    }

    public func run(
        inputs: [String: NDArray], states: consuming MutableViews = MutableViews(),
        outputViews: consuming MutableViews = MutableViews()
    ) async throws -> Outputs { fatalError() }
}
