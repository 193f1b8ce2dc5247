import Foundation

/// How far a tensor may be from the host's, in levels of 255: what two correct roundings can differ by.
public let tensorTolerance = 1.0

/// What a known photograph gave.
public struct CaseResult: Equatable, Sendable {
    /// Its path within the artifact.
    public let name: String
    /// Of the device's tensor from the host's, in levels of 0...255.
    public let tensorMaxDifference: Double
    /// |device - host| / |host|, in the 2-norm.
    public let logitsRelativeError: Double
    /// The host's class.
    public let expected: Int
    /// The device's class.
    public let predicted: Int
    /// Whether both say the same class, or of independent labels the same ones.
    public let agrees: Bool
    public let passed: Bool
}

/// Whether the device computes what the host did.
public struct SelfTestResult: Equatable, Sendable {
    /// Every tensor is within `tensorTolerance` and `relativeError` within `tolerance`.
    public let passed: Bool
    public let tolerance: Double
    /// Of the logits of all cases together, which is what the manifest's tolerance is for.
    public let relativeError: Double
    public let cases: [CaseResult]
}

/// The artifact's known photographs from end to end: file, preprocessing, model.
///
/// - Parameter decode: the upright pixels of an image file, which only the platform can tell.
public func selfTest(
    _ artifact: Artifact,
    engine: any Engine,
    decode: @Sendable (URL) throws -> Pixels
) async throws -> SelfTestResult {
    let manifest = artifact.manifest
    var difference = 0.0
    var reference = 0.0
    var cases: [CaseResult] = []
    for known in manifest.selfTest.cases {
        let input = ModelInput(try decode(artifact.url(known.photo)), manifest.preprocessing)
        let tensor = try artifact.floats(known.tensor)
        guard tensor.count == input.floats.count else {
            throw VoloEdgeError("\(known.tensor) is not of the model's size")
        }
        let expected = try artifact.floats(known.logits)
        let logits = try await engine.run(input).logits
        guard logits.count == expected.count else {
            throw VoloEdgeError("the model gave \(logits.count) logits, the host \(expected.count)")
        }

        let caseDifference = zip(logits, expected).reduce(0.0) { $0 + square(Double($1.0) - Double($1.1)) }
        let caseReference = expected.reduce(0.0) { $0 + square(Double($1)) }
        difference += caseDifference
        reference += caseReference
        let tensorDifference = zip(input.floats, tensor).reduce(0.0) { max($0, Double(abs($1.0 - $1.1))) }
        let error = relativeError(caseDifference, caseReference)
        cases.append(
            CaseResult(
                name: known.photo,
                tensorMaxDifference: tensorDifference,
                logitsRelativeError: error,
                expected: largestIndex(expected),
                predicted: largestIndex(logits),
                agrees: manifest.model.activation.agree(logits, expected),
                passed: tensorDifference <= tensorTolerance && error <= manifest.selfTest.tolerance
            )
        )
    }
    let error = relativeError(difference, reference)
    let tensorsAgree = cases.allSatisfy { $0.tensorMaxDifference <= tensorTolerance }
    return SelfTestResult(
        passed: !cases.isEmpty && tensorsAgree && error <= manifest.selfTest.tolerance,
        tolerance: manifest.selfTest.tolerance,
        relativeError: error,
        cases: cases
    )
}

/// The largest double stands for what is not finite: JSON has no infinity.
private func relativeError(_ difference: Double, _ reference: Double) -> Double {
    let error = (difference / reference).squareRoot()
    return error.isFinite ? error : .greatestFiniteMagnitude
}

private func square(_ value: Double) -> Double { value * value }
