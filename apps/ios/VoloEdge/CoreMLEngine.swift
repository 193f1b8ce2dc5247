import CoreML
import CoreVideo
import Foundation
import VoloEdgeKit

/// A compiled Core ML package.
actor CoreMLEngine: Engine {
    nonisolated let info: EngineInfo
    private let model: MLModel

    /// - Parameter compiled: what `compiledModel` gives.
    init(compiled: URL, compute: String) throws {
        let configuration = MLModelConfiguration()
        switch compute {
        case "all": configuration.computeUnits = .all
        case "cpu_and_neural_engine": configuration.computeUnits = .cpuAndNeuralEngine
        case "cpu_and_gpu": configuration.computeUnits = .cpuAndGPU
        case "cpu_only": configuration.computeUnits = .cpuOnly
        default: throw VoloEdgeError("Core ML has no compute units called '\(compute)'")
        }
        model = try MLModel(contentsOf: compiled, configuration: configuration)
        info = EngineInfo(name: "Core ML", version: nil, compute: compute, threads: nil)
    }

    func run(_ input: ModelInput) throws -> [Float] {
        let image = MLFeatureValue(pixelBuffer: try pixelBuffer(of: input))
        let output = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: ["image": image]))
        guard let logits = output.featureValue(for: "logits")?.multiArrayValue else {
            throw VoloEdgeError("the model gave no logits: convert it again")
        }
        switch logits.dataType {
        case .float32, .float16, .double: return MLShapedArray<Float>(converting: logits).scalars
        default: throw VoloEdgeError("the model gave logits of type \(logits.dataType.rawValue): convert it again")
        }
    }
}

/// The package at `package` compiled for this device, once for each `hash`.
func compiledModel(of package: URL, hash: String) async throws -> URL {
    let caches = try FileManager.default.url(
        for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true
    )
    let system = ProcessInfo.processInfo.operatingSystemVersionString.filter { $0.isLetter || $0.isNumber }
    let kept = caches.appendingPathComponent("\(hash)-\(system).mlmodelc")
    if !FileManager.default.fileExists(atPath: kept.path) {
        let made = try await MLModel.compileModel(at: package)
        try FileManager.default.moveItem(at: made, to: kept)
    }
    return kept
}

/// An image of exactly the model's size, so that nothing scales it again.
private func pixelBuffer(of input: ModelInput) throws -> CVPixelBuffer {
    var made: CVPixelBuffer?
    let attributes = [kCVPixelBufferIOSurfacePropertiesKey: [:] as CFDictionary] as CFDictionary
    let (width, height) = (input.size.width, input.size.height)
    let status = CVPixelBufferCreate(nil, width, height, kCVPixelFormatType_32BGRA, attributes, &made)
    guard status == kCVReturnSuccess, let buffer = made else {
        throw VoloEdgeError("no memory for an image of \(width) x \(height) pixels (\(status))")
    }
    CVPixelBufferLockBaseAddress(buffer, [])
    defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
    guard let base = CVPixelBufferGetBaseAddress(buffer)?.assumingMemoryBound(to: UInt8.self) else {
        throw VoloEdgeError("an image of \(width) x \(height) pixels cannot be written")
    }
    let rowStride = CVPixelBufferGetBytesPerRow(buffer)
    for row in 0..<height {
        for column in 0..<width {
            let from = 3 * (row * width + column)
            let to = row * rowStride + 4 * column
            base[to] = input.pixels[from + 2]
            base[to + 1] = input.pixels[from + 1]
            base[to + 2] = input.pixels[from]
            base[to + 3] = 255
        }
    }
    return buffer
}
