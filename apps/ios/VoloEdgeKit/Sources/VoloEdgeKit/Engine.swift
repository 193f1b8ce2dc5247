/// What computes the model: names of the results file's `engine`.
public struct EngineInfo: Equatable, Sendable {
    public let name: String
    public let version: String?
    public let compute: String
    public let threads: Int?

    public init(name: String, version: String?, compute: String, threads: Int?) {
        self.name = name
        self.version = version
        self.compute = compute
        self.threads = threads
    }
}

/// A model in memory.
public protocol Engine: Sendable {
    var info: EngineInfo { get }

    /// The logits of an input.
    func run(_ input: ModelInput) async throws -> [Float]
}

/// What a photograph shows, and the time that preparing it and the model took.
public struct Classification: Equatable, Sendable {
    public let guesses: [Guess]
    public let prepareMilliseconds: Double
    public let modelMilliseconds: Double
}

/// The likeliest classes of an upright image.
public func classify(_ image: Pixels, artifact: Artifact, engine: any Engine) async throws -> Classification {
    let start = ContinuousClock.now
    let input = ModelInput(image, artifact.manifest.preprocessing)
    let prepareMilliseconds = milliseconds(since: start)
    let prepared = ContinuousClock.now
    let logits = try await engine.run(input)
    let modelMilliseconds = milliseconds(since: prepared)
    let labels = artifact.labels
    guard logits.count == labels.count else {
        throw VoloEdgeError("the model gave \(logits.count) logits for \(labels.count) classes")
    }
    guard logits.allSatisfy(\.isFinite) else {
        throw VoloEdgeError("the model gave logits that are no numbers: run the self-test")
    }
    return Classification(
        guesses: likeliest(logits, labels: labels),
        prepareMilliseconds: prepareMilliseconds,
        modelMilliseconds: modelMilliseconds
    )
}

/// The time that has passed.
func milliseconds(since start: ContinuousClock.Instant) -> Double {
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    return Double(seconds) * 1e3 + Double(attoseconds) / 1e15
}
