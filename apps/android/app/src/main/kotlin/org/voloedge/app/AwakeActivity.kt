package org.voloedge.app

import android.app.Activity
import android.os.Bundle
import android.view.Gravity
import android.view.WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON
import android.widget.TextView

/** On the screen while the phone is measured without a person: one that sleeps computes slowly, or not at all. */
class AwakeActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        window.addFlags(FLAG_KEEP_SCREEN_ON)
        val text = TextView(this)
        text.text = "The model is being measured."
        text.gravity = Gravity.CENTER
        setContentView(text)
    }
}
