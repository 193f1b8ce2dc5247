import PhotosUI
import SwiftUI
import VoloEdgeKit

/// The four screens.
struct Screens: View {
    @State private var model = AppModel()

    var body: some View {
        TabView {
            screen("Classify", "photo") { ClassifyScreen(model: model) }
                .onDisappear { Task { await model.stopCamera() } }
            screen("Self-test", "checkmark.seal") { SelfTestScreen(model: model) }
            screen("Benchmark", "gauge") { BenchmarkScreen(model: model) }
            screen("About", "info.circle") { AboutScreen(model: model) }
        }
        .onChange(of: model.awake) { UIApplication.shared.isIdleTimerDisabled = model.awake }
    }

    private func screen<Content: View>(
        _ title: String, _ symbol: String, @ViewBuilder content: () -> Content
    ) -> some View {
        NavigationStack {
            List {
                if let problem = model.problem {
                    Text(problem).foregroundStyle(.red)
                }
                content()
            }
            .navigationTitle(title)
            .toolbar {
                if model.busy {
                    ProgressView()
                }
            }
        }
        .tabItem { Label(title, systemImage: symbol) }
    }
}

private struct ClassifyScreen: View {
    let model: AppModel
    @State private var chosen: PhotosPickerItem?

    var body: some View {
        Section {
            PhotosPicker("Photo", selection: $chosen, matching: .images, preferredItemEncoding: .current)
                .disabled(model.busy)
                .onChange(of: chosen) {
                    guard let item = chosen else { return }
                    chosen = nil  // so that the same one can be chosen again
                    Task { await model.classify { try await item.loadTransferable(type: Data.self) } }
                }
            if model.camera != nil {
                Button("Stop camera") { Task { await model.stopCamera() } }
            } else if Camera.denied, let settings = URL(string: UIApplication.openSettingsURLString) {
                Link("Allow the camera in Settings", destination: settings)
            } else {
                Button("Camera") { Task { await model.startCamera() } }
                    .disabled(model.busy)
            }
        }
        if let camera = model.camera {
            CameraPreview(camera: camera)
                .frame(height: 360)
                .accessibilityElement()
                .accessibilityLabel("What the camera sees")
        } else if let photo = model.photo {
            Image(uiImage: photo)
                .resizable()
                .scaledToFit()
                .frame(maxHeight: 360)
                .accessibilityLabel("The photograph")
        }
        if let classification = model.classification {
            Section {
                ForEach(classification.guesses) { guess in
                    VStack(alignment: .leading) {
                        LabeledContent(guess.label, value: form("%.1f %%", 100 * guess.probability))
                        ProgressView(value: guess.probability)
                            .accessibilityHidden(true)  // the same number again
                    }
                    .accessibilityElement(children: .combine)
                }
            } header: {
                if classification.activation == .sigmoid {
                    Text("The probability of each label on its own")
                }
            } footer: {
                let prepare = form("%.1f", classification.prepareMilliseconds)
                Text("\(prepare) ms to prepare, \(form("%.1f", classification.modelMilliseconds)) ms to run")
            }
        }
    }
}

private struct SelfTestScreen: View {
    let model: AppModel

    var body: some View {
        Section {
            ComputePicker(model: model)
            Button("Run the self-test") { Task { await model.runSelfTest() } }
                .disabled(model.busy)
        } footer: {
            Text("The photographs in the artifact, from file to logits, held against what the host measured.")
        }
        if let result = model.selfTest {
            Section {
                Text(result.passed ? "Passed" : "Failed")
                    .font(.title2)
                    .foregroundStyle(result.passed ? .green : .red)
                LabeledContent("relative error of the logits", value: form("%.1e", result.relativeError))
                LabeledContent("allowed", value: form("%.1e", result.tolerance))
            }
            Section {
                ForEach(result.cases, id: \.name) { known in
                    let agrees = known.agrees ? "same answer" : "another answer"
                    let levels = form("%.0f levels", known.tensorMaxDifference)
                    let error = form("%.1e", known.logitsRelativeError)
                    LabeledContent(known.name, value: "\(levels), \(error), \(agrees)")
                }
            }
            ShareResults(model: model)
        }
    }
}

