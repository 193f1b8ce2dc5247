import SwiftUI
import VoloEdgeKit

/// What the screens show.
@MainActor @Observable
final class AppModel {
    let options = MeasureOptions()
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
    /// Looks through the camera, from the question whether it may until it is cancelled.
    private var looking: Task<Void, Never>?

    /// Whether the screen is to stay on: a phone that locks measures nothing.
    var awake: Bool { busy || camera != nil }

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

    /// - Parameter load: the photograph's file, which may have to come from iCloud first, or not come at all.
    func classify(_ load: @Sendable () async throws -> Data?) async {
        await stopCamera()
        await work { session in
            guard let data = try await load() else { throw VoloEdgeError("the photograph cannot be loaded") }
            let image = UIImage(data: data)
            self.photo = await image?.byPreparingThumbnail(ofSize: fitting(image?.size ?? .zero)) ?? image
            self.classification = nil
            let pixels = try await Task.detached { try decodePhoto(data) }.value
            self.classification = try await session.classify(pixels)
        }
    }

    /// Classifies what the camera sees until it is stopped.
    func startCamera() async {
        await stopCamera()
        looking = Task { await look() }
    }

    /// Ends with no camera running, also where it was still starting.
    func stopCamera() async {
        let ended = looking
        ended?.cancel()
        await ended?.value
        if looking == ended { looking = nil } // and not one that was started meanwhile
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
        let (warmup, runs) = (options.warmup, options.runs)
        await work { session in
            self.benchmark = try await session.runBenchmark(warmup: warmup, runs: runs) { done in
                await MainActor.run { self.runsDone = done }
            }
            self.resultsFile = try await self.write(session.results())
        }
        runsDone = nil
    }

    private func look() async {
        photo = nil
        classification = nil
        let camera = Camera()
        defer {
            camera.stop()
            self.camera = nil
            classification = nil
        }
        await work { _ in
            try await camera.start()
            self.camera = camera
        }
        while let session, self.camera != nil, let frame = await camera.frame() {
            do {
                classification = try await session.classify(frame)
            } catch {
                problem = error.localizedDescription
                return
            }
        }
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
