package org.voloedge.app

import android.app.Activity
import android.app.Instrumentation
import android.content.Intent
import android.os.Bundle
import java.io.File
import org.voloedge.core.MeasureOptions

/**
 * Self-test and benchmark without a person, for `volo-edge benchmark --device android`:
 *
 *     adb shell am instrument -w -r [-e runs N] [-e warmup N] [-e threads N] org.voloedge.app/.HeadlessInstrumentation
 *
 * leaves `files/results.json` in the app's data and ends with the result `results`, or with `error`.
 */
class HeadlessInstrumentation : Instrumentation() {
    private lateinit var arguments: Bundle

    override fun onCreate(arguments: Bundle) {
        super.onCreate(arguments)
        this.arguments = arguments
        start()
    }

    override fun onStart() {
        val answer = Bundle()
        val file = File(targetContext.filesDir, "results.json")
        file.delete() // an earlier one is not to be taken for this one
        val code = try {
            val options = MeasureOptions.of { arguments.getString(it) }
            val awake = Intent(targetContext, AwakeActivity::class.java).addFlags(Intent.FLAG_ACTIVITY_NEW_TASK)
            targetContext.startActivity(awake)
            AndroidPlatform(targetContext).session().use { session ->
                session.choose(options.threads)
                session.runSelfTest()
                session.runBenchmark(options.warmup, options.runs)
                file.writeText(session.results().toJson())
            }
            answer.putString("results", "files/${file.name}")
            Activity.RESULT_OK
        } catch (error: Throwable) { // whatever it is, the host is to read it
            answer.putString("error", "${error.message ?: error}".replace('\n', ' '))
            Activity.RESULT_CANCELED
        }
        finish(code, answer)
    }
}
