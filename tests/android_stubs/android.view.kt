package android.view

import android.content.Context

open class View(context: Context) {
    var keepScreenOn: Boolean
        get() = TODO()
        set(_) = TODO()
}

abstract class Window {
    fun addFlags(flags: Int): Unit = TODO()
}

interface WindowManager {
    // A class in Java, whose constants Kotlin imports as it imports an object's members.
    object LayoutParams {
        const val FLAG_KEEP_SCREEN_ON = 0x00000080
    }
}

class Gravity {
    companion object {
        const val CENTER = 0x11
    }
}

abstract class OrientationEventListener(context: Context) {
    open fun disable(): Unit = TODO()

    open fun enable(): Unit = TODO()

    /** @param orientation degrees, 0..359, or [ORIENTATION_UNKNOWN] */
    abstract fun onOrientationChanged(orientation: Int)

    companion object {
        const val ORIENTATION_UNKNOWN = -1
    }
}
