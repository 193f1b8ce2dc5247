import Foundation

/// What went wrong, in one line that says what to do.
public struct VoloEdgeError: LocalizedError, Equatable, Sendable {
    public let message: String

    public init(_ message: String) {
        self.message = message
    }

    public var errorDescription: String? { message }
}
