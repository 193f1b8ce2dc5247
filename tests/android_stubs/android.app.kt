package android.app

import android.content.Context
import android.content.ContextWrapper
import android.os.Bundle
import android.view.View
import android.view.Window

open class Application : ContextWrapper()

open class Activity : ContextWrapper() {
    val window: Window get() = TODO() // null only for an activity that is not visual

    protected open fun onCreate(savedInstanceState: Bundle?): Unit = TODO()

    open fun setContentView(view: View?): Unit = TODO()

    companion object {
        const val RESULT_CANCELED = 0
        const val RESULT_OK = -1
    }
}

open class Instrumentation {
    val targetContext: Context get() = TODO()

    open fun onCreate(arguments: Bundle): Unit = TODO()

    open fun onStart(): Unit = TODO()

    open fun start(): Unit = TODO()

    open fun finish(resultCode: Int, results: Bundle): Unit = TODO()
}
