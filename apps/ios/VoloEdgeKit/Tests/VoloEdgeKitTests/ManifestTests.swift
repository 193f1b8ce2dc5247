import Foundation
import XCTest

@testable import VoloEdgeKit

final class ManifestTests: XCTestCase {
    /// The golden manifest, with one piece of its text replaced.
    private func text(replacing old: String = "", with new: String = "") throws -> Data {
        let url = try Goldens().artifact.appendingPathComponent(Manifest.name)
        let text = try String(contentsOf: url, encoding: .utf8)
        guard !old.isEmpty else { return Data(text.utf8) }
        XCTAssertTrue(text.contains(old), old)
        return Data(text.replacingOccurrences(of: old, with: new).utf8)
    }

    private func refusal(replacing old: String, with new: String) throws -> String {
        let data = try text(replacing: old, with: new)
        do {
            _ = try Manifest.parse(data)
            return "nothing"
        } catch let error as VoloEdgeError {
            return error.message
        }
    }

    func testTheManifestIsRead() throws {
        let manifest = try Manifest.parse(text())
        XCTAssertEqual(manifest.model.name, "volo_small")
        XCTAssertEqual(manifest.model.imageSize, Size(height: 24, width: 20))
        XCTAssertEqual(manifest.preprocessing.resizeTo, Size(height: 25, width: 20))
        XCTAssertNil(manifest.minimumIOS)
        XCTAssertEqual(try manifest.file("model").path, "model.pte")
        XCTAssertThrowsError(try manifest.file("weights"))
        XCTAssertEqual(manifest.selfTest.cases.map(\.photo), ["selftest/0.png", "selftest/1.png"])
        XCTAssertEqual(manifest.selfTest.tolerance, 1e-3)
        XCTAssertEqual(manifest.parity.map(\.processor), ["x86-64", "arm64 armv8.2-dotprod"])
        XCTAssertEqual(manifest.parity.map(\.passed), [true, true])
    }

    func testWhatThisAppDoesNotKnowIsRefused() throws {
        let format = "\"format_version\": 3"
        XCTAssertTrue(
            try refusal(replacing: format, with: "\"format_version\": 1").contains("reads 3: convert the model again")
        )
        XCTAssertTrue(
            try refusal(replacing: format, with: "\"format_version\": 4").contains("reads 3: update the app")
        )
        XCTAssertTrue(try refusal(replacing: "bicubic", with: "lanczos").contains("update the app"))
        XCTAssertTrue(try refusal(replacing: "\"center\"", with: "\"border\"").contains("update the app"))
        XCTAssertTrue(try refusal(replacing: "\"RGB\"", with: "\"CMYK\"").contains("update the app"))
        XCTAssertTrue(try refusal(replacing: "softmax", with: "softplus").contains("update the app"))
        XCTAssertTrue(try refusal(replacing: "\"antialias\": true", with: "\"antialias\": false").contains("update"))
        XCTAssertTrue(try refusal(replacing: "NCHW", with: "NHWC").contains("update the app"))
        XCTAssertTrue(try refusal(replacing: "image_size", with: "image_sise").contains("image_size is missing"))
        XCTAssertTrue(try refusal(replacing: "\"parameters\": 12", with: "\"parameters\": \"12\"").contains("damaged"))
        XCTAssertTrue(try refusal(replacing: "{", with: "").contains("is damaged"))
    }

    func testWhatTheModelSeesIsRead() throws {
        func read(_ usual: String, _ other: String) throws -> Preprocessing {
            try Manifest.parse(text(replacing: "\"\(usual)\"", with: "\"\(other)\"")).preprocessing
        }
        let usual = try Manifest.parse(text()).preprocessing
        XCTAssertEqual(usual, Preprocessing(resizeTo: usual.resizeTo, crop: usual.crop))
        XCTAssertEqual(usual.channels, 3)
        XCTAssertEqual(try read("RGB", "L").channels, 1)
        XCTAssertTrue(try read("center", "squash").squash)
        XCTAssertEqual(try read("bicubic", "bilinear").interpolation, .bilinear)
    }

    func testIndependentLabelsAreRead() throws {
        XCTAssertEqual(try Manifest.parse(text()).model.activation, .softmax)
        XCTAssertEqual(try Manifest.parse(text(replacing: "softmax", with: "sigmoid")).model.activation, .sigmoid)
        let labels = try text(replacing: "\"labels_agreement\": null", with: "\"labels_agreement\": 0.5")
        XCTAssertEqual(try Manifest.parse(labels).parity[0].labelsAgreement, 0.5)
        let said = try refusal(replacing: "\"num_classes\": 7", with: "\"num_classes\": 1")
        XCTAssertTrue(said.contains("the softmax of one class is always 100 %"), said)
    }

    func testWhatAPhoneCanComputeIsTold() throws {
        let manifest = try Manifest.parse(text())
        XCTAssertEqual(manifest.computes, ["xnnpack"])
        XCTAssertNil(manifest.whyNot(onIOS: 17))
        let data = try text(replacing: "\"minimum_ios\": null", with: "\"minimum_ios\": 18")
        let later = try Manifest.parse(data)
        XCTAssertNotNil(later.whyNot(onIOS: 17))
        XCTAssertNil(later.whyNot(onIOS: 18))
    }

    func testAnArtifactIsRead() throws {
        let artifact = try Artifact(folder: Goldens().artifact)
        XCTAssertEqual(artifact.labels.count, 7)
        XCTAssertEqual(artifact.labels.last, "café")
        XCTAssertEqual(try Data(contentsOf: artifact.model()), Data("weights".utf8))
        XCTAssertEqual(try artifact.floats("selftest/0.logits.f32").count, 7)
        XCTAssertThrowsError(try Artifact(folder: artifact.folder.appendingPathComponent("selftest")))
    }
}
