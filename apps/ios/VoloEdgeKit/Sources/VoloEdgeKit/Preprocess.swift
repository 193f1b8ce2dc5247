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
    let vertical = Filter(side: image.height, resized: resized.height, part: rows)
    let horizontal = Filter(side: image.width, resized: resized.width, part: columns)

    let length = 3 * columns.count
    let narrow = narrowed(image, horizontal, rows: vertical.reach)
    var small = [Int32](repeating: 0, count: rows.count * length)
    vertical.apply(narrow, lanes: length, &small)
    var pixels = [UInt8](repeating: 0, count: crop.height * crop.width * 3)
    for row in 0..<rows.count {
        let place = ((rows.padding + row) * crop.width + columns.padding) * 3
        pixels.replaceSubrange(place..<place + length, with: bytes(small, from: row * length, count: length))
    }
    return pixels
}

/// `rows` of `image`, filtered over their columns: levels of row x column x RGB.
private func narrowed(_ image: Pixels, _ horizontal: Filter, rows: Range<Int>) -> [Int32] {
    let columns = horizontal.reach
    var row = [Int32](repeating: 0, count: 3 * columns.count)
    var narrow = [Int32](repeating: 0, count: 3 * horizontal.taps.count * rows.count)
    narrow.withUnsafeMutableBufferPointer { narrow in
        guard var place = narrow.baseAddress else { return }
        for number in rows {
            let start = image.start + number * image.rowStride + columns.lowerBound * image.columnStride
            widen(image.bytes, start, columns.count, image.columnStride, image.channelStride, &row)
            horizontal.apply(row, lanes: 3, place)
            place += 3 * horizontal.taps.count
        }
    }
    return narrow
}

// The loops over single numbers, which most of the time goes into. They are written to be bearable in a debug build
// too: there, an iterator, a subscript of an array and a conversion that is generic cost more than the arithmetic.

/// `count` pixels of RGB from `start` on, as numbers to calculate with.
private func widen(
    _ bytes: UnsafePointer<UInt8>, _ start: Int, _ count: Int, _ columnStride: Int, _ channelStride: Int,
    _ row: UnsafeMutablePointer<Int32>
) {
    var (from, to) = (bytes + start, row)
    let end = row + 3 * count
    while to < end {
        to[0] = Int32(truncatingIfNeeded: from[0])
        to[1] = Int32(truncatingIfNeeded: from[channelStride])
        to[2] = Int32(truncatingIfNeeded: from[2 * channelStride])
        to += 3
        from += columnStride
    }
}

/// Levels, which are within a byte, as bytes.
private func bytes(_ levels: [Int32], from: Int, count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { bytes, filled in
        levels.withUnsafeBufferPointer { levels in
            var place = 0
            while place < count {
                bytes[place] = UInt8(truncatingIfNeeded: levels[from + place])
                place += 1
            }
        }
        filled = count
    }
}

/// What the model takes: floats 3 x height x width in 0...255, of what `prepare` gives.
func toInput(_ pixels: [UInt8]) -> [Float] {
    let area = pixels.count / 3
    return [Float](unsafeUninitializedCapacity: 3 * area) { floats, filled in
        pixels.withUnsafeBufferPointer { pixels in
            var place = 0
            while place < area {
                floats[place] = Float(pixels[3 * place])
                floats[place + area] = Float(pixels[3 * place + 1])
                floats[place + 2 * area] = Float(pixels[3 * place + 2])
                place += 1
            }
        }
        filled = 3 * area
    }
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

/// What each pixel of a part of a resized side is made of.
private struct Filter {
    /// Pixels of the side from `first` on, as many as there are weights for them.
    struct Tap {
        let first: Int
        let weights: Range<Int>
    }

    let taps: [Tap]
    /// Of all taps, one after the other.
    let weights: [Int32]
    /// The pixels of the side that any tap takes.
    let reach: Range<Int>

    /// Of `part` of a side of `side` pixels resized to `resized`.
    init(side: Int, resized: Int, part: Part) {
        let scale = Double(side) / Double(resized)
        let widening = max(scale, 1)
        let reach = 2 * widening  // of the filter: two pixels of the coarser of the two images
        var taps: [Tap] = []
        var weights: [Int32] = []
        for index in 0..<part.count {
            let centre = (Double(part.start + index) + 0.5) * scale
            let first = max(Int(centre - reach + 0.5), 0)
            let end = min(Int(centre + reach + 0.5), side)
            let shares = (first..<end).map { cubic((Double($0) - centre + 0.5) * (1 / widening)) }
            let total = shares.reduce(0, +)
            taps.append(Tap(first: first, weights: weights.count..<weights.count + shares.count))
            weights += shares.map { fixed($0 / total) }
        }
        let first = taps.map(\.first).min() ?? 0
        let end = taps.map { $0.first + $0.weights.count }.max() ?? 0
        self.taps = taps
        self.weights = weights
        self.reach = first..<end
    }

    /// Levels of pixels of `lanes` numbers each, from those of `reach`.
    @inline(__always)
    func apply(_ levels: UnsafePointer<Int32>, lanes: Int, _ made: UnsafeMutablePointer<Int32>) {
        weights.withUnsafeBufferPointer { weights in
            var made = made
            for tap in taps {
                var from = levels + (tap.first - reach.lowerBound) * lanes
                var lane = 0
                while lane < lanes {
                    made[lane] = 1 &<< (precision &- 1)  // a half, to round
                    lane += 1
                }
                var place = tap.weights.lowerBound
                while place < tap.weights.upperBound {
                    let weight = weights[place]
                    lane = 0
                    while lane < lanes {
                        made[lane] = made[lane] &+ from[lane] &* weight
                        lane += 1
                    }
                    from += lanes
                    place += 1
                }
                lane = 0
                while lane < lanes {
                    made[lane] = Swift.min(Swift.max(made[lane] &>> precision, 0), 255)
                    lane += 1
                }
                made += lanes
            }
        }
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
