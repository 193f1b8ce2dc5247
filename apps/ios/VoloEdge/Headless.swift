import Foundation
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
        do {
            let file = try FileManager.default
                .url(for: .documentDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
                .appendingPathComponent("results.json")
            try? FileManager.default.removeItem(at: file)  // an earlier one is not to be taken for this one
            let session = try PhonePlatform().session()
            if let compute = value(of: "--compute") {
                guard session.artifact.manifest.computes.contains(compute) else {
                    throw VoloEdgeError("the model is not computed by '\(compute)'")
                }
                await session.choose(compute: compute)
            }
            _ = try await session.runSelfTest()
            _ = try await session.runBenchmark(
                warmup: number(of: "--warmup") ?? warmup, runs: number(of: "--runs") ?? runs
            )
            try await session.results().json().write(to: file, options: .atomic)
            print("volo-edge: wrote Documents/results.json")
            exit(0)
        } catch {
            print("volo-edge: \(error.localizedDescription)")
            exit(1)
        }
    }

    private static func number(of option: String) -> Int? {
        value(of: option).flatMap(Int.init)
    }

    private static func value(of option: String) -> String? {
        let arguments = CommandLine.arguments
        guard let place = arguments.firstIndex(of: option), place + 1 < arguments.count else { return nil }
        return arguments[place + 1]
    }
}
