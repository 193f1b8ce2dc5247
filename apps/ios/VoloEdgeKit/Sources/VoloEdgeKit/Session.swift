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
        backend == "coreml" ? ["all", "cpu_and_neural_engine", "cpu_and_gpu", "cpu_only"] : ["xnnpack"]
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
    private var engine: (any Engine)?
    private var compute: String
    private var selfTest: SelfTestResult?
    private var benchmark: BenchmarkResult?

    public init(artifact: Artifact, platform: any Platform) {
        self.artifact = artifact
        self.platform = platform
        compute = artifact.manifest.computes[0]
    }

    /// Another `compute` starts anew: what was measured was another engine's.
    public func choose(compute: String) {
        guard compute != self.compute else { return }
        self.compute = compute
        engine = nil
        selfTest = nil
        benchmark = nil
    }

    public func classify(_ image: Pixels) async throws -> Classification {
        try await VoloEdgeKit.classify(image, artifact: artifact, engine: loaded())
    }

    public func runSelfTest() async throws -> SelfTestResult {
        let platform = self.platform
        let result = try await VoloEdgeKit.selfTest(artifact, engine: loaded()) { try platform.decode($0) }
        selfTest = result
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
        engine = nil
        let start = ContinuousClock.now
        let loaded = try await self.loaded()
        let result = try await VoloEdgeKit.benchmark(
            engine: loaded,
            loadMilliseconds: milliseconds(since: start),
            input: ModelInput(image, artifact.manifest.preprocessing),
            warmup: warmup,
            runs: runs,
            platform: platform,
            progress: progress
        )
        benchmark = result
        return result
    }

    /// What was measured so far.
    public func results() async throws -> Results {
        Results(
            app: platform.app,
            device: platform.device,
            manifest: artifact.manifest,
            engine: try await loaded().info,
            selfTest: selfTest,
            benchmark: benchmark
        )
    }

    private func loaded() async throws -> any Engine {
        if let engine {
            return engine
        }
        let loaded = try await platform.load(artifact, compute: compute)
        engine = loaded
        return loaded
    }
}
