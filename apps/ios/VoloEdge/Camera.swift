import AVFoundation
import SwiftUI
import VoloEdgeKit

/// The back camera: what it sees, on screen and as a stream of upright frames, of which only the newest is kept.
final class Camera: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate, @unchecked Sendable {
    // `@unchecked`: everything but `frames` is used on `queue` only, and AVCaptureSession may be shown from anywhere.
    let session = AVCaptureSession()
    let frames: AsyncStream<Pixels>
    private let queue = DispatchQueue(label: "camera")
    private let continuation: AsyncStream<Pixels>.Continuation

    override init() {
        (frames, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        super.init()
    }

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
        queue.async { self.session.stopRunning() }
        continuation.finish()
    }

    private func run() throws {
        guard let device = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: .back) else {
            throw VoloEdgeError("there is no camera")
        }
        let input = try AVCaptureDeviceInput(device: device)
        let output = AVCaptureVideoDataOutput()
        output.videoSettings = [kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_32BGRA]
        output.alwaysDiscardsLateVideoFrames = true
        output.setSampleBufferDelegate(self, queue: queue)
        guard session.canAddInput(input), session.canAddOutput(output) else {
            throw VoloEdgeError("the camera cannot be used: another app may have it")
        }
        session.addInput(input)
        session.addOutput(output)
        if let connection = output.connection(with: .video), connection.isVideoRotationAngleSupported(90) {
            connection.videoRotationAngle = 90  // upright, the phone being held upright
        }
        session.startRunning()
    }

    func captureOutput(
        _ output: AVCaptureOutput, didOutput buffer: CMSampleBuffer, from connection: AVCaptureConnection
    ) {
        guard let image = CMSampleBufferGetImageBuffer(buffer), let frame = try? pixels(of: image) else { return }
        continuation.yield(frame)
    }
}

/// What a camera sees.
struct CameraPreview: UIViewRepresentable {
    let session: AVCaptureSession

    final class PreviewView: UIView {
        override class var layerClass: AnyClass { AVCaptureVideoPreviewLayer.self }
    }

    func makeUIView(context: Context) -> PreviewView {
        let view = PreviewView()
        if let layer = view.layer as? AVCaptureVideoPreviewLayer {
            layer.session = session
            layer.videoGravity = .resizeAspect
        }
        return view
    }

    func updateUIView(_ view: PreviewView, context: Context) {}
}
