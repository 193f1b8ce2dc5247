import CoreGraphics
import CoreVideo
import Foundation
import ImageIO
import VoloEdgeKit

/// The upright pixels of a photograph, `data` being its file.
///
/// As on the host, colour profiles are not applied, EXIF's orientation is, and transparency is laid over white.
func decodePhoto(_ data: Data) throws -> Pixels {
    guard let source = CGImageSourceCreateWithData(data as CFData, nil),
        let image = CGImageSourceCreateImageAtIndex(source, 0, nil)
    else {
        throw VoloEdgeError("this file is no image that iOS reads")
    }
    let properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any]
    let orientation = properties?[kCGImagePropertyOrientation] as? Int ?? 1
    return try pixels(of: image).upright(orientation)
}

/// The image's own numbers: it is drawn in its own colour space, so that none are changed.
private func pixels(of image: CGImage) throws -> Pixels {
    let (width, height) = (image.width, image.height)
    let grey = image.colorSpace?.model == .monochrome && image.alphaInfo == .none
    let rgb = image.colorSpace?.model == .rgb ? image.colorSpace : nil
    let space = grey ? image.colorSpace ?? CGColorSpaceCreateDeviceGray() : rgb ?? CGColorSpaceCreateDeviceRGB()
    let channels = grey ? 1 : 4
    var bytes = [UInt8](repeating: 255, count: width * height * channels)
    let drawn = bytes.withUnsafeMutableBytes { memory -> Bool in
        guard
            let context = CGContext(
                data: memory.baseAddress,
                width: width,
                height: height,
                bitsPerComponent: 8,
                bytesPerRow: width * channels,
                space: space,
                bitmapInfo: (grey ? CGImageAlphaInfo.none : .noneSkipLast).rawValue
            )
        else { return false }
        context.interpolationQuality = .none
        context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
        return true
    }
    guard drawn else {
        throw VoloEdgeError("an image of \(width) x \(height) pixels in this colour space cannot be read")
    }
    return try Pixels(
        bytes: bytes, width: width, height: height, columnStride: channels, channelStride: grey ? 0 : 1
    )
}

/// A frame of the camera in BGRA, as it lies in memory.
func pixels(of buffer: CVPixelBuffer) throws -> Pixels {
    CVPixelBufferLockBaseAddress(buffer, .readOnly)
    defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
    let rowStride = CVPixelBufferGetBytesPerRow(buffer)
    let height = CVPixelBufferGetHeight(buffer)
    guard let base = CVPixelBufferGetBaseAddress(buffer) else {
        throw VoloEdgeError("the camera's frame cannot be read")
    }
    return try Pixels(
        bytes: [UInt8](UnsafeRawBufferPointer(start: base, count: rowStride * height)),
        width: CVPixelBufferGetWidth(buffer),
        height: height,
        start: 2,
        columnStride: 4,
        rowStride: rowStride,
        channelStride: -1
    )
}
