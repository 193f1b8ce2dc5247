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

/// What the model gave.
public struct Answer: Equatable, Sendable {
    public let logits: [Float]
    /// That the model alone took: not what brings the input into the runtime's form, nor the logits out of it.
    public let milliseconds: Double

    public init(logits: [Float], milliseconds: Double) {
        self.logits = logits
        self.milliseconds = milliseconds
    }
}

/// A model in memory.
public protocol Engine: Sendable {
    var info: EngineInfo { get }

    func run(_ input: ModelInput) async throws -> Answer
}

/// What a photograph shows, and how long that took.
public struct Classification: Equatable, Sendable {
    public let guesses: [Guess]
    /// What the guesses' probabilities are.
    public let activation: Activation
    /// All but the model: resizing, and bringing the input into the runtime's form.
    public let prepareMilliseconds: Double
    public let modelMilliseconds: Double
}

/// The likeliest classes of an upright image.
public func classify(_ image: Pixels, artifact: Artifact, engine: any Engine) async throws -> Classification {
    let start = ContinuousClock.now
    let input = ModelInput(image, artifact.manifest.preprocessing)
    let answer = try await engine.run(input)
    let elapsed = milliseconds(since: start)
    let (labels, activation) = (artifact.labels, artifact.manifest.model.activation)
    guard answer.logits.count == labels.count else {
        throw VoloEdgeError("the model gave \(answer.logits.count) logits for \(labels.count) classes")
    }
    guard answer.logits.allSatisfy(\.isFinite) else {
        throw VoloEdgeError("the model gave logits that are no numbers: run the self-test")
    }
    return Classification(
        guesses: likeliest(answer.logits, labels: labels, activation: activation),
        activation: activation,
        prepareMilliseconds: elapsed - answer.milliseconds,
        modelMilliseconds: answer.milliseconds
    )
}

/// The time that has passed.
public func milliseconds(since start: ContinuousClock.Instant) -> Double {
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    return Double(seconds) * 1e3 + Double(attoseconds) / 1e15
}
