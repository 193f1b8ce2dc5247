import XCTest

@testable import VoloEdgeKit

final class PreprocessTests: XCTestCase {
    func testEveryGoldenPhotographBecomesTheHostsBytes() throws {
        let goldens = try Goldens()
        XCTAssertGreaterThan(goldens.index.photographs.count, 20)
        for photograph in goldens.index.photographs {
            let image = try goldens.pixels(photograph).upright(photograph.orientation)
            let made = prepare(image, photograph.preprocessing)
            let expected = goldens.bytes(photograph.expected)
            XCTAssertEqual(made.count, expected.count)
            let difference = zip(made, expected).map { abs(Int($0) - Int($1)) }.max()
            XCTAssertEqual(difference, 0, "levels off in \(photograph.width) x \(photograph.height)")
        }
    }

    func testTheInputIsPlanesOfRedGreenAndBlue() {
        XCTAssertEqual(toInput([1, 2, 3, 4, 5, 255], channels: 3), [1, 4, 2, 5, 3, 255])
        XCTAssertEqual(toInput([1, 2, 255], channels: 1), [1, 2, 255])
    }

    func testAPhotographOfOneRowIsNotResizedWhole() throws {
        let pixels = try Pixels(bytes: [UInt8](repeating: 100, count: 60_000 * 3), width: 60_000, height: 1)
        let size = Size(height: 512, width: 512)
        let made = prepare(pixels, Preprocessing(resizeTo: size, crop: size))  // the whole: 30,720,000 x 512
        XCTAssertTrue(made.allSatisfy { $0 == 100 })
    }

    func testAViewBeyondItsBytesIsRefused() throws {
        let bytes = [UInt8](repeating: 0, count: 3 * 4 * 3)
        XCTAssertNoThrow(try Pixels(bytes: bytes, width: 3, height: 4))
        XCTAssertThrowsError(try Pixels(bytes: bytes, width: 4, height: 4))
        XCTAssertThrowsError(try Pixels(bytes: bytes, width: 3, height: 4, start: 1))
        XCTAssertThrowsError(try Pixels(bytes: bytes, width: 3, height: 4, channelStride: -1))
        XCTAssertThrowsError(try Pixels(bytes: bytes, width: 0, height: 4))
    }
}
