#if canImport(ExecuTorch)
import ExecuTorch
import Foundation
import VoloEdgeKit

/// A .pte file in ExecuTorch, computed by XNNPACK or by Core ML.
actor ExecuTorchEngine: Engine {
    nonisolated let info: EngineInfo
    private let module: Module
    private let shape: [Int]

    init(model: URL, preprocessing: Preprocessing, compute: String) throws {
        module = Module(filePath: model.path, loadMode: .mmap)
        shape = [1, preprocessing.channels, preprocessing.crop.height, preprocessing.crop.width]
        info = EngineInfo(name: "ExecuTorch", version: "1.5.1", compute: compute, threads: nil)
        if compute == "xnnpack" {
            try module.load("forward")
        } else {
            let units = compute == "cpu_and_neural_engine" ? "cpu_and_ne" : compute
            let options = try BackendOptionsMap(options: ["CoreMLBackend": [BackendOption("compute_unit", units)]])
            try module.load(options: options)
            try module.load("forward", options: options)
        }
    }

    func run(_ input: ModelInput) throws -> Answer {
        let tensor = Tensor<Float>(input.floats, shape: shape)
        let start = ContinuousClock.now
        let outputs: [Value] = try module.forward(tensor)
        let elapsed = milliseconds(since: start)
        guard let logits = outputs.first?.anyTensor else {
            throw VoloEdgeError("the model gave no logits: convert it again")
        }
        // A typed tensor of another type traps; what it refers to is the module's memory until it is copied.
        let floats = Tensor<Float>(logits.dataType == .float ? logits : logits.copy(to: .float))
        return Answer(logits: floats.scalars(), milliseconds: elapsed)
    }
}
#endif
