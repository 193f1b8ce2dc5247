import Foundation
import XCTest

@testable import VoloEdgeKit

/// How far a benchmark said that it was.
private actor Told {
    private(set) var runs: [Int] = []

    func add(_ done: Int) {
        runs.append(done)
    }
}

private func onePixel() throws -> ModelInput {
    let size = Size(height: 1, width: 1)
    return ModelInput(
        try Pixels(bytes: [1, 2, 3], width: 1, height: 1), Preprocessing(resizeTo: size, crop: size)
    )
}

final class MeasureTests: XCTestCase {
    /// The golden artifact's self-test, with its answers times `factor`, and its photographs turned by `orientation`.
    private func selfTestResult(factor: Float = 1, orientation: Int = 1) async throws -> SelfTestResult {
        let goldens = try Goldens()
        let artifact = try Artifact(folder: goldens.artifact)
        let photos = try goldens.photos()
        let answers = try artifact.manifest.selfTest.cases.map { known in
            try artifact.floats(known.logits).map { $0 * factor }
        }
        return try await selfTest(artifact, engine: TestEngine(answers)) { url in
            guard let photo = photos[url.lastPathComponent] else { throw VoloEdgeError("no \(url.path)") }
            return photo.upright(orientation)
        }
    }

    func testTheLikeliestClassesAreTheHosts() throws {
        for ranking in try Goldens().index.likeliest {
            let labels = ranking.logits.indices.map { "class \($0)" }
            let guesses = likeliest(ranking.logits, labels: labels, activation: ranking.activation)
            XCTAssertEqual(guesses.map(\.index), ranking.expected.map(\.index))
            for (guess, known) in zip(guesses, ranking.expected) {
                XCTAssertEqual(guess.label, "class \(guess.index)")
                XCTAssertEqual(guess.probability, known.probability, accuracy: 1e-9)
            }
        }
    }

    func testIndependentLabelsAgreeWhereTheSameAreLikely() {
        let (host, device, other): ([Float], [Float], [Float]) = ([3, -1, 0.5], [0.1, -0.1, 2], [3, 1, 0.5])
        XCTAssertTrue(Activation.sigmoid.agree(device, host))
        XCTAssertFalse(Activation.softmax.agree(device, host))
        XCTAssertFalse(Activation.sigmoid.agree(other, host))
        XCTAssertTrue(Activation.softmax.agree(other, host))
    }

    func testLatenciesAreSummedUpAsByTheHost() throws {
        for statistics in try Goldens().index.latencies {
            let made = Latency(statistics.latencies)
            XCTAssertEqual(made.min, statistics.expected.min, accuracy: 1e-9)
            XCTAssertEqual(made.mean, statistics.expected.mean, accuracy: 1e-9)
            XCTAssertEqual(made.median, statistics.expected.median, accuracy: 1e-9)
            XCTAssertEqual(made.p90, statistics.expected.p90, accuracy: 1e-9)
            XCTAssertEqual(made.p99, statistics.expected.p99, accuracy: 1e-9)
        }
    }

    func testAnEngineThatAnswersAsTheHostPasses() async throws {
        let result = try await selfTestResult()
        XCTAssertTrue(result.passed)
        XCTAssertEqual(result.relativeError, 0)
        XCTAssertEqual(result.cases.map(\.tensorMaxDifference), [0, 0])
        XCTAssertTrue(result.cases.allSatisfy { $0.passed && $0.agrees && $0.expected == $0.predicted })
    }

    func testTheErrorIsRelativeToTheHostsLogits() async throws {
        let far = try await selfTestResult(factor: 1.25)
        XCTAssertEqual(far.relativeError, 0.25, accuracy: 1e-6)
        XCTAssertFalse(far.passed)
        let near = try await selfTestResult(factor: 1.0005)  // of 1e-3 allowed
        XCTAssertTrue(near.passed)
    }

    func testAnAnswerThatIsNoNumberFails() async throws {
        let result = try await selfTestResult(factor: .nan)
        XCTAssertFalse(result.passed)
        XCTAssertEqual(result.relativeError, .greatestFiniteMagnitude)
    }

    func testATensorMoreThanOneLevelOffFails() async throws {
        let result = try await selfTestResult(orientation: 3)
        XCTAssertFalse(result.passed)
        XCTAssertEqual(result.relativeError, 0)
        XCTAssertTrue(result.cases.allSatisfy { $0.tensorMaxDifference > 1 && !$0.passed })
    }

    func testAPhotographIsClassified() async throws {
        let goldens = try Goldens()
        let artifact = try Artifact(folder: goldens.artifact)
        let known = artifact.manifest.selfTest.cases[1]
        let photos = try goldens.photos()
        let photo = try XCTUnwrap(photos["1.png"])
        let engine = TestEngine([try artifact.floats(known.logits)])
        let made = try await classify(photo, artifact: artifact, engine: engine)
        XCTAssertEqual(made.guesses.first?.label, known.label)
        XCTAssertEqual(made.guesses.count, 5)
        XCTAssertEqual(made.activation, .softmax)
        XCTAssertEqual(made.modelMilliseconds, 1)
    }

