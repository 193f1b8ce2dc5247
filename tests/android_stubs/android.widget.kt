package android.widget

import android.content.Context
import android.view.View

open class TextView(context: Context) : View(context) {
    var gravity: Int
        get() = TODO()
        set(_) = TODO()
    var text: CharSequence
        get() = TODO()
        set(_) = TODO()
}

open class FrameLayout(context: Context) : View(context)
