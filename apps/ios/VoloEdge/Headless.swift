import UIKit
import VoloEdgeKit

/// Self-test and benchmark without a person, for `volo-edge benchmark --device ios`:
///
///     xcrun devicectl device process launch --console --device ID org.voloedge.app --headless [--runs N]
///         [--warmup N] [--compute NAME]
///
/// leaves `Documents/results.json` in the app's container and exits with 0, or says why not and exits with 1.
enum Headless {
    static let wanted = CommandLine.arguments.contains("--headless")

    @MainActor
    static func run() async {
        UIApplication.shared.isIdleTimerDisabled = true  // a phone that locks suspends the app
        do {
            let file = try FileManager.default
                .url(for: .documentDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
                .appendingPathComponent("results.json")
            try? FileManager.default.removeItem(at: file)  // an earlier one is not to be taken for this one
            let session = try PhonePlatform().session()
            let options = try MeasureOptions(CommandLine.arguments, computes: session.artifact.manifest.computes)
            if let compute = options.compute {
                await session.choose(compute: compute)
            }
            _ = try await session.runSelfTest()
            _ = try await session.runBenchmark(warmup: options.warmup, runs: options.runs)
            try await session.results().json().write(to: file, options: .atomic)
            print("volo-edge: wrote Documents/results.json")
            exit(0)
        } catch {
            print("volo-edge: \(error.localizedDescription)")
            exit(1)
        }
    }
}
