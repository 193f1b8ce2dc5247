import Foundation

/// In pixels; an array [height, width] in JSON.
public struct Size: Decodable, Equatable, Sendable {
    public let height: Int
    public let width: Int

    public init(height: Int, width: Int) {
        self.height = height
        self.width = width
    }

    public init(from decoder: any Decoder) throws {
        let sides = try decoder.singleValueContainer().decode([Int].self)
        guard sides.count == 2, sides[0] > 0, sides[1] > 0 else {
            throw VoloEdgeError("\(Manifest.name): \(sides) is no size in pixels: convert the model again")
        }
        self.init(height: sides[0], width: sides[1])
    }
}

/// The one of `values` that is named there; `VoloEdgeError` where none is called so.
func known<Value>(_ decoder: any Decoder, _ values: [String: Value]) throws -> Value {
    let name = try decoder.singleValueContainer().decode(String.self)
    guard let value = values[name] else {
        let key = decoder.codingPath.last?.stringValue ?? "value"
        throw VoloEdgeError("\(Manifest.name): this app does not know the \(key) '\(name)': update the app")
    }
    return value
}

/// How a photograph becomes the model's input: see `prepare`.
public struct Preprocessing: Decodable, Equatable, Sendable {
    /// Pillow's filters.
    public enum Interpolation: Sendable {
        case bicubic, bilinear
    }

    /// What the photograph is scaled to: a box to just cover, keeping its shape, or its very size.
    public let resizeTo: Size
    /// The centre crop; where it is larger than the resized photograph, zeros.
    public let crop: Size
    public let interpolation: Interpolation
    /// Whether the photograph is scaled to exactly `resizeTo`, whatever its shape is.
    public let squash: Bool
    /// Whether the photograph is made grey first, and the input has one channel and not three.
    public let grey: Bool

    /// Of the model's input.
    public var channels: Int { grey ? 1 : 3 }

    public init(
        resizeTo: Size, crop: Size, interpolation: Interpolation = .bicubic, squash: Bool = false, grey: Bool = false
    ) {
        self.resizeTo = resizeTo
        self.crop = crop
        self.interpolation = interpolation
        self.squash = squash
        self.grey = grey
    }

    private enum CodingKeys: String, CodingKey {
        case interpolation, antialias, layout, crop, color
        case cropMode = "crop_mode"
        case resizeTo = "resize_to"
        case inputRange = "input_range"
        case normalizationInModel = "normalization_in_model"
    }

    /// Refused where it says what `prepare` does not do.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let antialias = try values.decode(Bool.self, forKey: .antialias)
        let layout = try values.decode(String.self, forKey: .layout)
        let inputRange = try values.decode([Double].self, forKey: .inputRange)
        let normalizationInModel = try values.decode(Bool.self, forKey: .normalizationInModel)
        guard antialias, layout == "NCHW", inputRange == [0, 255], normalizationInModel else {
            throw VoloEdgeError("\(Manifest.name): its preprocessing is not one this app knows: update the app")
        }
        self.init(
            resizeTo: try values.decode(Size.self, forKey: .resizeTo),
            crop: try values.decode(Size.self, forKey: .crop),
            interpolation: try known(
                values.superDecoder(forKey: .interpolation), ["bicubic": .bicubic, "bilinear": .bilinear]
            ),
            squash: try known(values.superDecoder(forKey: .cropMode), ["center": false, "squash": true]),
            grey: try known(values.superDecoder(forKey: .color), ["RGB": false, "L": true])
        )
    }
}

/// What an app needs of `manifest.json`.
public struct Manifest: Decodable, Equatable, Sendable {
    public static let name = "manifest.json"
    public static let knownFormat = 3

    /// The float model.
    public struct Model: Decodable, Equatable, Sendable {
        public let name: String
        public let parameters: Int
        public let imageSize: Size
        public let numClasses: Int
        /// What makes probabilities of the logits.
        public let activation: Activation
        public let weights: String

        private enum CodingKeys: String, CodingKey {
            case name, parameters, activation, weights
            case imageSize = "image_size"
            case numClasses = "num_classes"
        }
    }

    /// How the numbers are stored and computed.
    public struct Quantization: Decodable, Equatable, Sendable {
        public let scheme: String
    }

