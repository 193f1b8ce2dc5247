import AVFoundation
import SwiftUI
import VoloEdgeKit

/// The back camera: what it sees, on screen and as upright frames, one whenever one is asked for.
final class Camera: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate, @unchecked Sendable {
    // `@unchecked`: what changes is used on `queue` only, and an AVCaptureSession may be shown from anywhere.
    let session = AVCaptureSession()
    let device = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: .back)
    private let output = AVCaptureVideoDataOutput()
    private let queue = DispatchQueue(label: "camera")
    private var asking: CheckedContinuation<Pixels?, Never>?
    private var stopped = false

    /// Whether a person has said that this app may not use it: only the system's settings can undo that.
    static var denied: Bool { AVCaptureDevice.authorizationStatus(for: .video) == .denied }

    /// Asks for permission, and starts.
    func start() async throws {
        guard await AVCaptureDevice.requestAccess(for: .video) else {
            throw VoloEdgeError("the camera is not allowed: allow it in Settings, VoloEdge")
        }
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
            queue.async { done.resume(with: Result { try self.run() }) }
        }
    }

    func stop() {
        queue.async {
            self.session.stopRunning()
            self.stopped = true
            self.answer(nil)
        }
    }

    /// The next frame: none is copied that nobody waits for. nil where the camera is stopped, or the task is cancelled.
    func frame() async -> Pixels? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { asking in
                queue.async {
                    self.asking = asking
                    if self.stopped { self.answer(nil) }
                }
            }
        } onCancel: {
            stop()
        }
    }

    /// Turns the frames that follow.
    func turn(by angle: CGFloat) {
        queue.async { self.output.connection(with: .video)?.turn(by: angle) }
    }

    private func run() throws {
        guard let device else { throw VoloEdgeError("there is no camera") }
        let input = try AVCaptureDeviceInput(device: device)
        output.videoSettings = [kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_32BGRA]
        output.alwaysDiscardsLateVideoFrames = true
        output.setSampleBufferDelegate(self, queue: queue)
        guard session.canAddInput(input), session.canAddOutput(output) else {
            throw VoloEdgeError("the camera cannot be used: another app may have it")
        }
        session.addInput(input)
        session.addOutput(output)
        turn(by: 90)  // a phone held upright, until the preview knows how it is held
        session.startRunning()
    }

    private func answer(_ frame: Pixels?) {
        asking?.resume(returning: frame)
        asking = nil
    }

    func captureOutput(
        _ output: AVCaptureOutput, didOutput buffer: CMSampleBuffer, from connection: AVCaptureConnection
    ) {
        guard asking != nil, let image = CMSampleBufferGetImageBuffer(buffer), let frame = try? pixels(of: image) else {
            return
        }
        answer(frame)
    }
}

/// What a camera sees. It keeps that, and the camera's frames, upright however the phone is held.
struct CameraPreview: UIViewRepresentable {
    let camera: Camera

    func makeUIView(context: Context) -> PreviewView { PreviewView(camera) }
    func updateUIView(_ view: PreviewView, context: Context) {}

    final class PreviewView: UIView {
        private let camera: Camera
        private var rotation: AVCaptureDevice.RotationCoordinator?
        private var observations: [NSKeyValueObservation] = []

        override class var layerClass: AnyClass { AVCaptureVideoPreviewLayer.self }

        init(_ camera: Camera) {
            self.camera = camera
            super.init(frame: .zero)
            guard let preview, let device = camera.device else { return }
            preview.session = camera.session
            preview.videoGravity = .resizeAspect
            let rotation = AVCaptureDevice.RotationCoordinator(device: device, previewLayer: preview)
            self.rotation = rotation
            for angle in [
                \AVCaptureDevice.RotationCoordinator.videoRotationAngleForHorizonLevelPreview,
                \.videoRotationAngleForHorizonLevelCapture,
            ] {
                observations.append(
                    rotation.observe(angle, options: .initial) { [weak self] _, _ in
                        MainActor.assumeIsolated { self?.turn() }  // the coordinator tells on the main queue
                    }
                )
            }
        }

        required init?(coder: NSCoder) {
            fatalError("made in code only")
        }

        private var preview: AVCaptureVideoPreviewLayer? { layer as? AVCaptureVideoPreviewLayer }

        private func turn() {
            guard let rotation else { return }
            preview?.connection?.turn(by: rotation.videoRotationAngleForHorizonLevelPreview)
            camera.turn(by: rotation.videoRotationAngleForHorizonLevelCapture)
        }
    }
}

extension AVCaptureConnection {
    fileprivate func turn(by angle: CGFloat) {
        if isVideoRotationAngleSupported(angle) {
            videoRotationAngle = angle
        }
    }
}
