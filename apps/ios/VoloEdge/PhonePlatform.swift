@preconcurrency import Darwin  // it has `mach_task_self_` as a variable, which nobody changes
import UIKit
import VoloEdgeKit

/// This iPhone or iPad.
struct PhonePlatform: Platform {
    let app: AppInfo
    let device: DeviceInfo
    private let systemVersion: Int

    @MainActor
    init() {
        let version = Bundle.main.object(forInfoDictionaryKey: "CFBundleShortVersionString") as? String ?? "unknown"
        app = AppInfo(name: "VoloEdge", version: version)
        device = DeviceInfo(
            manufacturer: "Apple",
            model: machineName(),
            os: UIDevice.current.systemName,
            osVersion: UIDevice.current.systemVersion,
            chip: nil
        )
        systemVersion = ProcessInfo.processInfo.operatingSystemVersion.majorVersion
    }

    /// The artifact that the app came with.
    func session() throws -> Session {
        guard let resources = Bundle.main.resourceURL else { throw VoloEdgeError("the app has no resources") }
        let artifact = try Artifact(folder: resources.appendingPathComponent("Artifact"))
        if let reason = artifact.manifest.whyNot(onIOS: systemVersion) {
            throw VoloEdgeError(reason)
        }
        return Session(artifact: artifact, platform: self)
    }

    func load(_ artifact: Artifact, compute: String) async throws -> any Engine {
        let manifest = artifact.manifest
        if manifest.target == "coreml" {
            let compiled = try await compiledModel(of: artifact.model(), hash: manifest.file("model").sha256)
            return try CoreMLEngine(compiled: compiled, preprocessing: manifest.preprocessing, compute: compute)
        }
        if manifest.target == "coreai" {
            return try await coreAIEngine(artifact, compute: compute)
        }
        #if canImport(ExecuTorch)
        return try ExecuTorchEngine(model: artifact.model(), preprocessing: manifest.preprocessing, compute: compute)
        #else
        throw VoloEdgeError("this app was made without ExecuTorch: run 'xcodegen --spec executorch.yml'")
        #endif
    }

    private func coreAIEngine(_ artifact: Artifact, compute: String) async throws -> any Engine {
        #if canImport(CoreAI)
        if #available(iOS 27.0, *) {
            let preprocessing = artifact.manifest.preprocessing
            return try await CoreAIEngine(asset: artifact.model(), preprocessing: preprocessing, compute: compute)
        }
        throw VoloEdgeError("Core AI needs iOS 27, and this is iOS \(systemVersion)")
        #else
        throw VoloEdgeError("this app was made without Core AI: run 'xcodegen --spec coreai.yml' with Xcode 27")
        #endif
    }

    func decode(_ url: URL) throws -> Pixels {
        try decodePhoto(Data(contentsOf: url))
    }

    func thermal() -> Thermal {
        switch ProcessInfo.processInfo.thermalState {
        case .nominal: return .nominal
        case .fair: return .fair
        case .serious: return .serious
        case .critical: return .critical
        @unknown default: return .unknown
        }
    }

    func peakMemoryBytes() -> Int? {
        var info = task_vm_info_data_t()
        let length = MemoryLayout.size(ofValue: info) / MemoryLayout<integer_t>.size
        var count = mach_msg_type_number_t(length)
        let status = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: length) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        // what iOS limits: a file that is mapped, as a model's weights may be, is not in it
        return status == KERN_SUCCESS ? Int(info.ledger_phys_footprint_peak) : nil
    }
}

/// "iPhone17,1"
private func machineName() -> String {
    var system = utsname()
    uname(&system)
    return withUnsafeBytes(of: &system.machine) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