    func testAGreyModelOfIndependentLabelsIsGivenOneChannelAndIsNotNormalized() async throws {
        let goldens = try Goldens()
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.copyItem(at: goldens.artifact, to: folder)
        defer { try? FileManager.default.removeItem(at: folder) }
        let manifest = folder.appendingPathComponent(Manifest.name)
        let text = try String(contentsOf: manifest, encoding: .utf8)
            .replacingOccurrences(of: "\"RGB\"", with: "\"L\"")
            .replacingOccurrences(of: "\"softmax\"", with: "\"sigmoid\"")
        try Data(text.utf8).write(to: manifest)

        let photos = try goldens.photos()
        let engine = TestEngine([[Float](repeating: 2, count: 7)])
        let made = try await classify(
            XCTUnwrap(photos["0.png"]), artifact: Artifact(folder: folder), engine: engine
        )
        let inputs = await engine.inputs
        XCTAssertEqual(inputs.map(\.channels), [1])
        XCTAssertEqual(inputs.map(\.floats.count), [24 * 20])
        XCTAssertEqual(made.activation, .sigmoid)
        for guess in made.guesses {
            XCTAssertEqual(guess.probability, 0.880797077978, accuracy: 1e-9)  // and 1/7 in a softmax
        }
    }

    func testABenchmarkTimesTheRunsAfterTheWarmUp() async throws {
        let engine = TestEngine([[1]])
        let result = try await benchmark(
            engine: engine,
            loadMilliseconds: 5,
            input: onePixel(),
            warmup: 3,
            runs: 4,
            platform: TestPlatform(answers: [], photos: [:])
        )
        let runs = await engine.runs
        XCTAssertEqual(runs, 7)
        XCTAssertEqual(result.latencies, [4, 5, 6, 7])
        XCTAssertEqual(result.thermalBefore, .fair)
        XCTAssertEqual(result.peakMemoryBytes, 12345)
    }

    func testProgressIsToldTenTimes() async throws {
        let told = Told()
        _ = try await benchmark(
            engine: TestEngine([[1]]),
            loadMilliseconds: 5,
            input: onePixel(),
            warmup: 0,
            runs: 100,
            platform: TestPlatform(answers: [], photos: [:])
        ) { await told.add($0) }
        let runs = await told.runs
        XCTAssertEqual(runs, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
    }

    func testACommandLineSaysHowToMeasure() throws {
        func options(_ arguments: String...) throws -> MeasureOptions {
            try MeasureOptions(["VoloEdge", "--headless"] + arguments, computes: ["all", "cpu_only"])
        }
        func refusal(_ arguments: String...) -> String? {
            do {
                _ = try MeasureOptions(arguments, computes: ["all", "cpu_only"])
                return nil
            } catch {
                return error.localizedDescription
            }
        }
        XCTAssertEqual(try options(), MeasureOptions())
        let made = try options("--runs", "7", "--warmup", "0", "--compute", "cpu_only", "-NSSomething", "YES")
        XCTAssertEqual([made.warmup, made.runs], [0, 7])
        XCTAssertEqual(made.compute, "cpu_only")
        XCTAssertEqual(refusal("--runs", "abc"), "--runs takes a whole number from 1 on, not 'abc'")
        XCTAssertEqual(refusal("--runs", "0"), "--runs takes a whole number from 1 on, not '0'")
        XCTAssertEqual(refusal("--warmup", "-1"), "--warmup takes a whole number from 0 on, not '-1'")
        XCTAssertEqual(refusal("--runs"), "--runs takes a value")
        XCTAssertEqual(
            refusal("--compute", "abacus"), "the model is not computed by 'abacus': --compute takes all, cpu_only"
        )
    }

    func testTheResultsFileHoldsEveryField() async throws {
        let selfTest = try await selfTestResult()
        let platform = TestPlatform(answers: [], photos: [:])
        let engine = TestEngine([[1]])
        let benchmark = BenchmarkResult(
            warmup: 2,
            loadMilliseconds: 5.5,
            latencies: [2, 1],
            thermalBefore: .nominal,
            thermalAfter: .unknown,
            peakMemoryBytes: nil
        )
        let results = Results(
            app: platform.app,
            device: platform.device,
            manifest: try Artifact(folder: Goldens().artifact).manifest,
            engine: engine.info,
            selfTest: selfTest,
            benchmark: benchmark,
            madeAt: Date(timeIntervalSince1970: 1_795_348_800)
        )
        let json = try JSONSerialization.jsonObject(with: results.json())
        let object = try XCTUnwrap(json as? [String: Any])
        let fields = ["app", "artifact", "benchmark", "device", "engine", "format_version", "made_at", "selftest"]
        XCTAssertEqual(object.keys.sorted(), fields)
        XCTAssertEqual(object["made_at"] as? String, "2026-11-22T12:00:00Z")
        let device = try XCTUnwrap(object["device"] as? [String: Any])
        XCTAssertTrue(device["chip"] is NSNull)
        let times = try XCTUnwrap(object["benchmark"] as? [String: Any])
        XCTAssertEqual(times["median_ms"] as? Double, 1.5)
        XCTAssertTrue(times["peak_memory_bytes"] is NSNull)
        XCTAssertEqual(times["thermal_before"] as? String, "nominal")
        if let path = ProcessInfo.processInfo.environment["VOLO_EDGE_RESULTS"] {  // for the host, which has the schema
            try results.json().write(to: URL(fileURLWithPath: path))
        }
    }
}
