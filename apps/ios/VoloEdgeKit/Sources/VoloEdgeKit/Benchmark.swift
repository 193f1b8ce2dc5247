/// Times of one run each, in milliseconds: a percentile between two of them is interpolated, as NumPy does it.
public struct Latency: Equatable, Sendable {
    public let min: Double
    public let mean: Double
    public let median: Double
    public let p90: Double
    public let p99: Double

    /// - Parameter latencies: at least one.
    public init(_ latencies: [Double]) {
        let sorted = latencies.sorted()
        min = sorted[0]
        mean = sorted.reduce(0, +) / Double(sorted.count)
        median = percentile(sorted, 0.5)
        p90 = percentile(sorted, 0.9)
        p99 = percentile(sorted, 0.99)
    }
}

private func percentile(_ sorted: [Double], _ share: Double) -> Double {
    let place = share * Double(sorted.count - 1)
    let below = Int(place)
    let above = below + 1 < sorted.count ? below + 1 : below
    return sorted[below] + (sorted[above] - sorted[below]) * (place - Double(below))
}

/// How warm the device is, in the words that both platforms' states are told in.
public enum Thermal: String, Sendable {
    case nominal, fair, serious, critical, unknown
}

/// What a benchmark measured.
public struct BenchmarkResult: Equatable, Sendable {
    public let warmup: Int
    /// From the file to a model ready to run.
    public let loadMilliseconds: Double
    /// Of each run, without the warm-up.
    public let latencies: [Double]
    public let thermalBefore: Thermal
    public let thermalAfter: Thermal
    /// Of the process; nil where the platform does not tell.
    public let peakMemoryBytes: Int?

    public var latency: Latency { Latency(latencies) }
}

/// Run a loaded model `warmup` times and then `runs` times.
///
/// - Parameter progress: called with how many of the runs are done, at most ten times in all: what it does is not to
///   slow down the others.
public func benchmark(
    engine: any Engine,
    loadMilliseconds: Double,
    input: ModelInput,
    warmup: Int,
    runs: Int,
    platform: any Platform,
    progress: @Sendable (Int) async -> Void = { _ in }
) async throws -> BenchmarkResult {
    guard warmup >= 0, runs > 0 else {
        throw VoloEdgeError("a benchmark of \(runs) runs after \(warmup)")
    }
    let before = platform.thermal()
    for _ in 0..<warmup {
        _ = try await engine.run(input)
    }
    var latencies: [Double] = []
    for run in 1...runs {
        latencies.append(try await engine.run(input).milliseconds)
        if 10 * run / runs > 10 * (run - 1) / runs {
            await progress(run)
        }
    }
    return BenchmarkResult(
        warmup: warmup,
        loadMilliseconds: loadMilliseconds,
        latencies: latencies,
        thermalBefore: before,
        thermalAfter: platform.thermal(),
        peakMemoryBytes: platform.peakMemoryBytes()
    )
}
