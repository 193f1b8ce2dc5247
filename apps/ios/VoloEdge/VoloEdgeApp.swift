import SwiftUI

@main
struct VoloEdgeApp: App {
    var body: some Scene {
        WindowGroup {
            if Headless.wanted {
                ProgressView("Measuring").task { await Headless.run() }
            } else {
                Screens()
            }
        }
    }
}
