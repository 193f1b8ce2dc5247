import Foundation

/// The folder that `volo-edge convert` wrote, within the app: the app's signature vouches for its files.
public struct Artifact: Sendable {
    public let folder: URL
    public let manifest: Manifest
    public let labels: [String]

    /// The artifact in `folder`.
    public init(folder: URL) throws {
        guard let data = try? Data(contentsOf: folder.appendingPathComponent(Manifest.name)) else {
            throw VoloEdgeError("there is no \(Manifest.name) in \(folder.path): make the app again")
        }
        let manifest = try Manifest.parse(data)
        let text = try String(contentsOf: folder.appendingPathComponent(manifest.file("labels").path), encoding: .utf8)
        var labels = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if labels.last == "" {
            labels.removeLast()
        }
        guard labels.count == manifest.model.numClasses else {
            throw VoloEdgeError(
                "\(labels.count) labels for \(manifest.model.numClasses) classes: convert the model again"
            )
        }
        self.folder = folder
        self.manifest = manifest
        self.labels = labels
    }

    /// The .pte file or the .mlpackage folder.
    public func model() throws -> URL {
        url(try manifest.file("model").path)
    }

    /// A file of it, by its path within it.
    public func url(_ path: String) -> URL {
        folder.appendingPathComponent(path)
    }

    /// Little-endian float32, as the self-test's tensors and logits are kept.
    public func floats(_ path: String) throws -> [Float] {
        let data = try Data(contentsOf: url(path))
        return data.withUnsafeBytes { bytes in
            (0..<bytes.count / 4).map { index in
                let bits = bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
                return Float(bitPattern: UInt32(littleEndian: bits))
            }
        }
    }
}
