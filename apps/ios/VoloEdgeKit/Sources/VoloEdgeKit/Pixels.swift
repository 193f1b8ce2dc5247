/// A view of 8-bit pixels in memory: red, green and blue of column `x` and row `y` are the bytes at
/// `start + y * rowStride + x * columnStride`, and `channelStride` and twice that further on.
///
/// Strides say all that differs between what platforms hand over: RGB, RGBA, BGRA (start 2, channelStride -1), grey
/// (channelStride 0), padded rows; and a photograph is turned without copying it.
public struct Pixels: Sendable {
    public let bytes: [UInt8]
    public let width: Int
    public let height: Int
    public let start: Int
    public let columnStride: Int
    public let rowStride: Int
    public let channelStride: Int

    /// `VoloEdgeError` where the view reaches beyond `bytes`. `rowStride` is that of rows without padding where nil.
    public init(
        bytes: [UInt8],
        width: Int,
        height: Int,
        start: Int = 0,
        columnStride: Int = 3,
        rowStride: Int? = nil,
        channelStride: Int = 1
    ) throws {
        let rowStride = rowStride ?? columnStride * width
        guard width > 0, height > 0 else {
            throw VoloEdgeError("an image of \(width) x \(height) pixels")
        }
        let reach = [(width - 1) * columnStride, (height - 1) * rowStride, 2 * channelStride]
        let lowest = reach.reduce(start) { $0 + min($1, 0) }
        let highest = reach.reduce(start) { $0 + max($1, 0) }
        guard lowest >= 0, highest < bytes.count else {
            throw VoloEdgeError("\(width) x \(height) pixels are not in \(bytes.count) bytes")
        }
        self.bytes = bytes
        self.width = width
        self.height = height
        self.start = start
        self.columnStride = columnStride
        self.rowStride = rowStride
        self.channelStride = channelStride
    }

    /// The image as a person sees it.
    ///
    /// - Parameter orientation: EXIF's, 1 to 8: how the stored rows and columns lie. Anything else is 1, as Pillow
    ///   has it.
    public func upright(_ orientation: Int) -> Pixels {
        let columnsBackwards = [2, 3, 7, 8].contains(orientation)
        let rowsBackwards = [3, 4, 6, 7].contains(orientation)
        let first =
            start + (columnsBackwards ? (width - 1) * columnStride : 0) + (rowsBackwards ? (height - 1) * rowStride : 0)
        let column = columnsBackwards ? -columnStride : columnStride
        let row = rowsBackwards ? -rowStride : rowStride
        return (5...8).contains(orientation)
            ? Pixels(of: self, width: height, height: width, start: first, columnStride: row, rowStride: column)
            : Pixels(of: self, width: width, height: height, start: first, columnStride: column, rowStride: row)
    }

    /// Levels of grey, row by row.
    init(grey levels: [UInt8], width: Int, height: Int) {
        bytes = levels
        self.width = width
        self.height = height
        start = 0
        columnStride = 1
        rowStride = width
        channelStride = 0
    }

    /// The same bytes, seen another way.
    private init(of other: Pixels, width: Int, height: Int, start: Int, columnStride: Int, rowStride: Int) {
        bytes = other.bytes
        channelStride = other.channelStride
        self.width = width
        self.height = height
        self.start = start
        self.columnStride = columnStride
        self.rowStride = rowStride
    }
}