private struct BenchmarkScreen: View {
    let model: AppModel

    var body: some View {
        Section {
            ComputePicker(model: model)
            Button("Run the benchmark") { Task { await model.runBenchmark() } }
                .disabled(model.busy)
            if let done = model.runsDone {
                ProgressView(value: Double(done), total: Double(model.options.runs))
            }
        } footer: {
            Text("\(model.options.runs) runs of the model alone after \(model.options.warmup) to warm up.")
        }
        if let result = model.benchmark {
            let latency = result.latency
            Section {
                LabeledContent("median", value: form("%.2f ms", latency.median))
                LabeledContent("90 %", value: form("%.2f ms", latency.p90))
                LabeledContent("99 %", value: form("%.2f ms", latency.p99))
                LabeledContent("mean", value: form("%.2f ms", latency.mean))
                LabeledContent("fastest", value: form("%.2f ms", latency.min))
                LabeledContent("loading", value: form("%.0f ms", result.loadMilliseconds))
                LabeledContent("peak memory", value: form("%.0f MB", result.peakMemoryBytes.map { Double($0) / 1e6 }))
                LabeledContent("thermal state", value: "\(result.thermalBefore) to \(result.thermalAfter)")
            }
            ShareResults(model: model)
        }
    }
}

private struct AboutScreen: View {
    let model: AppModel

    var body: some View {
        if let manifest = model.manifest {
            let info = manifest.model
            Section("Model") {
                LabeledContent("name", value: info.name)
                LabeledContent("parameters", value: form("%.1f million", Double(info.parameters) / 1e6))
                LabeledContent("weights", value: info.weights)
                LabeledContent("image", value: "\(info.imageSize.height) x \(info.imageSize.width)")
                let kind = info.activation == .sigmoid ? "independent labels" : "classes"
                LabeledContent(kind, value: "\(info.numClasses)")
            }
            Section("File") {
                LabeledContent("scheme", value: manifest.quantization.scheme)
                LabeledContent("target", value: "\(manifest.target), \(manifest.backend)")
                if let file = manifest.files["model"] {
                    LabeledContent("size", value: form("%.1f MB", Double(file.bytes) / 1e6))
                }
            }
            ForEach(manifest.parity.indices, id: \.self) { ParitySection(parity: manifest.parity[$0]) }
            Section("Made with") {
                ForEach(manifest.tools.keys.sorted(), id: \.self) { tool in
                    LabeledContent(tool, value: manifest.tools[tool] ?? "")
                }
            }
        }
    }
}

private struct ParitySection: View {
    let parity: Manifest.Parity

    var body: some View {
        Section("Parity with the float model, before it came here") {
            LabeledContent("processor", value: parity.processor ?? "none")
            LabeledContent("runtime", value: parity.runtime ?? "none")
            LabeledContent("result", value: parity.passed.map { $0 ? "passed" : "failed" } ?? "not run")
            LabeledContent("relative error", value: form("%.1e", parity.relativeError))
            let what = parity.labelsAgreement == nil ? "top-1 agrees" : "labels agree"
            let share = parity.labelsAgreement ?? parity.top1Agreement
            LabeledContent(what, value: form("%.1f %%", share.map { 100 * $0 }))
        }
    }
}

/// What computes the model, where there is a choice.
private struct ComputePicker: View {
    let model: AppModel

    var body: some View {
        if let computes = model.manifest?.computes, computes.count > 1 {
            Picker("Compute units", selection: chosen) {
                ForEach(computes, id: \.self) { Text($0.replacingOccurrences(of: "_", with: " ")) }
            }
            .disabled(model.busy)
        }
    }

    private var chosen: Binding<String> {
        Binding(get: { model.compute }, set: { compute in Task { await model.choose(compute) } })
    }
}

private struct ShareResults: View {
    let model: AppModel

    var body: some View {
        if let file = model.resultsFile {
            ShareLink("Share the results", item: file)
        }
    }
}

private func form(_ format: String, _ value: Double?) -> String {
    guard let value else { return "not known" }
    return String(format: format, locale: Locale(identifier: "en_US_POSIX"), value)
}
