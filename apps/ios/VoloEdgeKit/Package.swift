// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "VoloEdgeKit",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [.library(name: "VoloEdgeKit", targets: ["VoloEdgeKit"])],
    targets: [
        .target(name: "VoloEdgeKit"),
        .testTarget(name: "VoloEdgeKitTests", dependencies: ["VoloEdgeKit"], resources: [.copy("Goldens")]),
    ]
)
