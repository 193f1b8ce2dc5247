import SwiftUI
import VoloEdgeKit

/// Runs of a benchmark, and before it.
let warmup = 10
let runs = 100

/// What the screens show.
@MainActor @Observable
final class AppModel {
    private(set) var manifest: Manifest?
    private(set) var photo: UIImage?
    private(set) var classification: Classification?
    private(set) var selfTest: SelfTestResult?
    private(set) var benchmark: BenchmarkResult?
    private(set) var resultsFile: URL?
    /// Runs done of the benchmark that is going on.
    private(set) var runsDone: Int?
    private(set) var camera: Camera?
    private(set) var busy = false
    private(set) var problem: String?
    private(set) var compute = ""
    private var session: Session?

    init() {
        do {
            let session = try PhonePlatform().session()
            self.session = session
            manifest = session.artifact.manifest
            compute = session.artifact.manifest.computes[0]
        } catch {
            problem = error.localizedDescription
        }
    }

    func classify(_ data: Data) async {
        stopCamera()
        await work { session in
            let image = UIImage(data: data)
            self.photo = await image?.byPreparingThumbnail(ofSize: fitting(image?.size ?? .zero)) ?? image
            self.classification = nil
            let pixels = try await Task.detached { try decodePhoto(data) }.value
            self.classification = try await session.classify(pixels)
        }
    }

    /// Classifies what the camera sees until it is stopped.
    func runCamera() async {
        let camera = Camera()
        photo = nil
        classification = nil
        await work { session in
            try await camera.start()
            self.camera = camera
        }
        guard self.camera === camera, let session else { return }
        for await frame in camera.frames {
            do {
                let seen = try await session.classify(frame)
                guard self.camera === camera else { return }
                classification = seen
            } catch {
                problem = error.localizedDescription
                stopCamera()
            }
        }
    }

    func stopCamera() {
        guard let camera else { return }
        camera.stop()
        self.camera = nil
        classification = nil
    }

    func choose(_ compute: String) async {
        self.compute = compute
        selfTest = nil
        benchmark = nil
        resultsFile = nil
        await work { await $0.choose(compute: compute) }
    }

    func runSelfTest() async {
        selfTest = nil
        await work { session in
            self.selfTest = try await session.runSelfTest()
            self.resultsFile = try await self.write(session.results())
        }
    }

    func runBenchmark() async {
        benchmark = nil
        runsDone = 0
        await work { session in
            self.benchmark = try await session.runBenchmark(warmup: warmup, runs: runs) { done in
                await MainActor.run { self.runsDone = done }
            }
            self.resultsFile = try await self.write(session.results())
        }
        runsDone = nil
    }

    private func write(_ results: Results) throws -> URL {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("results.json")
        try results.json().write(to: file, options: .atomic)
        return file
    }

    /// What goes wrong is shown.
    private func work(_ task: @MainActor (Session) async throws -> Void) async {
        guard let session else { return }
        busy = true
        problem = nil
        do {
            try await task(session)
        } catch {
            problem = error.localizedDescription
        }
        busy = false
    }
}

/// `size` within what a screen needs.
private func fitting(_ size: CGSize) -> CGSize {
    let scale = min(1, 1024 / max(size.width, size.height, 1))
    return CGSize(width: max(1, size.width * scale), height: max(1, size.height * scale))
}
