import Foundation

/// What the core asks of the platform.
public protocol Platform: Sendable {
    var app: AppInfo { get }
    var device: DeviceInfo { get }

    /// The artifact's file, ready to run on `compute`, one of the manifest's `computes`.
    func load(_ artifact: Artifact, compute: String) async throws -> any Engine

    /// The upright pixels of an image file.
    func decode(_ url: URL) throws -> Pixels

    func thermal() -> Thermal

    /// The most memory that the process has held so far, in bytes; nil where the platform does not tell.
    func peakMemoryBytes() -> Int?
}

extension Manifest {
    /// What can compute the file, in the words of the results file's `engine.compute`, the default first.
    public var computes: [String] {
        backend == "xnnpack" ? ["xnnpack"] : ["all", "cpu_and_neural_engine", "cpu_and_gpu", "cpu_only"]
    }

    /// Why iOS of this version cannot run the file, as a line; nil where it can.
    public func whyNot(onIOS version: Int) -> String? {
        guard let minimumIOS, version < minimumIOS else { return nil }
        return "the model needs iOS \(minimumIOS), and this is iOS \(version)"
    }
}

/// An artifact at work on this device: the engine in memory, and what was measured with it.
public actor Session {
    public nonisolated let artifact: Artifact
    private let platform: any Platform
    private var choice: Choice

    /// What one choice of `compute` led to. Who began under an earlier choice ends with that one: neither the engine
    /// that it waits for nor what it measures is the new one's.
    private final class Choice {
        let compute: String
        /// The engine, or its being loaded: whoever comes meanwhile waits for the same one.
        var engine: Task<any Engine, any Error>?
        var selfTest: SelfTestResult?
        var benchmark: BenchmarkResult?

        init(compute: String) {
            self.compute = compute
        }
    }

    public init(artifact: Artifact, platform: any Platform) {
        self.artifact = artifact
        self.platform = platform
        choice = Choice(compute: artifact.manifest.computes[0])
    }

    /// Another `compute` starts anew: what was measured was another engine's.
    public func choose(compute: String) {
        if compute != choice.compute {
            choice = Choice(compute: compute)
        }
    }

    public func classify(_ image: Pixels) async throws -> Classification {
        try await VoloEdgeKit.classify(image, artifact: artifact, engine: engine(of: choice))
    }

    public func runSelfTest() async throws -> SelfTestResult {
        let choice = self.choice
        let platform = self.platform
        let result = try await VoloEdgeKit.selfTest(artifact, engine: engine(of: choice)) { try platform.decode($0) }
        choice.selfTest = result
        return result
    }

    /// Loads the model anew, to time that too.
    public func runBenchmark(
        warmup: Int,
        runs: Int,
        progress: @Sendable (Int) async -> Void = { _ in }
    ) async throws -> BenchmarkResult {
        guard let known = artifact.manifest.selfTest.cases.first else {
            throw VoloEdgeError("the artifact has no photograph to run: convert the model again")
        }
        let image = try platform.decode(artifact.url(known.photo))
        let choice = self.choice
        choice.engine = nil
        let start = ContinuousClock.now
        let engine = try await self.engine(of: choice)
        let result = try await VoloEdgeKit.benchmark(
            engine: engine,
            loadMilliseconds: milliseconds(since: start),
            input: ModelInput(image, artifact.manifest.preprocessing),
            warmup: warmup,
            runs: runs,
            platform: platform,
            progress: progress
        )
        choice.benchmark = result
        return result
    }

    /// What was measured so far.
    public func results() async throws -> Results {
        let choice = self.choice
        return Results(
            app: platform.app,
            device: platform.device,
            manifest: artifact.manifest,
            engine: try await engine(of: choice).info,
            selfTest: choice.selfTest,
            benchmark: choice.benchmark
        )
    }

    /// Loaded where it is not. A load that failed is forgotten, so that the next call tries again.
    private func engine(of choice: Choice) async throws -> any Engine {
        let compute = choice.compute
        let engine = choice.engine ?? Task { [platform, artifact] in
            try await platform.load(artifact, compute: compute)
        }
        choice.engine = engine
        do {
            return try await engine.value
        } catch {
            if choice.engine == engine {
                choice.engine = nil
            }
            throw error
        }
    }
}
