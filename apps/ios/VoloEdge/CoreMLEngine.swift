import CoreML
import CoreVideo
import Foundation
import VoloEdgeKit

/// A compiled Core ML package.
actor CoreMLEngine: Engine {
    nonisolated let info: EngineInfo
    private let model: MLModel
    /// What every input is written into.
    private let image: CVPixelBuffer

    /// - Parameter compiled: what `compiledModel` gives.
    init(compiled: URL, preprocessing: Preprocessing, compute: String) throws {
        let configuration = MLModelConfiguration()
        switch compute {
        case "all": configuration.computeUnits = .all
        case "cpu_and_neural_engine": configuration.computeUnits = .cpuAndNeuralEngine
        case "cpu_and_gpu": configuration.computeUnits = .cpuAndGPU
        case "cpu_only": configuration.computeUnits = .cpuOnly
        default: throw VoloEdgeError("Core ML has no compute units called '\(compute)'")
        }
        model = try MLModel(contentsOf: compiled, configuration: configuration)
        image = try pixelBuffer(of: preprocessing)
        info = EngineInfo(name: "Core ML", version: nil, compute: compute, threads: nil)
    }

    func run(_ input: ModelInput) throws -> Answer {
        try write(input, into: image)
        let features = try MLDictionaryFeatureProvider(dictionary: ["image": MLFeatureValue(pixelBuffer: image)])
        let start = ContinuousClock.now
        let output = try model.prediction(from: features)
        let elapsed = milliseconds(since: start)
        guard let logits = output.featureValue(for: "logits")?.multiArrayValue else {
            throw VoloEdgeError("the model gave no logits: convert it again")
        }
        switch logits.dataType {
        case .float32, .float16, .double:
            return Answer(logits: MLShapedArray<Float>(converting: logits).scalars, milliseconds: elapsed)
        default: throw VoloEdgeError("the model gave logits of type \(logits.dataType.rawValue): convert it again")
        }
    }
}

/// The package at `package` compiled for this device, once for each `hash`. What was compiled of others is removed.
func compiledModel(of package: URL, hash: String) async throws -> URL {
    let files = FileManager.default
    let caches = try files.url(for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
    let system = ProcessInfo.processInfo.operatingSystemVersionString.filter { $0.isLetter || $0.isNumber }
    let kept = caches.appendingPathComponent("\(hash)-\(system).mlmodelc")
    if !files.fileExists(atPath: kept.path) {
        let made = try await MLModel.compileModel(at: package)
        do {
            try files.moveItem(at: made, to: kept)
        } catch where files.fileExists(atPath: kept.path) {
            try files.removeItem(at: made)  // another load compiled it meanwhile
        }
    }
    for old in try files.contentsOfDirectory(at: caches, includingPropertiesForKeys: nil)
    where old.pathExtension == "mlmodelc" && old.lastPathComponent != kept.lastPathComponent {
        try? files.removeItem(at: old)  // one that stays costs space and nothing else
    }
    return kept
}

/// An image of exactly the model's size and colours, so that nothing scales or converts it again.
private func pixelBuffer(of preprocessing: Preprocessing) throws -> CVPixelBuffer {
    let size = preprocessing.crop
    let format = preprocessing.grey ? kCVPixelFormatType_OneComponent8 : kCVPixelFormatType_32BGRA
    var made: CVPixelBuffer?
    let attributes = [kCVPixelBufferIOSurfacePropertiesKey: [:] as CFDictionary] as CFDictionary
    let status = CVPixelBufferCreate(nil, size.width, size.height, format, attributes, &made)
    guard status == kCVReturnSuccess, let made else {
        throw VoloEdgeError("no memory for an image of \(size.width) x \(size.height) pixels (\(status))")
    }
    return made
}

/// RGB into BGRA, or grey as it is. With pointers, as the loops of `prepare`, and for their reason.
private func write(_ input: ModelInput, into image: CVPixelBuffer) throws {
    CVPixelBufferLockBaseAddress(image, [])
    defer { CVPixelBufferUnlockBaseAddress(image, []) }
    guard let base = CVPixelBufferGetBaseAddress(image)?.assumingMemoryBound(to: UInt8.self) else {
        throw VoloEdgeError("the model's image cannot be written")
    }
    let rowStride = CVPixelBufferGetBytesPerRow(image)
    input.pixels.withUnsafeBufferPointer { pixels in
        guard var from = pixels.baseAddress else { return }
        for row in 0..<input.size.height {
            var to = base + row * rowStride
            if input.channels == 1 {
                to.update(from: from, count: input.size.width)
                from += input.size.width
                continue
            }
            let end = to + 4 * input.size.width
            while to < end {
                to[0] = from[2]
                to[1] = from[1]
                to[2] = from[0]
                to[3] = 255
                to += 4
                from += 3
            }
        }
    }
}
