@_exported import CoreGraphics

open class UIImage: NSObject, @unchecked Sendable {
    public init?(data: Data) {}
    public var size: CGSize { fatalError() }
    public func byPreparingThumbnail(ofSize size: CGSize) async -> UIImage? { fatalError() }
}

open class CALayer: NSObject {}

@MainActor open class UIResponder: NSObject {}

@MainActor open class UIView: UIResponder {
    open class var layerClass: AnyClass { fatalError() }
    public init(frame: CGRect) {}
    public required init?(coder: NSCoder) {}
    public var layer: CALayer { fatalError() }
}

@MainActor open class UIDevice: NSObject {
    public class var current: UIDevice { fatalError() }
    public var systemName: String { fatalError() }
    public var systemVersion: String { fatalError() }
}

@MainActor open class UIApplication: UIResponder {
    public class var shared: UIApplication { fatalError() }
    public nonisolated class var openSettingsURLString: String { fatalError() }
    public var isIdleTimerDisabled: Bool {
        get { fatalError() }
        set {}
    }
}
