// ExecuTorch 1.5.1's Swift API: extension/apple/ExecuTorch/Exported
@_exported import AppleFoundation

public enum ModuleLoadMode: Int { case file, mmap, mmapUseMlock, mmapUseMlockIgnoreErrors }
public enum ModuleVerification: UInt8 { case minimal, internalConsistency }
public enum DataType: Int8 { case byte, char, short, int, long, half, float, double }
public enum ShapeDynamism: Int { case `static`, dynamicBound, dynamicUnbound }

public final class BackendOption: NSObject {
    public init(_ key: String, _ value: Bool) {}
    public init(_ key: String, _ value: Int) {}
    public init(_ key: String, _ value: String) {}
}

public final class BackendOptionsMap: NSObject {
    public init(options: [String: [BackendOption]]) throws {}
}

public protocol Scalar {}
extension Float: Scalar {}

open class AnyTensor: NSObject {
    public var dataType: DataType { fatalError() }
    public func copy(to dataType: DataType) -> Self { fatalError() }
}

public final class Tensor<T: Scalar>: Equatable {
    public init(_ tensor: AnyTensor) {}
    public convenience init(
        _ scalars: [T], shape: [Int] = [], strides: [Int] = [], dimensionOrder: [Int] = [],
        shapeDynamism: ShapeDynamism = .dynamicBound
    ) { fatalError() }
    public static func == (lhs: Tensor<T>, rhs: Tensor<T>) -> Bool { fatalError() }
    public func scalars() -> [T] { fatalError() }
}

public final class Value: NSObject {
    public var anyTensor: AnyTensor? { fatalError() }
}

public protocol ValueConvertible {
    func asValue() -> Value
}

public protocol ValueSequenceConstructible {
    static func from(_ values: [Value]) throws -> Self
}

public protocol ValueConstructible: ValueSequenceConstructible {}

extension Value: ValueConvertible, ValueConstructible {
    public func asValue() -> Value { fatalError() }
    public static func from(_ values: [Value]) throws -> Self { fatalError() }
}

extension Tensor: ValueConvertible, ValueConstructible {
    public func asValue() -> Value { fatalError() }
    public static func from(_ values: [Value]) throws -> Self { fatalError() }
}

extension Array: ValueSequenceConstructible where Element: ValueConstructible {
    public static func from(_ values: [Value]) throws -> [Element] { fatalError() }
}

open class Module: NSObject {
    public init(filePath: String, loadMode: ModuleLoadMode) {}
    public func load(with verification: ModuleVerification) throws {}
    public func load() throws {}
    public func load(_ method: String) throws {}
}

extension Module {
    public func load(options: BackendOptionsMap, verification: ModuleVerification = .minimal) throws {}
    public func load(_ method: String, options: BackendOptionsMap) throws {}
    public func forward(_ inputs: [ValueConvertible]) throws -> [Value] { fatalError() }
    public func forward(_ inputs: ValueConvertible...) throws -> [Value] { fatalError() }
    public func forward<Output: ValueSequenceConstructible>(_ inputs: ValueConvertible...) throws -> Output {
        fatalError()
    }
    public func forward<Output: ValueSequenceConstructible>(_ input: ValueConvertible) throws -> Output {
        fatalError()
    }
}
