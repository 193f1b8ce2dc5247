import Foundation

/// The app that measured.
public struct AppInfo: Equatable, Sendable {
    public let name: String
    public let version: String

    public init(name: String, version: String) {
        self.name = name
        self.version = version
    }
}

/// The device it ran on; `chip` is nil where the platform does not tell.
public struct DeviceInfo: Equatable, Sendable {
    public let manufacturer: String
    public let model: String
    public let os: String
    public let osVersion: String
    public let chip: String?

    public init(manufacturer: String, model: String, os: String, osVersion: String, chip: String?) {
        self.manufacturer = manufacturer
        self.model = model
        self.os = os
        self.osVersion = osVersion
        self.chip = chip
    }
}

/// All that one device measured of one artifact: the results file, which `volo-edge benchmark` reads.
public struct Results: Sendable {
    public let app: AppInfo
    public let device: DeviceInfo
    public let manifest: Manifest
    public let engine: EngineInfo
    public let selfTest: SelfTestResult?
    public let benchmark: BenchmarkResult?
    public let madeAt: Date

    public init(
        app: AppInfo,
        device: DeviceInfo,
        manifest: Manifest,
        engine: EngineInfo,
        selfTest: SelfTestResult?,
        benchmark: BenchmarkResult?,
        madeAt: Date = Date()
    ) {
        self.app = app
        self.device = device
        self.manifest = manifest
        self.engine = engine
        self.selfTest = selfTest
        self.benchmark = benchmark
        self.madeAt = madeAt
    }

    /// The results file.
    public func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(
            JSON.object([
                "format_version": .integer(1),
                "made_at": .string(ISO8601DateFormatter().string(from: madeAt)),
                "app": appJSON(app),
                "device": deviceJSON(device),
                "artifact": try artifactJSON(manifest),
                "engine": engineJSON(engine),
                "selftest": orNull(selfTest, selfTestJSON),
                "benchmark": orNull(benchmark, benchmarkJSON),
            ])
        )
    }
}

private func appJSON(_ app: AppInfo) -> JSON {
    .object(["name": .string(app.name), "version": .string(app.version), "platform": .string("ios")])
}

private func deviceJSON(_ device: DeviceInfo) -> JSON {
    .object([
        "manufacturer": .string(device.manufacturer),
        "model": .string(device.model),
        "os": .string(device.os),
        "os_version": .string(device.osVersion),
        "chip": orNull(device.chip, JSON.string),
    ])
}

private func artifactJSON(_ manifest: Manifest) throws -> JSON {
    .object([
        "model": .string(manifest.model.name),
        "target": .string(manifest.target),
        "backend": .string(manifest.backend),
        "scheme": .string(manifest.quantization.scheme),
        "model_sha256": .string(try manifest.file("model").sha256),
    ])
}

private func engineJSON(_ engine: EngineInfo) -> JSON {
    .object([
        "name": .string(engine.name),
        "version": orNull(engine.version, JSON.string),
        "compute": .string(engine.compute),
        "threads": orNull(engine.threads, JSON.integer),
    ])
}

private func selfTestJSON(_ result: SelfTestResult) -> JSON {
    let cases = result.cases.map { known -> JSON in
        .object([
            "name": .string(known.name),
            "tensor_max_difference": .number(known.tensorMaxDifference),
            "logits_relative_error": .number(known.logitsRelativeError),
            "expected": .integer(known.expected),
            "predicted": .integer(known.predicted),
            "passed": .bool(known.passed),
        ])
    }
    return .object([
        "passed": .bool(result.passed), "tolerance": .number(result.tolerance), "cases": .array(cases),
    ])
}

private func benchmarkJSON(_ result: BenchmarkResult) -> JSON {
    let latency = result.latency
    return .object([
        "warmup": .integer(result.warmup),
        "runs": .integer(result.latencies.count),
        "load_ms": .number(result.loadMilliseconds),
        "min_ms": .number(latency.min),
        "mean_ms": .number(latency.mean),
        "median_ms": .number(latency.median),
        "p90_ms": .number(latency.p90),
        "p99_ms": .number(latency.p99),
        "latencies_ms": .array(result.latencies.map(JSON.number)),
        "thermal_before": .string(result.thermalBefore.rawValue),
        "thermal_after": .string(result.thermalAfter.rawValue),
        "peak_memory_bytes": orNull(result.peakMemoryBytes, JSON.integer),
    ])
}

private func orNull<Value>(_ value: Value?, _ json: (Value) -> JSON) -> JSON {
    guard let value else { return .null }
    return json(value)
}

/// A JSON value: a synthesized `Encodable` would leave out what is nil, and the file says null.
private enum JSON: Encodable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([String: JSON])

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let values): try container.encode(values)
        case .object(let members): try container.encode(members)
        }
    }
}
