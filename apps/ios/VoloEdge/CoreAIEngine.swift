#if canImport(CoreAI)
import CoreAI
import Foundation
import VoloEdgeKit

/// A Core AI asset. Specializing it for the device takes a while the first time; the system keeps the result.
@available(iOS 27.0, *)
struct CoreAIEngine: Engine {
    let info: EngineInfo
    /// Apple lets several tasks call it at once.
    private let function: InferenceFunction
    private let shape: [Int]

    init(asset: URL, preprocessing: Preprocessing, compute: String) async throws {
        let options: SpecializationOptions
        switch compute {
        case "all": options = .default
        case "cpu_and_neural_engine": options = SpecializationOptions(preferredComputeUnitKind: .neuralEngine)
        case "cpu_and_gpu": options = SpecializationOptions(preferredComputeUnitKind: .gpu)
        case "cpu_only": options = .cpuOnly
        default: throw VoloEdgeError("Core AI has no compute units called '\(compute)'")
        }
        let model = try await AIModel(contentsOf: asset, options: options)
        guard let main = try model.loadFunction(named: "main") else {
            throw VoloEdgeError("the model has no function 'main': convert it again")
        }
        function = main
        shape = [1, preprocessing.channels, preprocessing.crop.height, preprocessing.crop.width]
        info = EngineInfo(name: "Core AI", version: nil, compute: compute, threads: nil)
    }

    func run(_ input: ModelInput) async throws -> Answer {
        let image = try array(of: input.floats)
        let start = ContinuousClock.now
        var outputs = try await function.run(inputs: ["image": image])
        let elapsed = milliseconds(since: start)
        guard let logits = outputs.remove("logits")?.ndArray, logits.scalarType == .float32 else {
            throw VoloEdgeError("the model gave no logits of single precision: convert it again")
        }
        let count = logits.shape.reduce(1, *)
        let floats = logits.view(as: Float.self).withUnsafePointer { pointer, _, _ in
            Array(UnsafeBufferPointer(start: pointer, count: count))  // what a function returns is contiguous
        }
        return Answer(logits: floats, milliseconds: elapsed)
    }

    /// `floats` as the function takes them. From a sequence, `NDArray` copies number by number.
    private func array(of floats: [Float]) throws -> NDArray {
        guard floats.count == shape.reduce(1, *) else {
            throw VoloEdgeError("an image of \(floats.count) numbers is not of the shape \(shape)")
        }
        var array = NDArray(shape: shape, scalarType: .float32)  // contiguous
        let view = array.mutableView(as: Float.self)
        view.withUnsafeMutablePointer { pointer, _, _ in
            floats.withUnsafeBufferPointer { pixels in
                if let from = pixels.baseAddress { pointer.update(from: from, count: pixels.count) }
            }
        }
        return array
    }
}
#endif
