import Foundation

@testable import VoloEdgeKit

/// What the host computed: see apps/goldens.py.
struct Goldens {
    struct Photograph: Decodable {
        let height: Int
        let width: Int
        let layout: String
        let orientation: Int
        let preprocessing: Preprocessing
        let input: [Int]
        let expected: [Int]
    }

    struct Ranking: Decodable {
        struct Expected: Decodable {
            let index: Int
            let probability: Double
        }

        let logits: [Float]
        let activation: Activation
        let expected: [Expected]
    }

    struct Statistics: Decodable {
        struct Expected: Decodable {
            let min: Double
            let mean: Double
            let median: Double
            let p90: Double
            let p99: Double
        }

        let latencies: [Double]
        let expected: Expected
    }

    struct Known: Decodable {
        let height: Int
        let width: Int
        let input: [Int]
    }

    struct Index: Decodable {
        let photographs: [Photograph]
        let likeliest: [Ranking]
        let latencies: [Statistics]
        let artifact: [Known]
    }

    let folder: URL
    let index: Index
    private let blob: Data

    init() throws {
        folder = (Bundle.module.resourceURL ?? Bundle.module.bundleURL).appendingPathComponent("Goldens")
        index = try JSONDecoder().decode(
            Index.self, from: Data(contentsOf: folder.appendingPathComponent("goldens.json"))
        )
        blob = try Data(contentsOf: folder.appendingPathComponent("goldens.bin"))
    }

    var artifact: URL { folder.appendingPathComponent("artifact") }

    /// The bytes that an [offset, length] names.
    func bytes(_ place: [Int]) -> [UInt8] {
        [UInt8](blob[place[0]..<place[0] + place[1]])
    }

    /// The pixels of an image of its layout, as they lie in memory.
    func pixels(_ photograph: Photograph) throws -> Pixels {
        let input = bytes(photograph.input)
        let (width, height) = (photograph.width, photograph.height)
        switch photograph.layout {
        case "rgb":
            return try Pixels(bytes: input, width: width, height: height)
        case "rgba":
            return try Pixels(bytes: input, width: width, height: height, columnStride: 4)
        case "bgra":
            return try Pixels(bytes: input, width: width, height: height, start: 2, columnStride: 4, channelStride: -1)
        case "grey":
            return try Pixels(bytes: input, width: width, height: height, columnStride: 1, channelStride: 0)
        default:
            throw VoloEdgeError("no layout \(photograph.layout)")
        }
    }

    /// The pixels of the artifact's photographs, by their names: Foundation alone reads no PNG.
    func photos() throws -> [String: Pixels] {
        var photos: [String: Pixels] = [:]
        for (number, known) in index.artifact.enumerated() {
            photos["\(number).png"] = try Pixels(bytes: bytes(known.input), width: known.width, height: known.height)
        }
        return photos
    }
}
