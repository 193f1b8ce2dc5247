import Foundation

/// A class, or a label on its own, and its probability, 0...1.
public struct Guess: Equatable, Identifiable, Sendable {
    public let index: Int
    public let label: String
    public let probability: Double

    public var id: Int { index }
}

/// What makes probabilities of logits: of classes that exclude each other, or of each label on its own.
public enum Activation: Decodable, Sendable {
    case softmax, sigmoid

    /// Refused where it is one that this app does not know.
    public init(from decoder: any Decoder) throws {
        self = try known(decoder, ["softmax": .softmax, "sigmoid": .sigmoid])
    }

    /// Whether two logits a class say the same: the same class, or the same labels, each from one half on.
    func agree(_ logits: [Float], _ others: [Float]) -> Bool {
        switch self {
        case .softmax: return largestIndex(logits) == largestIndex(others)
        case .sigmoid: return zip(logits, others).allSatisfy { ($0 >= 0) == ($1 >= 0) }
        }
    }
}

/// The `count` likeliest classes, the likeliest first; of equally likely ones the first in the list.
///
/// By their logits: large ones differ where their sigmoids are both 1.
public func likeliest(_ logits: [Float], labels: [String], activation: Activation, count: Int = 5) -> [Guess] {
    let probabilities = activation == .softmax ? softmax(logits) : sigmoid(logits)
    let order = logits.indices.sorted { one, other in
        logits[one] != logits[other] ? logits[one] > logits[other] : one < other
    }
    return order.prefix(count).map { Guess(index: $0, label: labels[$0], probability: probabilities[$0]) }
}

/// Probabilities of finite logits.
func softmax(_ logits: [Float]) -> [Double] {
    let largest = Double(logits.max() ?? 0)
    let exponents = logits.map { exp(Double($0) - largest) }
    let total = exponents.reduce(0, +)
    return exponents.map { $0 / total }
}

/// Probabilities of finite logits, each on its own.
func sigmoid(_ logits: [Float]) -> [Double] {
    logits.map { 1 / (1 + exp(-Double($0))) }
}

/// The index of the largest logit, the first of equal ones.
func largestIndex(_ logits: [Float]) -> Int {
    var best = 0
    for index in logits.indices where logits[index] > logits[best] {
        best = index
    }
    return best
}
