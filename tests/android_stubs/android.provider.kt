package android.provider

class Settings {
    companion object {
        const val ACTION_APPLICATION_DETAILS_SETTINGS = "android.settings.APPLICATION_DETAILS_SETTINGS"
    }
}
