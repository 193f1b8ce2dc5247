// Photo -> tensor, as volo_edge/preprocess.py does it on the host, to the last bit.
//
// The platform's scalers do not agree with Pillow's, which VOLO's accuracies were measured with, so its filter is
// computed here: a cubic with a = -0.5, widened by the reduction, over columns and then over rows, in fixed point, with
// bytes between the two.

/// What the model takes, in both of the forms that engines want it in.
public struct ModelInput: Sendable {
    public let size: Size
    /// Bytes of height x width x RGB.
    public let pixels: [UInt8]
    /// Levels of 0...255, of 3 x height x width.
    public let floats: [Float]

    /// An image, resized and cropped.
    public init(_ image: Pixels, _ preprocessing: Preprocessing) {
        size = preprocessing.crop
        pixels = prepare(image, preprocessing)
        floats = toInput(pixels)
    }
}

/// An image, resized and cropped: bytes of height x width x RGB, height and width being `preprocessing.crop`.
func prepare(_ image: Pixels, _ preprocessing: Preprocessing) -> [UInt8] {
    let resized = covering(Size(height: image.height, width: image.width), preprocessing.resizeTo)
    let crop = preprocessing.crop
    let rows = centred(resized.height, crop.height)
    let columns = centred(resized.width, crop.width)
    let vertical = taps(side: image.height, resized: resized.height, part: rows)
    let horizontal = taps(side: image.width, resized: resized.width, part: columns)

    let firstRow = vertical.reduce(image.height) { min($0, $1.first) }
    let endRow = vertical.reduce(0) { max($0, $1.end) }
    let narrow = narrowed(image, horizontal, rows: firstRow..<endRow)
    let length = horizontal.count * 3
    var pixels = [UInt8](repeating: 0, count: crop.height * crop.width * 3)
    narrow.withUnsafeBufferPointer { bytes in
        for (index, tap) in vertical.enumerated() {
            let from = (tap.first - firstRow) * length
            let to = ((rows.padding + index) * crop.width + columns.padding) * 3
            for offset in 0..<length {
                pixels[to + offset] = tap.sum(bytes, from: from + offset, stride: length)
            }
        }
    }
    return pixels
}

/// What the model takes: floats 3 x height x width in 0...255, of what `prepare` gives.
func toInput(_ pixels: [UInt8]) -> [Float] {
    var floats: [Float] = []
    floats.reserveCapacity(pixels.count)
    for channel in 0..<3 {
        for place in stride(from: channel, to: pixels.count, by: 3) {
            floats.append(Float(pixels[place]))
        }
    }
    return floats
}

/// `rows` of `image`, filtered over their columns: bytes of row x `horizontal` x RGB.
private func narrowed(_ image: Pixels, _ horizontal: [Taps], rows: Range<Int>) -> [UInt8] {
    var narrow: [UInt8] = []
    narrow.reserveCapacity(rows.count * horizontal.count * 3)
    image.bytes.withUnsafeBufferPointer { bytes in
        for row in rows {
            let from = image.start + row * image.rowStride
            for tap in horizontal {
                let left = from + tap.first * image.columnStride
                for channel in 0..<3 {
                    let place = left + channel * image.channelStride
                    narrow.append(tap.sum(bytes, from: place, stride: image.columnStride))
                }
            }
        }
    }
    return narrow
}

/// The size to resize `size` to so that it covers `box`: one side exactly, the other rounded down.
private func covering(_ size: Size, _ box: Size) -> Size {
    if box.height * size.width >= box.width * size.height {
        return Size(height: box.height, width: size.width * box.height / size.height)
    }
    return Size(height: size.height * box.width / size.width, width: box.width)
}

/// Of a resized side, the `count` pixels from `start` on, which come after `padding` zeros in the crop.
private struct Part {
    let start: Int
    let count: Int
    let padding: Int
}

/// The part of `side` to take, rounded as torchvision's centre crop does: halves to even, but down where it pads.
private func centred(_ side: Int, _ crop: Int) -> Part {
    if side < crop {
        return Part(start: 0, count: side, padding: (crop - side) / 2)
    }
    let spare = side - crop
    return Part(start: spare / 2 + (spare % 4 == 3 ? 1 : 0), count: crop, padding: 0)
}

/// Bits after the point of a weight: a byte times the weights' sum stays within 32.
private let precision: Int32 = 22

/// What one pixel of a resized side is made of: pixels of the side from `first` on, and their weights.
private struct Taps {
    let first: Int
    let weights: [Int32]

    var end: Int { first + weights.count }

    /// The weighted sum, as a byte, of the bytes from `from` on that lie `stride` apart.
    @inline(__always)
    func sum(_ bytes: UnsafeBufferPointer<UInt8>, from: Int, stride: Int) -> UInt8 {
        var sum: Int32 = 1 << (precision - 1)  // a half, to round
        var place = from
        for weight in weights {
            sum &+= Int32(bytes[place]) &* weight
            place += stride
        }
        return UInt8(clamping: sum >> precision)
    }
}

/// The taps of `part` of a side of `side` pixels resized to `resized`.
private func taps(side: Int, resized: Int, part: Part) -> [Taps] {
    let scale = Double(side) / Double(resized)
    let widening = max(scale, 1)
    let reach = 2 * widening  // of the filter: two pixels of the coarser of the two images
    return (0..<part.count).map { index in
        let centre = (Double(part.start + index) + 0.5) * scale
        let first = max(Int(centre - reach + 0.5), 0)
        let end = min(Int(centre + reach + 0.5), side)
        let weights = (first..<end).map { cubic((Double($0) - centre + 0.5) * (1 / widening)) }
        let total = weights.reduce(0, +)
        return Taps(first: first, weights: weights.map { fixed($0 / total) })
    }
}

/// The cubic convolution kernel of Keys, with a = -0.5.
private func cubic(_ distance: Double) -> Double {
    let x = abs(distance)
    if x < 1 {
        return (1.5 * x - 2.5) * x * x + 1
    }
    if x < 2 {
        return (((x - 5) * x + 8) * x - 4) * -0.5
    }
    return 0
}

/// `weight` in fixed point, rounded half away from zero.
private func fixed(_ weight: Double) -> Int32 {
    let half = weight < 0 ? -0.5 : 0.5
    return Int32(weight * 4_194_304 + half)  // 2 to the `precision`
}
