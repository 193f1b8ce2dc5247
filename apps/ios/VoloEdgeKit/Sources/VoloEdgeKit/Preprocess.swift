// Photo -> tensor, as volo_edge/preprocess.py does it on the host, to the last bit.
//
// The platform's scalers do not agree with Pillow's, which VOLO's accuracies were measured with, so its filter is
// computed here: a cubic with a = -0.5 or a triangle, widened by the reduction, over columns and then over rows, in
// fixed point, with bytes between the two.

/// What the model takes, in both of the forms that engines want it in.
public struct ModelInput: Sendable {
    public let size: Size
    /// 3 of RGB, 1 of grey.
    public let channels: Int
    /// Bytes of height x width x channels.
    public let pixels: [UInt8]
    /// Levels of 0...255, of channels x height x width.
    public let floats: [Float]

    /// An image, resized and cropped.
    public init(_ image: Pixels, _ preprocessing: Preprocessing) {
        size = preprocessing.crop
        channels = preprocessing.channels
        pixels = prepare(image, preprocessing)
        floats = toInput(pixels, channels: channels)
    }
}

/// An image, resized and cropped: bytes of height x width x channels, height and width being `preprocessing.crop`.
func prepare(_ photo: Pixels, _ preprocessing: Preprocessing) -> [UInt8] {
    let image = preprocessing.grey ? grey(photo) : photo
    let channels = preprocessing.channels
    let resized = resized(Size(height: image.height, width: image.width), preprocessing)
    let crop = preprocessing.crop
    let rows = centred(resized.height, crop.height)
    let columns = centred(resized.width, crop.width)
    let interpolation = preprocessing.interpolation
    let vertical = Filter(side: image.height, resized: resized.height, part: rows, interpolation)
    let horizontal = Filter(side: image.width, resized: resized.width, part: columns, interpolation)

    let length = channels * columns.count
    let narrow = narrowed(image, channels, horizontal, rows: vertical.reach)
    var small = [Int32](repeating: 0, count: rows.count * length)
    vertical.apply(narrow, lanes: length, &small)
    var pixels = [UInt8](repeating: 0, count: crop.height * crop.width * channels)
    for row in 0..<rows.count {
        let place = ((rows.padding + row) * crop.width + columns.padding) * channels
        pixels.replaceSubrange(place..<place + length, with: bytes(small, from: row * length, count: length))
    }
    return pixels
}

/// `rows` of `image`, filtered over their columns: levels of row x column x channels.
private func narrowed(_ image: Pixels, _ channels: Int, _ horizontal: Filter, rows: Range<Int>) -> [Int32] {
    let columns = horizontal.reach
    var row = [Int32](repeating: 0, count: channels * columns.count)
    var narrow = [Int32](repeating: 0, count: channels * horizontal.taps.count * rows.count)
    narrow.withUnsafeMutableBufferPointer { narrow in
        guard var place = narrow.baseAddress else { return }
        for number in rows {
            let start = image.start + number * image.rowStride + columns.lowerBound * image.columnStride
            if channels == 1 {
                widen(image.bytes, start, columns.count, image.columnStride, &row)
                horizontal.apply(row, lanes: 1, place)
            } else {
                widen(image.bytes, start, columns.count, image.columnStride, image.channelStride, &row)
                horizontal.apply(row, lanes: 3, place)
            }
            place += channels * horizontal.taps.count
        }
    }
    return narrow
}

// The loops over single numbers, which most of the time goes into. They are written to be bearable in a debug build
// too: there, an iterator, a subscript of an array and a conversion that is generic cost more than the arithmetic.

/// `count` pixels of grey from `start` on, as numbers to calculate with.
private func widen(
    _ bytes: UnsafePointer<UInt8>, _ start: Int, _ count: Int, _ columnStride: Int, _ row: UnsafeMutablePointer<Int32>
) {
    var (from, to) = (bytes + start, row)
    let end = row + count
    while to < end {
        to[0] = Int32(truncatingIfNeeded: from[0])
        to += 1
        from += columnStride
    }
}

/// The image in grey, as Pillow makes it: luma of ITU-R 601-2, in fixed point.
private func grey(_ image: Pixels) -> Pixels {
    let (columnStride, channelStride) = (image.columnStride, image.channelStride)
    let levels = [UInt8](unsafeUninitializedCapacity: image.width * image.height) { levels, filled in
        image.bytes.withUnsafeBufferPointer { bytes in
            var to = 0
            for row in 0..<image.height {
                var from = image.start + row * image.rowStride
                let end = to + image.width
                while to < end {
                    var luma: Int = 0x8000  // a half, to round
                    luma += 19595 * Int(bytes[from])
                    luma += 38470 * Int(bytes[from + channelStride])
                    luma += 7471 * Int(bytes[from + 2 * channelStride])
                    levels[to] = UInt8(luma >> 16)
                    to += 1
                    from += columnStride
                }
            }
        }
        filled = image.width * image.height
    }
    return Pixels(grey: levels, width: image.width, height: image.height)
}

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

/// What the model takes: floats channels x height x width in 0...255, of what `prepare` gives.
func toInput(_ pixels: [UInt8], channels: Int) -> [Float] {
    let area = pixels.count / channels
    return [Float](unsafeUninitializedCapacity: channels * area) { floats, filled in
        pixels.withUnsafeBufferPointer { pixels in
            for channel in 0..<channels {
                var (from, to) = (channel, channel * area)
                let end = to + area
                while to < end {
                    floats[to] = Float(pixels[from])
                    to += 1
                    from += channels
                }
            }
        }
        filled = channels * area
    }
}

/// What a photograph of `size` is resized to.
///
/// To cover a square box, one side is the box's and the other is rounded down; to cover an oblong one, both are divided
/// by the smaller of the two ratios and rounded, halves to even. So timm does.
private func resized(_ size: Size, _ preprocessing: Preprocessing) -> Size {
    let box = preprocessing.resizeTo
    if preprocessing.squash {
        return box
    }
    if box.height != box.width {
        let (height, width) = (Double(size.height), Double(size.width))
        let ratio = min(height / Double(box.height), width / Double(box.width))
        return Size(
            height: Int((height / ratio).rounded(.toNearestOrEven)),
            width: Int((width / ratio).rounded(.toNearestOrEven))
        )
    }
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
    init(side: Int, resized: Int, part: Part, _ interpolation: Preprocessing.Interpolation) {
        let scale = Double(side) / Double(resized)
        let widening = max(scale, 1)
        // Of the filter, in pixels of the coarser of the two images.
        let reach = (interpolation == .bicubic ? 2 : 1) * widening
        let kernel = interpolation == .bicubic ? cubic : triangle
        var taps: [Tap] = []
        var weights: [Int32] = []
        for index in 0..<part.count {
            let centre = (Double(part.start + index) + 0.5) * scale
            let first = max(Int(centre - reach + 0.5), 0)
            let end = min(Int(centre + reach + 0.5), side)
            let shares = (first..<end).map { kernel((Double($0) - centre + 0.5) * (1 / widening)) }
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

/// The kernel of bilinear interpolation.
private func triangle(_ distance: Double) -> Double {
    max(1 - abs(distance), 0)
}

/// `weight` in fixed point, rounded half away from zero.
private func fixed(_ weight: Double) -> Int32 {
    let half = weight < 0 ? -0.5 : 0.5
    return Int32(weight * 4_194_304 + half)  // 2 to the `precision`
}