    /// A file of the artifact; its path within it has forward slashes.
    public struct File: Decodable, Equatable, Sendable {
        public let path: String
        public let bytes: Int
        public let sha256: String
    }

    /// The saved file against the float model, as the host measured it on one processor; nil where it could not.
    public struct Parity: Decodable, Equatable, Sendable {
        public let images: Int
        public let runtime: String?
        public let processor: String?
        public let relativeError: Double?
        /// Share of the photographs that both put in the same class; nil where labels are independent.
        public let top1Agreement: Double?
        /// Of independent labels, share of the photographs of which both say the same ones.
        public let labelsAgreement: Double?
        public let tolerance: Double
        public let passed: Bool?

        private enum CodingKeys: String, CodingKey {
            case images, runtime, processor, tolerance, passed
            case relativeError = "relative_error"
            case top1Agreement = "top1_agreement"
            case labelsAgreement = "labels_agreement"
        }
    }

    /// Photographs with known answers.
    public struct SelfTest: Decodable, Equatable, Sendable {
        /// A photograph and what it must give; paths within the artifact.
        public struct Case: Decodable, Equatable, Sendable {
            public let photo: String
            public let tensor: String
            public let logits: String
            public let label: String
        }

        public let cases: [Case]
        public let logitsFrom: String
        /// The largest relative error of all logits together that passes.
        public let tolerance: Double

        private enum CodingKeys: String, CodingKey {
            case cases, tolerance
            case logitsFrom = "logits_from"
        }
    }

    public let model: Model
    /// "executorch", "coreml" or "coreai".
    public let target: String
    /// What computes it: "xnnpack", "coreml" or "coreai".
    public let backend: String
    /// The first iOS that runs it, where Core ML or Core AI computes it.
    public let minimumIOS: Int?
    public let quantization: Quantization
    public let preprocessing: Preprocessing
    /// By role: "model", "labels", "selftest/0/photo" and so on.
    public let files: [String: File]
    /// On the host, then on other processors where they ran it.
    public let parity: [Parity]
    public let selfTest: SelfTest
    /// Versions of what made the artifact.
    public let tools: [String: String]

    private enum CodingKeys: String, CodingKey {
        case model, target, backend, quantization, preprocessing, files, parity, tools
        case minimumIOS = "minimum_ios"
        case selfTest = "selftest"
    }

    /// The manifest in `data`; `VoloEdgeError` where it is damaged, or says what this app does not do.
    public static func parse(_ data: Data) throws -> Manifest {
        struct Format: Decodable {
            let version: Int

            enum CodingKeys: String, CodingKey {
                case version = "format_version"
            }
        }
        do {
            let format = try JSONDecoder().decode(Format.self, from: data)
            guard format.version == knownFormat else {
                let mend = format.version > knownFormat ? "update the app" : "convert the model again"
                throw VoloEdgeError("\(name) is of format \(format.version), this app reads \(knownFormat): \(mend)")
            }
            let manifest = try JSONDecoder().decode(Manifest.self, from: data)
            guard manifest.preprocessing.crop == manifest.model.imageSize else {
                throw VoloEdgeError("\(name): preprocessing.crop is not model.image_size: convert the model again")
            }
            guard manifest.model.numClasses > 1 || manifest.model.activation != .softmax else {
                throw VoloEdgeError("\(name): the softmax of one class is always 100 %: convert the model again")
            }
            return manifest
        } catch let error as DecodingError {
            throw VoloEdgeError("\(name) is damaged: \(place(of: error)); convert the model again")
        }
    }

    /// The file with this role.
    public func file(_ role: String) throws -> File {
        guard let file = files[role] else {
            throw VoloEdgeError("\(Manifest.name) names no file for '\(role)': convert the model again")
        }
        return file
    }

    private static func place(of error: DecodingError) -> String {
        let context: DecodingError.Context
        switch error {
        case .typeMismatch(_, let found), .valueNotFound(_, let found), .dataCorrupted(let found):
            context = found
        case .keyNotFound(let key, let found):
            return (found.codingPath + [key]).map(\.stringValue).joined(separator: ".") + " is missing"
        @unknown default:
            return "it cannot be read"
        }
        let path = context.codingPath.map(\.stringValue).joined(separator: ".")
        return path.isEmpty ? context.debugDescription : "\(path): \(context.debugDescription)"
    }
}
