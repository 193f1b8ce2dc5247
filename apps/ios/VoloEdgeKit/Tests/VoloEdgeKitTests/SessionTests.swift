import Foundation
import XCTest

@testable import VoloEdgeKit

final class SessionTests: XCTestCase {
    /// A session of the golden artifact, whose engine answers as the host did.
    private func made() throws -> (Session, TestPlatform) {
        let goldens = try Goldens()
        let artifact = try Artifact(folder: goldens.artifact)
        let answers = try artifact.manifest.selfTest.cases.map { try artifact.floats($0.logits) }
        let platform = TestPlatform(answers: answers, photos: try goldens.photos())
        return (Session(artifact: artifact, platform: platform), platform)
    }

    private func photo(_ platform: TestPlatform) throws -> Pixels {
        try XCTUnwrap(platform.photos["0.png"])
    }

    /// What `work` makes, whose load of the model is under way when other compute units are chosen.
    private func choosing<Made: Sendable>(
        _ compute: String, in session: Session, _ platform: TestPlatform,
        during work: @escaping @Sendable () async throws -> Made
    ) async throws -> Made {
        await platform.loads.close()
        let running = Task { try await work() }
        await platform.loads.begun()
        await session.choose(compute: compute)
        await platform.loads.open()
        return try await running.value
    }

    func testASessionLoadsOnceUntilItsComputeChanges() async throws {
        let (session, platform) = try made()
        let selfTest = try await session.runSelfTest()
        XCTAssertTrue(selfTest.passed)
        _ = try await session.classify(photo(platform))
        var loads = await platform.loads.computes
        XCTAssertEqual(loads, ["xnnpack"])

        _ = try await session.runBenchmark(warmup: 1, runs: 3)
        let results = try await session.results()
        XCTAssertEqual(results.selfTest, selfTest)
        XCTAssertEqual(results.benchmark?.latencies.count, 3)
        loads = await platform.loads.computes
        XCTAssertEqual(loads, ["xnnpack", "xnnpack"])

        await session.choose(compute: "other")
        let anew = try await session.results()
        XCTAssertNil(anew.selfTest)
        XCTAssertNil(anew.benchmark)
        loads = await platform.loads.computes
        XCTAssertEqual(loads.last, "other")
    }

    func testTwoAtOnceLoadOnce() async throws {
        let (session, platform) = try made()
        let image = try photo(platform)
        await platform.loads.close()
        async let one = session.classify(image)
        async let other = session.classify(image)
        await platform.loads.begun()
        try await Task.sleep(for: .milliseconds(50))  // for the second to come
        await platform.loads.open()
        _ = try await (one, other)
        let loads = await platform.loads.computes
        XCTAssertEqual(loads, ["xnnpack"])
    }

    func testAChoiceDuringALoadCounts() async throws {
        let (session, platform) = try made()
        let image = try photo(platform)
        _ = try await choosing("other", in: session, platform) { try await session.classify(image) }
        let results = try await session.results()
        XCTAssertEqual(results.engine.compute, "other")
    }

    func testWhatAnotherEngineMeasuredIsNotKept() async throws {
        let (session, platform) = try made()
        let selfTest = try await choosing("other", in: session, platform) { try await session.runSelfTest() }
        XCTAssertTrue(selfTest.passed)
        _ = try await choosing("xnnpack", in: session, platform) { try await session.runBenchmark(warmup: 0, runs: 1) }

        let results = try await session.results()
        XCTAssertEqual(results.engine.compute, "xnnpack")
        XCTAssertNil(results.selfTest)
        XCTAssertNil(results.benchmark)
    }

    func testALoadThatFailedIsTriedAgain() async throws {
        let (session, platform) = try made()
        await platform.loads.failOnce()
        do {
            _ = try await session.runSelfTest()
            XCTFail("it was not loaded")
        } catch let error as VoloEdgeError {
            XCTAssertEqual(error.message, "it cannot be loaded")
        }
        let selfTest = try await session.runSelfTest()
        XCTAssertTrue(selfTest.passed)
    }
}
