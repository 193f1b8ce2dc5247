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
        XCTAssertEqual(
            manifest.preprocessing,
            Preprocessing(resizeTo: Size(height: 25, width: 20), crop: Size(height: 24, width: 20))
        )
        XCTAssertEqual(manifest.model.activation, .softmax)
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
        for (field, old, new) in [
            ("interpolation", "bicubic", "lanczos"), ("crop_mode", "center", "border"), ("color", "RGB", "CMYK"),
            ("color", "RGB", "rgb"), ("activation", "softmax", "softplus"), ("activation", "softmax", "Softmax"),
        ] {
            let said = try refusal(replacing: "\"\(field)\": \"\(old)\"", with: "\"\(field)\": \"\(new)\"")
            XCTAssertTrue(said.contains("does not know the \(field) '\(new)': update the app"), said)
        }
        XCTAssertTrue(try refusal(replacing: "crop_mode", with: "crop_node").contains("preprocessing.crop_mode"))
        XCTAssertTrue(try refusal(replacing: "\"antialias\": true", with: "\"antialias\": false").contains("update"))
        XCTAssertTrue(try refusal(replacing: "NCHW", with: "NHWC").contains("update the app"))
        XCTAssertTrue(try refusal(replacing: "image_size", with: "image_sise").contains("image_size is missing"))
        XCTAssertTrue(try refusal(replacing: "\"parameters\": 12", with: "\"parameters\": \"12\"").contains("damaged"))
        XCTAssertTrue(try refusal(replacing: "{", with: "").contains("is damaged"))
    }

    func testHowAModelWasTrainedIsRead() throws {
        let bilinear = try Manifest.parse(text(replacing: "bicubic", with: "bilinear")).preprocessing
        XCTAssertEqual([bilinear.interpolation == .bilinear, bilinear.squash, bilinear.grey], [true, false, false])
        let squash = try Manifest.parse(text(replacing: "\"center\"", with: "\"squash\"")).preprocessing
        XCTAssertEqual([squash.interpolation == .bilinear, squash.squash, squash.grey], [false, true, false])
        let grey = try Manifest.parse(text(replacing: "\"RGB\"", with: "\"L\"")).preprocessing
        XCTAssertEqual([grey.interpolation == .bilinear, grey.squash, grey.grey], [false, false, true])
        XCTAssertEqual([bilinear.channels, grey.channels], [3, 1])
        XCTAssertEqual(try Manifest.parse(text(replacing: "softmax", with: "sigmoid")).model.activation, .sigmoid)
    }

    func testOneClassHasAProbabilityOnItsOwnOnly() throws {
        let seven = "\"num_classes\": 7,\n    \"activation\": \"softmax\""
        let one = "\"num_classes\": 1,\n    \"activation\": "
        XCTAssertTrue(try refusal(replacing: seven, with: one + "\"softmax\"").contains("always 100 %: convert"))
        XCTAssertEqual(try Manifest.parse(text(replacing: seven, with: one + "\"sigmoid\"")).model.numClasses, 1)
    }

    func testLabelsThatAgreeAreRead() throws {
        let labels = try text(replacing: "\"labels_agreement\": null", with: "\"labels_agreement\": 0.5")
        XCTAssertEqual(try Manifest.parse(labels).parity[0].labelsAgreement, 0.5)
        XCTAssertNil(try Manifest.parse(text()).parity[0].labelsAgreement)
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
