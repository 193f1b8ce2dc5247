/// How to measure: what a person gets, or what a command line says.
public struct MeasureOptions: Equatable, Sendable {
    /// Runs before those that are timed.
    public var warmup = 10
    public var runs = 100
    /// nil is the manifest's first.
    public var compute: String?

    public init() {}

    /// `--warmup N`, `--runs N` and `--compute NAME`, of those of the manifest's `computes`. Others are the system's.
    public init(_ arguments: [String], computes: [String]) throws {
        warmup = try number(of: "--warmup", in: arguments, least: 0) ?? warmup
        runs = try number(of: "--runs", in: arguments, least: 1) ?? runs
        compute = try value(of: "--compute", in: arguments)
        if let compute, !computes.contains(compute) {
            let known = computes.joined(separator: ", ")
            throw VoloEdgeError("the model is not computed by '\(compute)': --compute takes \(known)")
        }
    }
}

private func number(of option: String, in arguments: [String], least: Int) throws -> Int? {
    guard let text = try value(of: option, in: arguments) else { return nil }
    guard let number = Int(text), number >= least else {
        throw VoloEdgeError("\(option) takes a whole number from \(least) on, not '\(text)'")
    }
    return number
}

private func value(of option: String, in arguments: [String]) throws -> String? {
    guard let place = arguments.firstIndex(of: option) else { return nil }
    guard place + 1 < arguments.count else { throw VoloEdgeError("\(option) takes a value") }
    return arguments[place + 1]
}
