package org.voloedge.app

import android.app.Activity
import android.app.Instrumentation
import android.os.Bundle
import java.io.File

/**
 * Self-test and benchmark without a screen, for `volo-edge benchmark --device android`:
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
            AndroidPlatform(targetContext).session().use { session ->
                session.threads = number("threads")
                session.runSelfTest()
                session.runBenchmark(warmup = number("warmup") ?: WARMUP, runs = number("runs") ?: RUNS)
                file.writeText(session.results().toJson())
            }
            answer.putString("results", "files/${file.name}")
            Activity.RESULT_OK
        } catch (error: Exception) { // whatever it is, the host is to read it
            answer.putString("error", "${error.message ?: error}".replace('\n', ' '))
            Activity.RESULT_CANCELED
        }
        finish(code, answer)
    }

    private fun number(name: String): Int? = arguments.getString(name)?.toInt()
}

const val WARMUP = 10
const val RUNS = 100
