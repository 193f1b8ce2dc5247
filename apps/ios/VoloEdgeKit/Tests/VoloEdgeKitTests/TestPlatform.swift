import Foundation

@testable import VoloEdgeKit

/// Gives `answers` in turn, over and over: the first in a millisecond, the second in two, and so on.
actor TestEngine: Engine {
    nonisolated let info: EngineInfo
    private let answers: [[Float]]
    private(set) var inputs: [ModelInput] = []
    var runs: Int { inputs.count }

    init(_ answers: [[Float]], compute: String = "cpu_only") {
        info = EngineInfo(name: "Core ML", version: nil, compute: compute, threads: nil)
        self.answers = answers
    }

    func run(_ input: ModelInput) async throws -> Answer {
        inputs.append(input)
        return Answer(logits: answers[(runs - 1) % answers.count], milliseconds: Double(runs))
    }
}

/// Loads of a model: which, in order, and a gate that holds them until it is opened.
actor Loads {
    private(set) var computes: [String] = []
    private var closed = false
    private var failing = false
    private var held: [CheckedContinuation<Void, Never>] = []
    private var awaiting: [CheckedContinuation<Void, Never>] = []

    func close() {
        closed = true
    }

    func open() {
        closed = false
        held.forEach { $0.resume() }
        held = []
    }

    /// The next load fails.
    func failOnce() {
        failing = true
    }

    /// Waits until a load is held.
    func begun() async {
        if held.isEmpty {
            await withCheckedContinuation { awaiting.append($0) }
        }
    }

    func load(_ compute: String) async throws {
        computes.append(compute)
        if closed {
            await withCheckedContinuation { continuation in
                held.append(continuation)
                awaiting.forEach { $0.resume() }
                awaiting = []
            }
        }
        if failing {
            failing = false
            throw VoloEdgeError("it cannot be loaded")
        }
    }
}

/// A platform whose engine gives `answers`, and whose photographs are the golden ones.
struct TestPlatform: Platform {
    let app = AppInfo(name: "VoloEdge", version: "0.1.0")
    let device = DeviceInfo(manufacturer: "Apple", model: "iPhone17,1", os: "iOS", osVersion: "19.0", chip: nil)
    let answers: [[Float]]
    let photos: [String: Pixels]
    let loads = Loads()

    func load(_ artifact: Artifact, compute: String) async throws -> any Engine {
        try await loads.load(compute)
        return TestEngine(answers, compute: compute)
    }

    func decode(_ url: URL) throws -> Pixels {
        guard let photo = photos[url.lastPathComponent] else { throw VoloEdgeError("no \(url.path)") }
        return photo
    }

    func thermal() -> Thermal { .fair }
    func peakMemoryBytes() -> Int? { 12345 }
}
