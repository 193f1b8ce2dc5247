package android.os

interface Parcelable

class Bundle : Parcelable {
    fun getString(key: String?): String? = TODO()

    fun putString(key: String?, value: String?): Unit = TODO()
}

object Build {
    @JvmField val MANUFACTURER: String = TODO()
    @JvmField val MODEL: String = TODO()
    @JvmField val SOC_MANUFACTURER: String = TODO() // API 31
    @JvmField val SOC_MODEL: String = TODO() // API 31

    object VERSION {
        @JvmField val RELEASE: String = TODO()
        @JvmField val SDK_INT: Int = TODO()
    }
}

class PowerManager {
    /** API 29. */
    val currentThermalStatus: Int get() = TODO()
}
